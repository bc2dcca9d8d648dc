"""The doctor and studies that run, or ran until they were killed."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time

import pytest
from books import TPE, TRIALS, WAITS, check_books, finish, processes_of, start
from mlflow_reading import check_all_is_there, in_file, parent_of
from waiting import leftover

from hpo import layout
from hpo.storage import history
from hpo.storage.load_study import load_study
from hpo.storage.trial_attributes import waits

STORAGES = [None, "sqlite:///study.db"]


def doctor(runs, *arguments):
    """Exit code and findings of `hpo doctor`, as anyone would call it."""
    command = [sys.executable, "-m", "hpo", "doctor", "--runs", str(runs), "--json", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert ended.stderr == "", ended.stderr
    return ended.returncode, json.loads(ended.stdout)["findings"]


def check_left_books(runs):
    """After the doctor and before the next driver: Optuna, the histories and MLflow say the same."""
    trials = load_study(runs, "toy")[1].trials
    states = {trial.state.name for trial in trials if not waits(trial)}
    assert states <= {"COMPLETE", "PRUNED", "FAIL", "WAITING"}
    retried = [trial.user_attrs["hpo:origin"]["retry_of"] for trial in trials if "retry_of" in origin_of(trial)]
    ended = [trial for trial in trials if trial.state.is_finished()]
    lost = [trial.number for trial in ended if trial.user_attrs["hpo:outcome"]["requeued"]]
    assert sorted(retried) == lost
    for trial in trials:
        steps = history.read(layout.trial_directory(runs / "toy", trial.number) / layout.HISTORY)
        if trial.state.is_finished():
            assert {step.step for step in steps} >= set(trial.intermediate_values)
        if trial.state.name in ("COMPLETE", "PRUNED"):
            assert {step.step: step.metrics["score"] for step in steps} == trial.intermediate_values
    if ended:
        found = in_file(runs / "mlflow.db")
        check_all_is_there(runs, "toy", found)
        assert parent_of(found).status in ("KILLED", "FINISHED")


def origin_of(trial):
    return trial.user_attrs.get("hpo:origin", {})


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(20))
def test_after_random_kills_the_three_books_agree(study_yaml, runs, moment, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    chance = random.Random(8000 + moment)
    path = study_yaml(
        "slow", engine={"workers": 2}, budget={"trials": TRIALS}, constants={"seconds": 0.1}, mlflow=True,
        storage=STORAGES[moment % 2], **(TPE, WAITS)[moment // 2 % 2],
    )  # fmt: skip
    for _ in range(1 + moment % 3):
        driver = start(path, runs)
        time.sleep(chance.uniform(1.0, 9.0))
        # Sometimes all of it at once, as by a queue or for want of memory.
        for process in processes_of(runs) if chance.random() < 0.5 else [driver]:
            process.send_signal(signal.SIGKILL)
        driver.communicate()
    if (runs / "toy" / layout.SPEC).exists():  # it came that far
        code, first = doctor(runs, "--fix")
        assert code == 0, first
        assert doctor(runs) == (0, []), first
        check_left_books(runs)
    finish(path, runs)
    check_books(runs, TRIALS)
    check_all_is_there(runs, "toy", in_file(runs / "mlflow.db"))
    assert doctor(runs) == (0, [])
    assert not leftover(processes_of(runs))


@pytest.mark.slow
@pytest.mark.parametrize(("storage", "mlflow"), [(STORAGES[0], False), (STORAGES[1], True)])
def test_a_study_that_runs_well_is_found_well_and_not_touched(study_yaml, runs, storage, mlflow, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    path = study_yaml(
        "slow", engine={"workers": 2}, budget={"trials": 14}, constants={"seconds": 0.05}, mlflow=mlflow,
        storage=storage, **TPE,
    )  # fmt: skip
    driver = start(path, runs)
    while not (runs / "toy" / layout.SPEC).exists():
        time.sleep(0.05)
    looks = 0
    while driver.poll() is None:
        assert doctor(runs, *(["--fix"] if looks % 2 else [])) == (0, [])
        looks += 1
    assert driver.returncode == 0, driver.communicate()[0]
    driver.communicate()
    assert looks >= 2
    check_books(runs, 14)
