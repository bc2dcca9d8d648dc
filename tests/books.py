"""A study driven by a process of its own, and its books afterwards: nothing lost, nothing doubled."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
from optuna.trial import FrozenTrial

from hpo.storage.histories import Histories
from hpo.storage.load_study import load_study

TRIALS = 10
GRID = {"search_space": {"x": {"choices": [round(0.1 * k, 1) for k in range(TRIALS)]}}, "sampler": {"name": "grid"}}
TPE = {"sampler": {"name": "tpe"}, "pruner": {"name": "successive_halving", "min_resource": 2, "reduction_factor": 3}}

# Trials that save, as those of `slow` do, wait at a rung, and go on as further attempts.
WAITS = {"sampler": {"name": "kernel", "n_startup_trials": 4}, "pruner": {"name": "halving"}}


def start(path: Path, runs: Path, environment: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    variables = {**os.environ, "HPO_TEST_RUN": str(runs), **(environment or {})}
    command = [sys.executable, "-m", "hpo", "run", str(path), "--runs", str(runs)]
    # A session of its own: what a terminal sends on Ctrl-C goes to its whole group.
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=variables, start_new_session=True
    )


def finish(path: Path, runs: Path, environment: Mapping[str, str] | None = None) -> str:
    driver = start(path, runs, environment)
    output = driver.communicate(timeout=600)[0]
    assert driver.returncode == 0, output
    return output


def processes_of(runs: Path) -> list[psutil.Process]:
    """Every process that inherited the mark of this run, whoever its parent is now."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("HPO_TEST_RUN") == str(runs):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def lineage(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> int:
    """The first attempt that this one goes back to."""
    origin: dict[str, Any] = trial.user_attrs.get("hpo:origin", {})
    return lineage(trials[origin["retry_of"]], trials) if "retry_of" in origin else trial.number


def check_books(runs: Path, budget: int, name: str = "toy") -> tuple[list[FrozenTrial], list[FrozenTrial]]:
    """Exactly `budget` trials that count, each configuration once, the same in Optuna and in the history files.
    Returns all trials, and those that count. For the objective `slow`."""
    trials = load_study(runs, name)[1].trials
    assert {trial.state.name for trial in trials} <= {"COMPLETE", "PRUNED", "FAIL"}
    finished = [trial for trial in trials if not trial.user_attrs["hpo:outcome"]["requeued"]]
    assert len(finished) == budget
    # Each once: every configuration that was ever started has exactly one attempt that counts.
    assert sorted(lineage(trial, trials) for trial in finished) == sorted({lineage(trial, trials) for trial in trials})
    histories = Histories(runs / name, trials)
    for trial in finished:
        steps = histories.read(trial)
        assert [step.step for step in steps] == list(range(len(steps)))
        assert sorted(trial.intermediate_values) == list(range(len(steps)))
        if trial.state.name == "COMPLETE":
            assert len(steps) == 10
            assert trial.value == -((trial.params["x"] - 0.3) ** 2)
    return trials, finished
