"""Objectives: located without importing, imported, and written out as a command."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path

import pytest

from hpo.errors import ObjectiveError
from hpo.objective.command_line import command_problems, fill_command
from hpo.objective.load import load
from hpo.objective.locate import locate
from hpo.space.search_space import SearchSpace
from hpo.trial import Job, ObjectiveRef, Trial

CODE = """\
import sys
sys.modules["hpo_test_was_imported"] = sys
from os.path import join as joined

def train(trial):
    return {"loss": trial + 1}

def _helper(a, b): ...

try:
    def guarded(trial, epochs=3): ...
except ImportError:
    guarded = None

made = lambda trial: {}
number = 3
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    package = tmp_path / "pack_of_tests" / "inner"
    package.mkdir(parents=True)
    (tmp_path / "pack_of_tests" / "__init__.py").write_text("raise RuntimeError('must not be imported')\n")
    (package / "__init__.py").write_text("from .deep import train\n")
    (package / "deep.py").write_text(CODE)
    (tmp_path / "space_of_tests").mkdir()
    (tmp_path / "space_of_tests" / "deep.py").write_text(CODE)
    (tmp_path / "lone_of_tests.py").write_text(CODE)
    (tmp_path / "raises_of_tests.py").write_text("def train(trial): ...\nimport nothing_of_that_name\n")
    (tmp_path / "star_of_tests.py").write_text("from os.path import *\n")
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("target", "file", "line"),
    [
        ("lone_of_tests:train", "lone_of_tests.py", 5),
        ("lone_of_tests.py:train", "lone_of_tests.py", 5),
        ("lone_of_tests:guarded", "lone_of_tests.py", 11),
        ("lone_of_tests:made", "lone_of_tests.py", 15),
        ("lone_of_tests:joined", "lone_of_tests.py", 3),
        ("pack_of_tests.inner.deep:train", "pack_of_tests/inner/deep.py", 5),
        ("pack_of_tests.inner:train", "pack_of_tests/inner/__init__.py", 1),
        ("space_of_tests.deep:train", "space_of_tests/deep.py", 5),
        ("star_of_tests:train", "star_of_tests.py", None),
    ],
)
def test_an_objective_is_located_and_nothing_is_imported(root: Path, target: str, file: str, line: int | None) -> None:
    location = locate(ObjectiveRef(target=target, root=str(root)))
    assert (location.file, location.line) == (str(root / file), line)
    assert "hpo_test_was_imported" not in sys.modules
    assert not [name for name in sys.modules if name.startswith(("lone_of", "pack_of", "space_of", "star_of"))]


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("train", "expected module:function or file.py:function"),
        (":train", "names no objective"),
        ("lone_of_tests:a b", "names no objective"),
        ("lone_of_test:train", "Did you mean 'lone_of_tests'?"),
        ("pack_of_tests.iner:train", "no module 'pack_of_tests.iner' in 'pack_of_tests'. Did you mean 'inner'?"),
        ("lone_of_tests.x:train", "no module 'lone_of_tests.x'"),
        ("space_of_tests:train", "is a folder without __init__.py; expected one of its modules: deep"),
        ("lone_of_test.py:train", "Did you mean 'lone_of_tests.py'?"),
        ("no/folder.py:train", "does not exist"),
        ("lone_of_tests:trian", "has no function 'trian'. Did you mean 'train'? It has train, guarded"),
        ("lone_of_tests:_helper", "expected _helper(trial)"),
    ],
)
def test_what_is_not_there_is_told_with_what_is_near(root: Path, target: str, words: str) -> None:
    with pytest.raises(ObjectiveError) as caught:
        locate(ObjectiveRef(target=target, root=str(root)))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("lr=1e-3, epochs=3", "takes lr first, which is no trial; expected train(trial), or around it: "),
        ("shift=-1", "takes shift first"),
        ("lr: float", "takes lr first"),
        ("lr: 'float', *more", "takes lr first"),
        (
            "lr, batch_size",
            "(lr, batch_size) than one trial; expected train(trial), or around it: def objective(trial)",
        ),
        ("*, lr", "(lr) than one trial; expected train(trial), or around it: "),
        ("", "(none) than one trial; expected train(trial)"),
        ("trial", None),
        ("trial=None", None),
        ("trial: 'hpo.Trial', verbose: bool = False", None),
        ("config: dict", None),
        ("*given", None),
        ("trial=make()", None),
    ],
)
def test_a_function_of_the_parameters_is_no_objective(tmp_path: Path, arguments: str, words: str | None) -> None:
    (tmp_path / "own.py").write_text(f"make = dict\ndef train({arguments}): return 1.0\n")
    ref = ObjectiveRef(target="own.py:train", root=str(tmp_path))
    if words is None:
        assert locate(ref).line == 2
        return
    with pytest.raises(ObjectiveError) as caught:
        locate(ref)
    assert words in str(caught.value)


def test_what_is_put_around_it_is_an_objective(tmp_path: Path) -> None:
    """The line that the message gives, as it stands there."""
    code = "def train(x: float, scale=2.0): return x * scale\n"
    (tmp_path / "own.py").write_text(code)
    with pytest.raises(ObjectiveError) as caught:
        locate(ObjectiveRef(target="own.py:train", root=str(tmp_path)))
    (tmp_path / "own.py").write_text(f"{code}\n\n{str(caught.value).partition('around it: ')[2]}\n")
    ref = ObjectiveRef(target="own.py:objective", root=str(tmp_path))
    job = Job(0, {"x": 0.25}, 1, ref, {}, tmp_path / "0", ("score",))
    assert load(ref)(Trial(job, lambda *report: None)) == 0.5


@pytest.mark.parametrize("target", ["lone_of_tests:train", "lone_of_tests.py:train", "space_of_tests.deep:train"])
def test_load_imports_the_function(root: Path, target: str) -> None:
    function = load(ObjectiveRef(target=target, root=str(root)))
    assert function(1) == {"loss": 2}
    assert sys.modules[function.__module__].train is function, "it can be pickled by its name"
    assert load(ObjectiveRef(target=target, root=str(root))) is function


def test_a_file_named_like_a_module_in_use_is_loaded_beside_it(root: Path) -> None:
    (root / "json.py").write_text("def train(trial): return 5\n")
    assert load(ObjectiveRef(target="json.py:train", root=str(root)))(None) == 5
    import json

    assert json.loads("1") == 1


def test_a_package_named_like_a_module_in_use_is_refused(root: Path) -> None:
    (root / "json").mkdir()
    (root / "json" / "mine.py").write_text("def train(trial): return 5\n")
    with pytest.raises(
        ObjectiveError, match=r"the package 'json' in .* has the name of a module that Python or hpo uses"
    ):
        load(ObjectiveRef(target="json.mine:train", root=str(root)))


def test_packages_of_one_name_in_two_folders_are_each_imported_from_their_own(root: Path, tmp_path: Path) -> None:
    for folder, value in (("one", 1), ("other", 2)):
        (tmp_path / folder / "twice_of_tests").mkdir(parents=True)
        (tmp_path / folder / "twice_of_tests" / "value.py").write_text(f"VALUE = {value}\n")
        code = "from twice_of_tests.value import VALUE\ndef train(trial): return VALUE\n"
        (tmp_path / folder / "twice_of_tests" / "deep.py").write_text(code)
    found = [load(ObjectiveRef(target="twice_of_tests.deep:train", root=str(tmp_path / f))) for f in ("one", "other")]
    assert [function(None) for function in found] == [1, 2]


def test_the_folder_of_a_study_comes_after_the_library_and_before_installed_packages(root: Path) -> None:
    (root / "queue.py").write_text("raise RuntimeError\n")
    load(ObjectiveRef(target="lone_of_tests:train", root=str(root)))
    places = [PathFinder.find_spec(name, sys.path) for name in ("queue", "lone_of_tests")]
    assert [place and Path(place.origin or "").parent for place in places] == [Path(os.__file__).parent, root]
    installed = [index for index, entry in enumerate(sys.path) if entry.endswith("site-packages")]
    assert sys.path.index(str(root)) < min(installed)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("raises_of_tests:train", "raised ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        ("raises_of_tests.py:train", "raised ModuleNotFoundError"),
        ("lone_of_tests:number", "is int; expected a function"),
        ("lone_of_tests:trian", "Did you mean 'train'?"),
        ("absent_of_tests.py:train", "no file"),
    ],
)
def test_what_cannot_be_loaded_is_an_objective_error(root: Path, target: str, words: str) -> None:
    with pytest.raises(ObjectiveError) as caught:
        load(ObjectiveRef(target=target, root=str(root)))
    assert words in str(caught.value)


SPACE = SearchSpace.parse(
    {
        "lr": {"low": 1e-5, "high": 1e-2, "log": True},
        "flip": {"choices": [True, False]},
        "loss": {"choices": {"bce": {}, "focal": {"gamma": {"low": 0.0, "high": 5.0}}}},
        "weights": {"simplex": ["a", "b"]},
    }
)
COMMAND = ObjectiveRef(
    command=(
        *("python", "train.py", "--lr={lr}", "--flip", "{flip}", ("--gamma", "{gamma}"), "{weights.a}", "{weights}"),
        *(
            "{constants.epochs}",
            "{constants.data.root}",
            "{seed}/{number}",
            "{directory}",
            "{{lr}}",
            ("--loss", "{loss}"),
        ),
    )
)
CONSTANTS = {"epochs": 4, "data": {"root": "data set"}}


def test_a_placeholder_reaches_constants_whose_keys_are_no_text() -> None:
    ref = ObjectiveRef(command=("run", "{constants.w.0}", "{constants.w.true.x}", "{constants.w.null}"))
    constants = {"w": {0: 1.5, True: {"x": 2}, None: "none"}}
    assert command_problems(ref, SPACE, constants) == []
    assert fill_command(ref, {}, constants, seed=1, directory=Path("/"), number=0) == ["run", "1.5", "2", "none"]


def test_a_command_is_filled_with_everything_a_trial_has() -> None:
    params = {"lr": 1e-5, "flip": True, "loss": "focal", "gamma": 2.0, "weights": {"a": 0.25, "b": 0.75}}
    assert fill_command(COMMAND, params, CONSTANTS, seed=7, directory=Path("/runs/3"), number=3) == [
        *(
            sys.executable,
            "train.py",
            "--lr=1e-05",
            "--flip",
            "true",
            "--gamma",
            "2.0",
            "0.25",
            '{"a": 0.25, "b": 0.75}',
        ),
        *("4", "data set", "7/3", "/runs/3", "{lr}", "--loss", "focal"),
    ]


def test_an_inner_list_is_left_out_where_its_parameter_is_not_there() -> None:
    params = {"lr": 1e-5, "flip": False, "loss": "bce", "weights": {"a": 0.25, "b": 0.75}}
    filled = fill_command(COMMAND, params, CONSTANTS, 7, "/runs/3", 3)
    assert "--gamma" not in filled
    assert filled[-2:] == ["--loss", "bce"]


def test_a_placeholder_without_a_value_is_told() -> None:
    with pytest.raises(ObjectiveError, match=r"'--g=\{gamma\}' of the command: '\{gamma\}' has no value"):
        fill_command(ObjectiveRef(command=("run", "--g={gamma}")), {}, {}, 0, "/", 0)


def test_a_right_command_has_no_problems() -> None:
    assert command_problems(COMMAND, SPACE, CONSTANTS) == []


def test_problems_of_a_command_are_told_by_their_index() -> None:
    ref = ObjectiveRef(
        command=("run", "{gamma}", ("-g", "{gama}"), "{constants.epoch}", "{weights.c}", "{", "{lr:.2f}")
    )
    problems = command_problems(ref, SPACE, CONSTANTS)
    assert [path for path, _ in problems] == [(1,), (2, 1), (3,), (4,), (5,), (6,)]
    assert "only where loss = focal" in problems[0][1]
    assert "Did you mean 'gamma'?" in problems[1][1]
    assert "Did you mean 'epochs'?" in problems[2][1]
    assert "Did you mean 'weights.b'?" in problems[3][1]


def test_programs_are_looked_for_where_a_shell_would(tmp_path: Path) -> None:
    script = tmp_path / "train.sh"
    script.write_text("#!/bin/sh\n")
    with pytest.raises(ObjectiveError, match=r"may not be executed; chmod \+x"):
        locate(ObjectiveRef(command=("./train.sh",), root=str(tmp_path)))
    script.chmod(0o755)
    assert locate(ObjectiveRef(command=("./train.sh",), root=str(tmp_path))).file == str(script)
    assert locate(ObjectiveRef(command=("python",))).file == sys.executable
    assert locate(ObjectiveRef(command=("sh",))).file.endswith("/sh")
    with pytest.raises(ObjectiveError, match=r"Did you mean '\./train\.sh'\?"):
        locate(ObjectiveRef(command=("train.sh",), root=str(tmp_path)))


@pytest.mark.parametrize(
    ("files", "target", "said"),
    [
        (
            {"own_pack/train.py": "from .near import x\n"},
            "own_pack/train.py:train",
            "a file that imports relatively is a module of a package: objective: own_pack.train:train",
        ),
        ({"alone_rel.py": "from . import x\n"}, "alone_rel.py:train", "let root be the folder above the package"),
        (
            {"lacks_it.py": "import nothing_of_that_name.x\n"},
            "lacks_it:train",
            f"{sys.executable} has no 'nothing_of_that_name': "
            f"`{sys.executable} -m pip install nothing_of_that_name` if it is a package, or let root be the folder",
        ),
    ],
)
def test_an_import_that_fails_says_what_to_do(tmp_path: Path, files: dict[str, str], target: str, said: str) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(ObjectiveError) as error:
        load(ObjectiveRef(target, (), str(tmp_path)))
    assert said in str(error.value)
