"""`hpo init` on scripts that are not ours in style: an argparse loop, modules, Hydra, Lightning, Keras, and others.

Where a framework is not installed, `stand_ins/` has the part of it that the script uses, under the same names.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hpo.cli.main import main
from hpo.space.parameter import Parameter
from hpo.spec.load import load_spec
from hpo.spec.models import StudySpec
from hpo.storage.load_study import load_study

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]


@dataclass(frozen=True)
class Style:
    """A script, and the study that is right for it: ranges as (low, high, log) or choices."""

    script: str
    metric: tuple[str, str]
    ranges: dict[str, Any]
    epochs: int
    reported: set[str]
    framework: tuple[str, ...] = ()
    constants: dict[str, Any] = field(default_factory=dict)


STYLES = {
    "argparse_loop": Style(
        "main.py",
        ("accuracy", "maximize"),
        {"batch_size": (32, 64, 128), "learning_rate": (0.1, 1.0, True), "weight_decay": (1e-6, 1e-2, True)},
        14,
        {"accuracy", "average_loss"},
        constants={"log_interval": 10, "test_batch_size": 1000},
    ),
    "modules_style": Style(
        "train.py",
        ("val_acc", "maximize"),
        {"learning_rate": (1e-3, 0.1, True), "weight_decay": (1e-4, 1e-2, True)},
        6,
        {"val_acc"},
    ),
    "hydra_style": Style(
        "run.py",
        ("val_loss", "minimize"),
        {
            "learning_rate": (3e-5, 0.1, True),  # a decade below Adam's, a decade above SGD's
            "weight_decay": (1e-5, 1e-3, True),
            "optimizer": ("adam", "sgd"),
            "momentum": (0.8, 0.99, False),
            "nesterov": (False, True),
            "hidden_size": (64, 128, 256),
            "dropout": (0.0, 0.5, False),
            "batch_size": (16, 32, 64),
        },
        12,
        {"val_loss", "best"},
        ("hydra", "omegaconf"),
    ),
    "lightning_style": Style(
        "train.py",
        ("val/mae", "minimize"),
        {
            "hidden_dim": (16, 32, 64),
            "learning_rate": (1e-4, 1e-2, True),
            "dropout": (0.0, 0.5, False),
            "batch_size": (16, 32, 64),
        },
        5,
        {"val_loss", "val/mae"},
        ("lightning",),
        {"precision": "32-true"},
    ),
    "keras_style": Style(
        "train_keras.py",
        ("val_accuracy", "maximize"),
        {
            "learning_rate": (1e-4, 1e-2, True),
            "batch_size": (16, 32, 64),
            "units": (8, 16, 32),
            "dropout": (0.0, 0.5, False),
        },
        6,
        {"val_accuracy", "val_loss", "accuracy", "loss"},
        ("keras",),
    ),
    "trainer_style": Style(
        "finetune.py",
        ("eval_accuracy", "maximize"),
        {
            "hidden_size": (8, 16, 32),
            "learning_rate": (5e-4, 0.05, True),
            "batch_size": (16, 32, 64),
            "weight_decay": (1e-3, 0.1, True),
        },
        5,
        {"eval_accuracy", "eval_loss"},
        ("transformers", "accelerate"),
    ),
    "constants_style": Style(
        "fit.py",
        ("mae", "minimize"),
        {
            "learning_rate": (0.005, 0.5, True),
            "batch_size": (16, 24, 32),
            "n_layers": (1, 5, False),
            "use_noise": (False, True),
        },
        20,
        {"mae"},
    ),
}


@pytest.fixture(params=STYLES)
def style(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Style, Path]:
    """The style, and its script in a folder of its own."""
    folder = tmp_path / request.param
    shutil.copytree(HERE / "scripts" / request.param, folder, ignore=shutil.ignore_patterns("__pycache__"))
    found = STYLES[request.param]
    return found, folder / found.script


def contents(folder: Path) -> dict[str, bytes]:
    """What the Python files of a folder hold."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.py")}


def environment(style: Style) -> dict[str, str]:
    missing = any(importlib.util.find_spec(name) is None for name in style.framework)
    paths = [str(REPOSITORY), *([str(HERE / "stand_ins")] if missing else []), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def range_of(parameter: Parameter) -> Any:
    if parameter.kind == "categorical":
        return tuple(parameter.choices)
    return parameter.low, parameter.high, parameter.log


def study_of(script: Path) -> StudySpec:
    return load_spec(script.parent / "study.yaml")


def test_the_study_has_sensible_ranges(style: tuple[Style, Path], capsys: pytest.CaptureFixture[str]) -> None:
    expected, script = style
    before = script.read_bytes()
    assert main(["init", str(script)]) == 0
    said = capsys.readouterr().out
    assert script.read_bytes() == before  # never edited unasked
    spec = study_of(script)
    assert [(metric.name, metric.direction) for metric in spec.metrics] == [expected.metric]
    assert {parameter.name: range_of(parameter) for parameter in spec.space.walk()} == expected.ranges
    assert spec.constants == {"epochs": expected.epochs, **expected.constants}
    assert len(spec.enqueue) == 1  # what the script does today
    for name in expected.ranges:
        assert name in said
    assert f"{script.name}.diff" in said


def test_the_diff_is_what_apply_does(style: tuple[Style, Path], tmp_path: Path) -> None:
    _, script = style
    other = tmp_path / "other"
    shutil.copytree(script.parent, other)
    original = contents(other)
    assert main(["init", str(script)]) == 0
    diff = script.with_name(f"{script.name}.diff")
    if shutil.which("git") is not None:
        subprocess.run(["git", "apply", str(diff)], cwd=other, check=True, env={**os.environ, "GIT_DIR": "/nowhere"})
    assert main(["init", str(script), "--apply"]) == 0  # the study is there, and stays
    assert contents(other) == contents(script.parent) != original
    for path in script.parent.rglob("*.py"):
        compile(path.read_bytes(), str(path), "exec")
    assert script.stat().st_mode == (other / script.name).stat().st_mode or os.access(script, os.X_OK)


@pytest.mark.slow
def test_the_study_runs(style: tuple[Style, Path]) -> None:
    run_two_trials(*style)


@pytest.mark.slow
def test_a_study_of_an_argparse_script_runs(tmp_path: Path) -> None:
    folder = tmp_path / "my project"
    shutil.copytree(HERE / "scripts" / "argparse_loop", folder)
    run_two_trials(STYLES["argparse_loop"], folder / "main.py")


def run_two_trials(style: Style, script: Path) -> None:
    def hpo(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "hpo", *words], cwd=script.parent, capture_output=True, text=True,
            env=environment(style), timeout=600, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    hpo("init", script.name, "--apply")
    assert "warning" not in hpo("check", "study.yaml")
    sets = [word for key in ("constants.epochs=1", "mlflow=false", "pruner=none") for word in ("--set", key)]
    hpo("run", "study.yaml", "--trials", "2", *sets)
    spec, study = load_study(script.parent / "runs", study_of(script).name)
    trials = study.get_trials(deepcopy=False)
    assert [trial.state.name for trial in trials] == ["COMPLETE", "COMPLETE"]
    rows = (script.parent / "runs" / spec.name / "trials" / "0" / "history.jsonl").read_text().splitlines()
    assert [set(json.loads(row)["metrics"]) for row in rows] == [style.reported]
    # By hand the script is what it was.
    subprocess.run([sys.executable, script.name], cwd=script.parent, env=environment(style), check=True, timeout=600,
                   capture_output=True)  # fmt: skip
