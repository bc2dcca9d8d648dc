"""A user's modules and packages beside the study: they break nothing of hpo's, and hpo's break nothing of theirs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hpo.objective.locate import locate
from hpo.runner import run
from hpo.spec.load import load_spec
from hpo.storage.load_study import load_study
from hpo.trial import ObjectiveRef

REPOSITORY = Path(__file__).parents[2]
# Names of Python's own modules, of libraries and of hpo's that a user's file may have.
SHADOWS = ("hpo", "logging", "queue", "random", "types", "yaml")

FILE = """\
import trial as own  # the user's trial.py beside this file

def train(trial):
    import logging, multiprocessing.pool, queue, random, types
    assert queue.Queue and random.random() < 1.0
    return {"score": own.SCALE * trial.params["x"]}
"""
# A package `objectives` of the user's, which has what hpo's has not and the other way round.
PACKAGE = {
    "objectives/mine/__init__.py": """\
import multiprocessing
from objectives.mine.model import scale
from .model import scale as again
from objectives.splits import assign  # of hpo's own

def scaled(x):
    return scale * x

def train(trial):
    import objectives.mine.late
    assert scale is again
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        (score,) = pool.map(scaled, [trial.params["x"]])
    return {"score": score}
""",
    "objectives/mine/model.py": "scale = 2.0\n",
    "objectives/mine/late.py": "",
}


def write_study(folder: Path, name: str, objective: str, **keys: object) -> Path:
    study = {
        "name": name,
        "objective": objective,
        "metrics": [{"name": "score", "direction": "maximize"}],
        "search_space": {"x": {"low": 0.25, "high": 0.75}},
        "sampler": {"name": "random"},
        "pruner": {"name": "none"},
        "budget": {"trials": 1},
        "engine": {"name": "local", "workers": 1, "cpu": 1},
        "mlflow": False,
    } | keys
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(study))
    return path


def write_files(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def hpo(folder: Path, *arguments: object, flags: tuple[str, ...] = ("-P",)) -> str:
    """Calls hpo in a folder as its console script does: without that folder on sys.path."""
    command = [sys.executable, *flags, "-m", "hpo", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    ended = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=280, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def scores(runs: Path, name: str) -> list[tuple[str, float, float]]:
    """State, x and score of each trial that has ended."""
    trials = [trial for trial in load_study(runs, name)[1].trials if trial.state.is_finished()]
    return [(trial.state.name, trial.params.get("x", 0.0), trial.value or 0.0) for trial in trials]


@pytest.fixture
def shadowed(tmp_path: Path) -> Path:
    """A folder with files of the names of modules that hpo and its libraries import."""
    write_files(tmp_path, {f"{name}.py": f"raise RuntimeError('the {name}.py of the user')\n" for name in SHADOWS})
    write_files(tmp_path, {"train.py": FILE, "trial.py": "SCALE = 3.0\n"})
    return tmp_path


def test_files_in_the_working_folder_disturb_neither_driver_nor_worker(shadowed: Path) -> None:
    path = write_study(shadowed, "toy", "train.py:train")
    hpo(shadowed, "run", path, "--runs", shadowed / "runs")
    ((state, x, score),) = scores(shadowed / "runs", "toy")
    assert (state, score) == ("COMPLETE", 3.0 * x)


@pytest.mark.slow
def test_files_in_the_working_folder_disturb_no_process_of_ray(shadowed: Path) -> None:
    path = write_study(shadowed, "toy", "train.py:train", engine={"name": "ray", "workers": 1, "cpu": 1})
    hpo(shadowed, "run", path, "--runs", shadowed / "runs")
    ((state, x, score),) = scores(shadowed / "runs", "toy")
    assert (state, score) == ("COMPLETE", 3.0 * x)


def test_python_m_hpo_leaves_the_working_folder_out(shadowed: Path) -> None:
    """Only hpo.py and what Python itself imports before it calls hpo (types.py) cannot be left out."""
    for name in ("hpo", "types"):
        (shadowed / f"{name}.py").unlink()
    path = write_study(shadowed, "toy", "train.py:train")
    assert "train.py" in hpo(shadowed, "check", path, "--runs", shadowed / "runs", flags=())


@pytest.mark.slow
@pytest.mark.parametrize("regular", [True, False], ids=["with __init__.py", "without"])
def test_a_package_objectives_of_the_users_is_taken_where_the_study_names_it(tmp_path: Path, regular: bool) -> None:
    """hpo's own package of that name is on PYTHONPATH, and gives the modules that the user's has not."""
    write_files(tmp_path, PACKAGE | ({"objectives/__init__.py": ""} if regular else {}))
    path = write_study(tmp_path, "toy", "objectives.mine:train")
    assert str(tmp_path / "objectives/mine/__init__.py") in hpo(tmp_path, "check", path, "--runs", tmp_path / "runs")
    hpo(tmp_path, "run", path, "--runs", tmp_path / "runs")
    ((state, x, score),) = scores(tmp_path / "runs", "toy")
    assert (state, score) == ("COMPLETE", 2.0 * x)


@pytest.mark.slow
def test_a_package_objectives_of_the_users_does_not_hide_the_built_in_one(tmp_path: Path) -> None:
    write_files(tmp_path, PACKAGE | {"objectives/__init__.py": "", "objectives/options.py": "raise RuntimeError\n"})
    arguments = ("--trials", 1, "--set", "constants.epochs=1", "--set", "mlflow=false", "--set", "engine.workers=1")
    checked = hpo(tmp_path, "check", "quickstart", "--json", "--runs", tmp_path / "runs")
    assert json.loads(checked)["location"].startswith(str(REPOSITORY / "objectives"))
    hpo(tmp_path, "run", "quickstart", *arguments, "--runs", tmp_path / "runs")
    ((state, _, _),) = scores(tmp_path / "runs", "quickstart")
    assert state == "COMPLETE"


def test_a_copy_of_a_built_in_study_finds_the_built_in_objective(tmp_path: Path) -> None:
    write_files(tmp_path, PACKAGE)
    location = locate(ObjectiveRef(target="objectives.quickstart:train", root=str(tmp_path)))
    assert location.file == str(REPOSITORY / "objectives/quickstart/__init__.py")


@pytest.mark.slow
@pytest.mark.usefixtures("ray_here")
def test_one_ray_runs_studies_with_either_package(tmp_path: Path) -> None:
    write_files(tmp_path, PACKAGE | {"objectives/__init__.py": ""})
    ray = {"name": "ray", "workers": 1, "cpu": 1}
    own = load_spec(write_study(tmp_path, "own", "objectives.mine:train", engine=ray))
    built_in = load_spec(
        "quickstart",
        ["constants.epochs=1", "mlflow=false", "engine={name: ray, workers: 1, cpu: 1}", "budget.trials=1"],
    )
    for spec in (own, built_in, own.model_copy(update={"name": "again"})):
        run(spec, tmp_path / "runs")
        assert [state for state, _, _ in scores(tmp_path / "runs", spec.name)] == ["COMPLETE"]


@pytest.mark.parametrize(
    "regular",
    [("objectives",), *(pytest.param(k, marks=pytest.mark.slow) for k in ((), ("objectives", "objectives/losses")))],
)
def test_a_subpackage_of_both_has_the_modules_of_both(tmp_path: Path, regular: tuple[str, ...]) -> None:
    code = "from objectives.losses import focal, own\n\ndef train(trial):\n    return focal.__file__, own.__file__\n"
    files = {"objectives/both.py": code, "objectives/losses/own.py": "", "load.py": LOADS}
    write_files(tmp_path, files | {f"{folder}/__init__.py": "" for folder in regular})
    ended = subprocess.run(
        [sys.executable, "load.py", "objectives.both:train"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ended.stdout.split() == [
        str(REPOSITORY / "objectives/losses/focal.py"),
        str(tmp_path / "objectives/losses/own.py"),
    ]


LOADS = """\
import os
import sys

from hpo.objective.load import load
from hpo.trial import ObjectiveRef

print(*load(ObjectiveRef(sys.argv[1], (), os.getcwd()))(None))
"""


def test_a_family_may_lie_in_the_root_of_a_study(tmp_path: Path) -> None:
    own = {"search_spaces/batch.yaml": "batch_size: {choices: [5, 6]}\n", "train.py": "def train(trial): return {}\n"}
    write_files(tmp_path, own | {"studies/x": ""})
    space = {"include": ["search_spaces/batch.yaml"]}
    path = write_study(tmp_path / "studies", "toy", "train.py:train", root="..", search_space=space)
    assert load_spec(path).space.parameters[0].choices == (5, 6)
