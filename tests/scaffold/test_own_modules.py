"""What of a script's own modules is read: what it imports and comes to run, and nothing else."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from hpo.errors import ScaffoldError
from hpo.scaffold.from_script import Scaffold, from_script
from hpo.scaffold.own_modules import MOST, own_modules
from hpo.scaffold.python_source import Script


def project(folder: Path, **files: str) -> Path:
    """Write files (`a/b` is a/b.py), and return the path of train.py."""
    for name, text in files.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
    return folder / "train.py"


def drafted(folder: Path, **files: str) -> Scaffold:
    return from_script(project(folder, **files))


def searched(scaffold: Scaffold) -> list[str]:
    return [entry.name for entry in scaffold.draft.parameters]


def changed(scaffold: Scaffold) -> dict[str, list[str]]:
    """The lines that each file gets, without the import."""
    return {
        edit.name: [
            line[1:].strip()
            for line in edit.diff.splitlines()[2:]
            if line.startswith("+") and line[1:].strip() not in ("", "import hpo")
        ]
        for edit in scaffold.edits
    }


ARGUMENTS = """
    def arguments(parser):
        parser.add_argument("--lr", type=float, default=0.1)
"""
LOOP = """
    for epoch in range(3):
        print(f"val_acc {acc:.3f}")
"""


@pytest.mark.parametrize(
    ("imported", "place"),
    [
        ("import options\noptions.arguments(parser)", "options"),
        ("import options as o\no.arguments(parser)", "options"),
        ("from options import arguments as add", "options"),
        ("from options import *\narguments(parser)", "options"),
        ("from lib.options import arguments", "lib/options"),
        ("import lib.options\nlib.options.arguments(parser)", "lib/options"),
        ("from lib import arguments", "lib/__init__"),
        ("from lib import options\noptions.arguments(parser)", "lib/options"),
        ("from .options import arguments", "options"),
        ("def main():\n    from options import arguments", "options"),
        ("try:\n    import options\nexcept ImportError:\n    pass\nelse:\n    options.arguments(0)", "options"),
    ],
)
def test_arguments_of_a_module(imported: str, place: str, tmp_path: Path) -> None:
    scaffold = drafted(tmp_path, train=f"{imported}\n{textwrap.dedent(LOOP)}", **{place: ARGUMENTS})
    assert searched(scaffold) == ["learning_rate"]
    (note,) = scaffold.draft.notes
    assert note.startswith("1 argument of ")
    assert changed(scaffold) == {"train.py": ["hpo.report(epoch, val_acc=acc)"]}


def test_the_script_s_own_argument_comes_first(tmp_path: Path) -> None:
    train = """
        import argparse
        from options import arguments
        parser = argparse.ArgumentParser()
        parser.add_argument("--lr", type=float, default=1e-3)
        parser.add_argument("--dropout", type=float, default=0.1)
    """
    (rate,) = [
        entry
        for entry in drafted(tmp_path, train=train, options=ARGUMENTS).draft.parameters
        if entry.name == "learning_rate"
    ]
    assert rate.declared == {"low": 1e-4, "high": 1e-2, "log": True}


def test_what_a_module_does_as_a_program_is_not_read(tmp_path: Path) -> None:
    """Nor functions and classes that nobody names; those that a named one calls are."""
    options = """
        def shared(parser):
            parser.add_argument("--weight-decay", type=float, default=1e-4)

        def arguments(parser):
            shared(parser)
            parser.add_argument("--lr", type=float, default=0.1)

        def of_the_test(parser):
            parser.add_argument("--dropout", type=float, default=0.1)

        class Other:
            def arguments(self, parser):
                parser.add_argument("--momentum", type=float, default=0.9)

        if __name__ == "__main__":
            parser.add_argument("--hidden-size", type=int, default=64)
    """
    scaffold = drafted(tmp_path, train="from options import arguments", options=options)
    assert searched(scaffold) == ["weight_decay", "learning_rate"]


def test_a_base_class_of_another_module(tmp_path: Path) -> None:
    classes = {
        "options/base": """
            class Base:
                def arguments(self, parser):
                    parser.add_argument("--lr", type=float, default=0.1)
        """,
        "options/train": """
            from .base import Base
            class TrainOptions(Base):
                def arguments(self, parser):
                    parser.add_argument("--dropout", type=float, default=0.1)
        """,
        "options/test": """
            from .base import Base
            class TestOptions(Base):
                def arguments(self, parser):
                    parser.add_argument("--momentum", type=float, default=0.9)
        """,
    }
    scaffold = drafted(tmp_path, train="from options.train import TrainOptions", **classes)
    assert sorted(searched(scaffold)) == ["dropout", "learning_rate"]


def test_a_loop_of_a_module(tmp_path: Path) -> None:
    """It is called once an epoch from the script, and knows no epoch."""
    engine = """
        def evaluate(model):
            print(f"val_auc {auc:.3f}")
            return auc
    """
    train = """
        import argparse
        import engine
        parser = argparse.ArgumentParser()
        parser.add_argument("--lr", type=float, default=0.1)
        for _ in range(9):
            engine.evaluate(model)
    """
    scaffold = drafted(tmp_path, train=train, engine=engine)
    assert [metric.name for metric in scaffold.draft.metrics] == ["val_auc"]
    lines = ["import itertools", "hpo_steps = itertools.count(1)", "hpo.report(next(hpo_steps), val_auc=auc)"]
    assert changed(scaffold) == {"engine.py": lines}
    assert "pruner" not in {entry.name for entry in scaffold.draft.settings}


def test_what_a_module_prints_is_a_metric_by_its_name_alone(tmp_path: Path) -> None:
    scaffold = drafted(
        tmp_path,
        train="import argparse, tools\nparser.add_argument('--lr', type=float, default=0.1)",
        tools="""
            for epoch in range(3):
                print(f"cells {cells:.3f}")
        """,
    )
    assert scaffold.edits == ()
    assert any("no metric was found" in sentence for sentence in scaffold.draft.decide)


@pytest.mark.parametrize(
    ("loop", "metric"),
    [
        ("for epoch in range(3):\n    print(f'quality {quality:.3f}')", "quality"),
        ("for batch in loader:\n    print(f'quality {quality:.3f}')", "val_acc"),
        ("print(f'cells {cells:.3f}')", "val_acc"),
    ],
)
def test_what_a_script_tells_of_its_epochs_comes_before_a_module(loop: str, metric: str, tmp_path: Path) -> None:
    train = f"import argparse, engine\nparser.add_argument('--lr', type=float, default=0.1)\n{loop}\n"
    scaffold = drafted(tmp_path, train=train, engine=LOOP)
    assert [entry.name for entry in scaffold.draft.metrics] == [metric]


def test_constants_of_a_configuration_and_a_lightning_module(tmp_path: Path) -> None:
    scaffold = drafted(
        tmp_path,
        train="import lightning\nfrom config import LEARNING_RATE\nfrom model import Net",
        config="LEARNING_RATE = 1e-3",
        model="""
            import lightning
            class Net(lightning.LightningModule):
                def validation_step(self, batch, index):
                    self.log("val_dice", dice)
        """,
    )
    assert searched(scaffold) == ["learning_rate"]
    given = changed(scaffold)
    assert given["config.py"] == ['LEARNING_RATE = hpo.current_trial().params.get("learning_rate", 1e-3)']
    assert given["model.py"][0] == "def on_validation_end(self):"


def test_constants_of_other_modules_stay(tmp_path: Path) -> None:
    with pytest.raises(ScaffoldError, match=r"nothing that is known to be searched. Its modules were read too \(net"):
        drafted(tmp_path, train="import net", net="DROPOUT = 0.5")


def test_a_dataclass_of_another_module(tmp_path: Path) -> None:
    arguments = """
        from dataclasses import dataclass
        @dataclass
        class Optim:
            lr: float = 1e-3
        @dataclass
        class Args:
            optim: Optim
            dropout: float = 0.1
    """
    train = "import tyro\nfrom arguments import Args as Settings\nargs = tyro.cli(Settings)"
    scaffold = drafted(tmp_path, train=train, arguments=arguments)
    assert searched(scaffold) == ["learning_rate", "dropout"]
    assert scaffold.draft.command[2:4] == ["--optim.lr", "{learning_rate}"]


def test_a_function_of_another_module_given_to_fire(tmp_path: Path) -> None:
    trainer = "def fit(lr=0.1):\n    pass\n"
    assert searched(drafted(tmp_path, train="import fire, trainer\nfire.Fire(trainer.fit)", trainer=trainer)) == [
        "learning_rate"
    ]


def test_modules_that_import_each_other_and_files_that_are_no_python(tmp_path: Path) -> None:
    path = project(
        tmp_path,
        train="import a, train, broken, missing, numpy",
        a="from b import x",
        b="import a, train",
        broken="def",
    )
    (tmp_path / "missing.py").mkdir()
    modules = own_modules(Script(path))
    assert [module.path.name for module in modules] == ["a.py", "b.py"]
    assert [user.path.name for user in modules[0].users] == ["train.py", "b.py"]


def test_above_the_script_nothing_is_read(tmp_path: Path) -> None:
    path = project(tmp_path / "inner", train="from ..outer import x\nfrom .... import y\nimport outer")
    project(tmp_path, outer="lr = 0.1")
    assert own_modules(Script(path)) == []


def test_of_a_large_project_the_nearest_modules_are_read(tmp_path: Path) -> None:
    files = {f"m{index}": f"import m{index + 1}" for index in range(2 * MOST)}
    modules = own_modules(Script(project(tmp_path, train="import m0", **files)))
    assert [module.path.name for module in modules] == [f"m{index}.py" for index in range(MOST)]


MODEL = """
    import lightning
    class Net(lightning.LightningModule):
        def __init__(self, lr: float = 1e-3, residual: bool = True, sizes: list[int] = [1], classes: int = computed()):
            pass
        def validation_step(self, batch, index):
            self.log("val_dice", dice)
"""


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("from lightning.pytorch.cli import LightningCLI\nLightningCLI(Net, Data)", ["fit"]),
        ("import lightning.pytorch.cli as c\nc.LightningCLI(model_class=Net)", ["fit"]),
        ("from pytorch_lightning.cli import LightningCLI as CLI\nCLI(Net, run=False)", []),
    ],
)
def test_the_model_of_a_lightning_command_line(call: str, words: list[str], tmp_path: Path) -> None:
    scaffold = drafted(tmp_path, train="from net import Net\n" + call, net=MODEL)
    assert searched(scaffold) == ["learning_rate", "residual"]
    folder, seed = "--trainer.default_root_dir={directory}", "--seed_everything={seed}"
    rate = ["--model.lr={learning_rate}", "--model.residual={residual}"]
    assert scaffold.draft.command == ["python", "train.py", *words, folder, seed, *rate]
    assert "--model.sizes is left to the script" in scaffold.draft.notes
    assert list(changed(scaffold)) == ["net.py"]
