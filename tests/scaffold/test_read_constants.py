"""Constants of scripts without a command line, and the lines that read them from the trial."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from hpo.errors import ScaffoldError
from hpo.scaffold.from_script import from_script
from hpo.scaffold.python_source import Script
from hpo.scaffold.read_constants import read_constants

RATE = 'hpo.current_trial().params.get("learning_rate", 1e-3)'


def script(folder: Path, text: str) -> Path:
    path = folder / "train.py"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("LR = 1e-3", f"LR = {RATE}"),
        ("class CFG:\n    lr = 1e-3", f"    lr = {RATE}"),
        ("class CFG: lr = 1e-3", f"class CFG: lr = {RATE}"),
        ("@dataclass\nclass TrainConfig:\n    lr: float = 1e-3", f"    lr: float = {RATE}"),
        ("class hparams(object):\n    '''All.'''\n    a, lr = 1, 1e-3", f"    a, lr = 1, {RATE}"),
        ("class Args(NamedTuple):\n    LR: float = 1e-3  # x", f"    LR: float = {RATE}  # x"),
        ("config = {'lr': 1e-3}", f"config = {{'lr': {RATE}}}"),
        ("wandb.init(config=dict(lr=1e-3))", f"wandb.init(config=dict(lr={RATE}))"),
        ("lr = 1e-3", f"lr = {RATE}"),
        ("if __name__ == '__main__':\n    lr = 1e-3", f"    lr = {RATE}"),
    ],
)
def test_the_line_that_reads_a_constant(text: str, line: str, tmp_path: Path) -> None:
    scaffold = from_script(script(tmp_path, f"{text}\nfor epoch in range(3):\n    print(f'loss {{loss}}')\n"))
    (entry,) = scaffold.draft.parameters
    assert (entry.name, entry.default) == ("learning_rate", 1e-3)
    assert line in scaffold.edits[0].text.splitlines()


@pytest.mark.parametrize(
    "text",
    [
        "class Net:\n    lr = 1e-3",  # no configuration
        "class CFG:\n    lr = 1e-3\n    lr = 1e-2",  # which?
        "class CFG:\n    def f(self):\n        lr = 1e-3",
        "def f():\n    class CFG:\n        lr = 1e-3",
        "lr = 1e-3\nlr = 2 * lr",
        "class CFG:\n    lr = rate()",
    ],
)
def test_what_is_no_constant(text: str, tmp_path: Path) -> None:
    with pytest.raises(ScaffoldError, match="nothing that is known to be searched"):
        from_script(script(tmp_path, text))


def test_names_in_upper_case_come_before_a_class_and_a_class_before_a_dict(tmp_path: Path) -> None:
    parts = ["LEARNING_RATE = 0.1", "class Config:\n    dropout = 0.2", "config = {'weight_decay': 1e-4}", "lr = 0.3"]
    for first, name in enumerate(("LEARNING_RATE", "dropout", "weight_decay", "lr")):
        found = read_constants(Script(script(tmp_path, "\n".join(parts[first:]))))
        assert [setting.name for setting in found.settings] == [name]


def test_constants_are_searched_beside_arguments_that_are_not(tmp_path: Path) -> None:
    """Then no number of the command line is searched for want of others."""
    text = """
        import argparse
        class CFG:
            lr = 1e-3
        parser = argparse.ArgumentParser()
        parser.add_argument("--gpu", type=int, default=0)
        parser.add_argument("--some-amount", type=float, default=0.1)
    """
    scaffold = from_script(script(tmp_path, text))
    assert [entry.name for entry in scaffold.draft.parameters] == ["learning_rate"]
    assert f"    lr = {RATE}" in scaffold.edits[0].text.splitlines()
    scaffold = from_script(script(tmp_path, text.replace("lr = 1e-3", "name = 'x'")))
    assert "some_amount" in [entry.name for entry in scaffold.draft.parameters]
    assert scaffold.edits == ()
