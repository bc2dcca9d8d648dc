"""Scripts that load their settings from a file: which file, and the lines that read them from the trial."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import textwrap
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo.errors import ScaffoldError
from hpo.scaffold.from_script import Scaffold, from_script

YAML = "train: {lr: 0.01, batch_size: 16, epochs: 7}\nmodel: {name: unet, loss: {gamma: 2.0}}\nseed: 3\n"
PRINTS = "for epoch in range(3):\n    print(f'val_loss {loss:.3f}')\n"


def drafted(folder: Path, train: str, files: dict[str, str] | None = None) -> Scaffold:
    for name, text in ({"config.yaml": YAML} if files is None else files).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "train.py").write_text(textwrap.dedent(train) + PRINTS)
    return from_script(folder / "train.py")


def searched(scaffold: Scaffold) -> list[str]:
    return [entry.name for entry in scaffold.draft.parameters]


@pytest.mark.parametrize(
    ("loads", "holder"),
    [
        ("cfg = yaml.safe_load(open('config.yaml'))", "cfg"),
        ("with open('config.yaml') as f:\n    cfg = yaml.load(f, Loader=yaml.SafeLoader)", "cfg"),
        ("cfg = EasyDict(yaml.full_load(open('config.yaml')))  # all of them", "cfg"),
        ("from yaml import safe_load\nself.cfg = safe_load(Path('config.yaml').read_text())", "self.cfg"),
        ("from omegaconf import OmegaConf as O\ncfg = O.load('config.yaml')", "cfg"),
        ("def load(path='config.yaml'):\n    return yaml.safe_load(open(path))\ncfg = load()", "loaded"),
    ],
)
def test_lines_that_read_the_trial_stand_behind_the_load(loads: str, holder: str, tmp_path: Path) -> None:
    scaffold = drafted(tmp_path, f"import yaml\n{loads}\n")
    assert searched(scaffold) == ["learning_rate", "batch_size", "gamma"]
    assert scaffold.draft.command == ["python", "train.py"]
    lines = scaffold.edits[0].text.splitlines()
    places = [f'{holder}["train"]["lr"]', f'{holder}["train"]["batch_size"]', f'{holder}["train"]["epochs"]']
    keys = ["params.get(\"learning_rate\"", "params.get(\"batch_size\"", "constants.get(\"epochs\""]  # fmt: skip
    for place, key in zip(places, keys, strict=True):
        assert [line.strip() for line in lines].count(f"{place} = hpo.current_trial().{key}, {place})") == 1
    load = next(index for index, line in enumerate(lines) if "oad(" in line and "def " not in line)
    assert lines[load + 1].strip().startswith(places[0])


def test_a_run_by_hand_has_the_values_of_the_file(tmp_path: Path) -> None:
    train = """
        import json
        def load(path):
            with open(path) as file:
                return json.load(file)
        config = load("settings/base.json")
        loss = config["train"]["lr"]
        print(json.dumps(config))
    """
    values = {"train": {"lr": 0.01, "batch_size": 8}, "epochs": 4, "name": "x"}
    scaffold = drafted(tmp_path, train, {"settings/base.json": json.dumps(values)})
    (tmp_path / "train.py").write_text(scaffold.edits[0].text)
    done = subprocess.run([sys.executable, "train.py"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[0]) == values


keys = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
trees = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**40), 2**40), st.floats(allow_nan=False), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=12,
)


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(st.one_of(keys, st.sampled_from(["lr", "dropout", "seed", "epochs"])), trees, max_size=6))
def test_any_file_is_the_same_by_hand_and_has_each_value_of_a_trial(values: dict[str, Any]) -> None:
    values |= {"weight_decay": 0.01}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        scaffold = drafted(
            path,
            "import json\nwith open('c.json') as f:\n    cfg = json.load(f)\nloss = 1.0\n",
            {"c.json": json.dumps(values)},
        )
        text = scaffold.edits[0].text.replace("import hpo\n", "").replace("'c.json'", repr(str(path / "c.json")))
        for params in ({}, {entry.name: "new" for entry in scaffold.draft.parameters}):
            trial = partial(SimpleNamespace, params=params, constants={})
            held: dict[str, Any] = {"hpo": SimpleNamespace(current_trial=trial, report=lambda *_, **__: None)}
            with contextlib.redirect_stdout(None):
                exec(text, held)
            assert (held["cfg"] == values) is not bool(params)
            assert json.dumps(held["cfg"]).count('"new"') - json.dumps(values).count('"new"') == len(params)


ARGUMENT = "import argparse, yaml\nparser.add_argument('--{}'{})\n{}cfg = yaml.safe_load(open(args.config))\n"


@pytest.mark.parametrize(
    ("name", "more", "command"),
    [
        ("config", ", required=True", ["--config", "{constants.config}"]),
        ("cfg-file", ", required=True", ["--cfg-file", "{constants.cfg_file}"]),
        ("config", ", default='configs/unet.yaml'", ["--config", "{constants.config}"]),
    ],
)
def test_the_argument_that_names_the_file(name: str, more: str, command: list[str], tmp_path: Path) -> None:
    scaffold = drafted(tmp_path, ARGUMENT.format(name, more, ""), {"configs/unet.yaml": YAML, "notes.yaml": "a: b"})
    assert scaffold.draft.command[2:] == command
    (constant,) = [entry for entry in scaffold.draft.constants if entry.name != "epochs"]
    assert (constant.declared, constant.decide) == ("configs/unet.yaml", "")


def test_numbers_that_nobody_knows_stay_where_a_file_is_searched(tmp_path: Path) -> None:
    more = "parser.add_argument('--some-amount', type=float, default=0.1)\n"
    scaffold = drafted(tmp_path, ARGUMENT.format("config", ", default='config.yaml'", more))
    assert searched(scaffold) == ["learning_rate", "batch_size", "gamma"]


def test_arguments_come_before_a_file(tmp_path: Path) -> None:
    more = "parser.add_argument('--lr', type=float, default=0.1)\n"
    assert searched(drafted(tmp_path, ARGUMENT.format("config", ", default='config.yaml'", more))) == ["learning_rate"]


@pytest.mark.parametrize(
    ("train", "files"),
    [
        # Which of two files; none with a value to search; one that is written, not read; one that is no YAML.
        ("cfg = yaml.safe_load(open(path))", {"a.yaml": YAML, "configs/b.yaml": YAML}),
        ("cfg = yaml.safe_load(open('config.yaml'))", {"config.yaml": "name: x\npaths: [a, b]\n"}),
        ("open('best.yaml', 'w')\ncfg = yaml.safe_load(open('config.yaml'))", {"best.yaml": YAML, "b.yaml": YAML}),
        ("cfg = yaml.safe_load(open('config.yaml'))", {"config.yaml": "a: [\n"}),
        ("cfg = yaml.safe_load(open('config.yaml'))", {}),
        # A function that loads other files too, and a loop over files.
        ("def load(p):\n    return yaml.safe_load(open(p))\na, b = load('config.yaml'), load('b.yaml')", None),
        ("for name in names:\n    cfg = yaml.safe_load(open('config.yaml'))", None),
        # No line of its own, and nothing that holds it.
        ("if 1: cfg = yaml.safe_load(open('config.yaml'))", None),
        ("a = 1; cfg = yaml.safe_load(open('config.yaml'))", None),
        ("use(yaml.safe_load(open('config.yaml')))", None),
        ("a, b = yaml.safe_load(open('config.yaml'))", None),
    ],
)
def test_what_is_not_searched(train: str, files: dict[str, str] | None, tmp_path: Path) -> None:
    with pytest.raises(ScaffoldError, match="nothing that is known to be searched"):
        drafted(tmp_path, f"import yaml\n{train}\n", files)


@pytest.mark.parametrize("more", [", required=True", ", default='configs/unet.yaml'"])
def test_a_script_that_has_its_lines_gets_no_others_and_a_study_is_no_configuration(more: str, tmp_path: Path) -> None:
    """The study beside it, and a sweep, have learning rates too."""
    files = {
        "configs/unet.yaml": YAML,
        "study.yaml": "search_space: {lr: {low: 0.1, high: 1.0}}\nconstants: {lr: 0.1}\n",
        "sweep.yaml": "method: bayes\nparameters: {lr: {value: 0.1}}\nlr: 0.2\n",
    }
    train = ARGUMENT.format("config", more, "")
    scaffold = drafted(tmp_path, train, files)
    assert searched(scaffold) == ["learning_rate", "batch_size", "gamma"]
    (tmp_path / "train.py").write_text(scaffold.edits[0].text)
    with pytest.raises(ScaffoldError, match="takes its values from the trial already"):
        from_script(tmp_path / "train.py")
    (tmp_path / "main.py").write_text("import train\n")
    with pytest.raises(ScaffoldError, match=r"main\.py takes its values from the trial already"):
        from_script(tmp_path / "main.py")
