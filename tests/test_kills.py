"""SIGKILL at random moments, to the driver and to workers: nothing finished is lost or doubled."""

from __future__ import annotations

import json
import random
import signal
import time

import pytest
from books import GRID, TPE, TRIALS, WAITS, check_books, finish, processes_of, start
from lineages import check_lineages
from mlflow_reading import check_all_is_there, in_file, parent_of
from waiting import leftover, wait_until

from benchmarks.scale_study import write_trials
from hpo import layout
from hpo.storage.load_study import load_study

MOMENTS = 20
STORAGES = [None, "sqlite:///study.db"]


# Each a seed; those beyond the first belong to `make test-slow`.
moments = pytest.mark.parametrize("moment", [0, *(pytest.param(k, marks=pytest.mark.slow) for k in range(1, MOMENTS))])


@moments
def test_a_driver_killed_at_random_moments_ends_with_its_exact_budget(study_yaml, runs, moment):
    chance = random.Random(moment)
    keys = (TPE, GRID, WAITS)[moment % 3]
    path = study_yaml(
        "slow", engine={"workers": 2}, budget={"trials": TRIALS}, storage=STORAGES[moment // 3 % 2], **keys
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
    assert not leftover(processes_of(runs))


@moments
def test_workers_killed_at_random_moments_cost_no_trial(study_yaml, runs, moment):
    chance = random.Random(1000 + moment)
    path = study_yaml(
        "slow", engine={"workers": 2, "retries": 3}, budget={"trials": TRIALS}, **(WAITS, TPE)[moment % 2]
    )
    driver = start(path, runs)
    for _ in range(2):
        time.sleep(chance.uniform(0.3, 1.2))
        workers = [process for process in processes_of(runs) if process.pid != driver.pid]
        if workers:
            chance.choice(workers).kill()
    output = driver.communicate(timeout=300)[0]
    assert driver.returncode == 0, output
    check_books(runs, TRIALS)
    assert not leftover(processes_of(runs))


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(3))
def test_a_queue_that_ends_every_process_of_a_job_at_once_costs_no_attempt(study_yaml, runs, moment):
    path = study_yaml(
        "slow", engine={"workers": 2, "retries": 0}, budget={"trials": TRIALS}, constants={"seconds": 0.1}, **TPE
    )
    driver = start(path, runs)
    first = runs / "toy" / "trials" / "0" / layout.HISTORY
    while not first.exists():
        time.sleep(0.02)
    time.sleep(random.Random(moment).uniform(0.0, 1.0))
    for process in processes_of(runs):
        process.terminate()
    output = driver.communicate(timeout=300)[0]
    assert driver.returncode == 130, output
    assert not leftover(processes_of(runs))
    finish(path, runs)
    trials, finished = check_books(runs, TRIALS)
    again = [trial for trial in trials if trial not in finished]
    assert {trial.user_attrs["hpo:outcome"]["cause"] for trial in again} == {"interrupted"}


TRACKED_MOMENTS = 12


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(TRACKED_MOMENTS))
def test_after_kills_mlflow_has_every_trial_once_and_all_of_it(study_yaml, runs, moment, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    chance = random.Random(2000 + moment)
    path = study_yaml(
        "slow",
        engine={"workers": 2},
        budget={"trials": TRIALS},
        constants={"seconds": 0.1},
        mlflow=True,
        **(TPE, WAITS)[moment % 2],
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
    assert not leftover(processes_of(runs))


POPULATION = {
    "search_space": {"rate": {"low": 0.01, "high": 1.0}},
    "sampler": {"name": "pbt", "population_size": 4, "interval": 2},
    "pruner": None,
    "constants": {"epochs": 8, "seconds": 0.03},
    "budget": {"trials": 16},
    "checkpoints": {"keep_best": "all"},
}


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(8))
def test_a_population_keeps_its_exact_lineages_through_kills_of_its_driver(study_yaml, runs, moment):
    chance = random.Random(6000 + moment)
    path = study_yaml("segmented", **POPULATION, engine={"workers": 2}, storage=STORAGES[moment % 2])
    for _ in range(1 + moment % 3):
        driver = start(path, runs)
        time.sleep(chance.uniform(0.8, 3.0))
        driver.send_signal(signal.SIGKILL)
        driver.communicate()
    finish(path, runs)
    check_lineages(runs, members=4, generations=4, interval=2)
    assert not leftover(processes_of(runs))


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(8))
def test_a_population_keeps_its_exact_lineages_through_kills_of_workers(study_yaml, runs, moment):
    chance = random.Random(7000 + moment)
    path = study_yaml("segmented", **POPULATION, engine={"workers": 2, "retries": 3})
    driver = start(path, runs)
    for _ in range(2):
        time.sleep(chance.uniform(0.5, 1.5))
        workers = [process for process in processes_of(runs) if process.pid != driver.pid]
        if workers:
            chance.choice(workers).kill()
    output = driver.communicate(timeout=300)[0]
    assert driver.returncode == 0, output
    check_lineages(runs, members=4, generations=4, interval=2)
    assert not leftover(processes_of(runs))


LARGE, WRITTEN, KILLS = 20_000, 19_800, 10


def reports_of_slow(params):
    final = -((params["x"] - 0.3) ** 2)
    return {step: {"score": final - 1.0 / (step + 1)} for step in range(10)}, final


@pytest.mark.slow
def test_a_study_of_twenty_thousand_trials_survives_ten_kills_of_its_driver(study_yaml, runs):
    """While it opens the study and its snapshot, and while trials run."""
    path = study_yaml("slow", engine={"workers": 2}, budget={"trials": LARGE}, sampler=None, pruner=None)
    write_trials(path, runs, WRITTEN, reports_of_slow)
    chance, folder, known = random.Random(22), layout.trials_directory(runs / "toy"), {}
    for moment in range(KILLS):
        if moment == 4:
            (runs / f"journal.log{layout.SNAPSHOT}").unlink(missing_ok=True)
        there = len(load_study(runs, "toy")[1].get_trials(deepcopy=False))
        driver = start(path, runs)
        if moment % 2:
            wait_until(lambda first=there: (folder / str(first)).exists())
        time.sleep(chance.uniform(0.2, 4.0))
        assert driver.poll() is None
        driver.send_signal(signal.SIGKILL)
        driver.communicate()
        ended = {
            trial.number: (trial.state.name, trial.values, trial.params, trial.user_attrs["hpo:outcome"])
            for trial in load_study(runs, "toy")[1].get_trials(deepcopy=False)
            if trial.state.is_finished()
        }
        assert {number: ended[number] for number in known} == known
        known = ended
    assert len(known) > WRITTEN
    finish(path, runs)
    check_books(runs, LARGE)
    assert not leftover(processes_of(runs))
