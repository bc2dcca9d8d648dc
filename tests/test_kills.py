"""SIGKILL at random moments, to the driver and to workers: nothing finished is lost or doubled."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time

import psutil
import pytest
from mlflow_reading import check_all_is_there, in_file, parent_of

from hpo import history, layout
from hpo.storage import load_study

TRIALS = 10
MOMENTS = 20
FAST_MOMENTS = 5
GRID = {"search_space": {"x": {"choices": [round(0.1 * k, 1) for k in range(TRIALS)]}}, "sampler": {"name": "grid"}}
TPE = {"sampler": {"name": "tpe"}, "pruner": {"name": "successive_halving", "min_resource": 2, "reduction_factor": 3}}
STORAGES = [None, "sqlite:///study.db"]


def moments():
    """Each a seed; those beyond the first few belong to `make test-slow`."""
    return [pytest.param(k, marks=[] if k < FAST_MOMENTS else pytest.mark.slow) for k in range(MOMENTS)]


def start(path, runs):
    mark = {"HPO_TEST_RUN": str(runs)}
    command = [sys.executable, "-m", "hpo", "run", str(path), "--runs", str(runs)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **mark}
    )


def finish(path, runs):
    driver = start(path, runs)
    output = driver.communicate(timeout=240)[0]
    assert driver.returncode == 0, output
    return output


def processes_of(runs):
    """Every process that inherited the mark of this run, whoever its parent is now."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("HPO_TEST_RUN") == str(runs):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def lineage(trial, trials):
    """The first attempt that this one goes back to."""
    origin = trial.user_attrs.get("hpo:origin", {})
    return lineage(trials[origin["retry_of"]], trials) if "retry_of" in origin else trial.number


def check_books(runs, budget):
    trials = load_study(runs, "toy")[1].trials
    assert {trial.state.name for trial in trials} <= {"COMPLETE", "PRUNED", "FAIL"}
    finished = [trial for trial in trials if not trial.user_attrs["hpo:outcome"]["requeued"]]
    assert len(finished) == budget
    # Each once: every configuration that was ever started has exactly one attempt that counts.
    assert sorted(lineage(trial, trials) for trial in finished) == sorted({lineage(trial, trials) for trial in trials})
    for trial in finished:
        steps = history.read(layout.trial_directory(runs / "toy", trial.number) / layout.HISTORY)
        assert [step.step for step in steps] == list(range(len(steps)))
        assert sorted(trial.intermediate_values) == list(range(len(steps)))
        if trial.state.name == "COMPLETE":
            assert len(steps) == 10
            assert trial.value == -((trial.params["x"] - 0.3) ** 2)
    return trials, finished


@pytest.mark.parametrize("moment", moments())
def test_a_driver_killed_at_random_moments_ends_with_its_exact_budget(study_yaml, runs, moment):
    chance = random.Random(moment)
    keys = GRID if moment % 2 else TPE
    path = study_yaml(
        "slow", engine={"workers": 2}, budget={"trials": TRIALS}, storage=STORAGES[moment // 2 % 2], **keys
    )
    for _ in range(1 + moment % 3):
        driver = start(path, runs)
        # From before the first trial (the start takes about half a second) to after the last.
        time.sleep(chance.uniform(0.3, 2.5))
        driver.send_signal(signal.SIGKILL)
        driver.communicate()
    finish(path, runs)
    _, finished = check_books(runs, TRIALS)
    assert all(trial.state.name != "FAIL" for trial in finished)
    if keys is GRID:
        cells = [json.dumps(trial.params) for trial in finished]
        assert len(set(cells)) == TRIALS
    assert not psutil.wait_procs(processes_of(runs), timeout=10)[1]


@pytest.mark.parametrize("moment", moments())
def test_workers_killed_at_random_moments_cost_no_trial(study_yaml, runs, moment):
    chance = random.Random(1000 + moment)
    path = study_yaml("slow", engine={"workers": 2, "retries": 3}, budget={"trials": TRIALS}, **TPE)
    driver = start(path, runs)
    for _ in range(2):
        time.sleep(chance.uniform(0.3, 1.2))
        workers = [process for process in processes_of(runs) if process.pid != driver.pid]
        if workers:
            chance.choice(workers).kill()
    output = driver.communicate(timeout=120)[0]
    assert driver.returncode == 0, output
    check_books(runs, TRIALS)
    assert not psutil.wait_procs(processes_of(runs), timeout=10)[1]


TRACKED_MOMENTS = 12


@pytest.mark.parametrize(
    "moment", [pytest.param(k, marks=[] if k < 1 else pytest.mark.slow) for k in range(TRACKED_MOMENTS)]
)
def test_after_kills_mlflow_has_every_trial_once_and_all_of_it(study_yaml, runs, moment, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    chance = random.Random(2000 + moment)
    path = study_yaml(
        "slow", engine={"workers": 2}, budget={"trials": TRIALS}, constants={"seconds": 0.1}, mlflow=True, **TPE
    )
    for _ in range(1 + moment % 2):
        driver = start(path, runs)
        # The writer takes seconds to start: before it writes, while it makes its store, between its runs.
        time.sleep(chance.uniform(1.0, 10.0))
        driver.send_signal(signal.SIGKILL)
        driver.communicate()
    finish(path, runs)
    check_books(runs, TRIALS)
    found = in_file(runs / "mlflow.db")
    check_all_is_there(runs, "toy", found)
    assert parent_of(found).status == "FINISHED"
    assert not psutil.wait_procs(processes_of(runs), timeout=20)[1]
