"""SIGKILL at random moments on a Ray cluster of two nodes: to the driver, to what trains, to a whole node."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import time

import psutil
import pytest
from books import GRID, TPE, TRIALS, WAITS, check_books, finish, processes_of, start
from lineages import check_lineages
from ray_cluster import RayCluster
from test_kills import POPULATION
from waiting import leftover, wait_until

MOMENTS = 20


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    cluster = RayCluster(tmp_path_factory.mktemp("ray"))
    yield cluster
    cluster.close()


@pytest.fixture
def two_nodes(cluster):
    while len(cluster.nodes) < 2:
        cluster.add()
    return cluster


def moments():
    """Return seeds of random moments, all for `make test-slow`: a Ray cluster takes a quarter of a minute to start."""
    return [pytest.param(k, marks=pytest.mark.slow) for k in range(MOMENTS)]


def study(study_yaml, cluster, moment, **engine):
    keys = GRID if moment % 2 else (TPE, WAITS)[moment // 2 % 2]
    engine = {"name": "ray", "address": cluster.address, **engine}
    return study_yaml("slow", engine=engine, budget={"trials": TRIALS}, constants={"seconds": 0.05}, **keys)


def promoted(moment):
    """The cause of what has gone on, where trials wait."""
    return {"promoted"} if moment % 4 == 2 else set()


def causes_of(trials):
    return {trial.user_attrs["hpo:outcome"]["cause"] for trial in trials}


def check(runs, moment):
    trials, finished = check_books(runs, TRIALS)
    if moment % 2:
        assert len({json.dumps(trial.params) for trial in finished}) == TRIALS
    assert not leftover(processes_of(runs))
    return trials


def training(cluster, driver, seconds=300):
    """Waits until something trains; returns the processes that do."""
    until = time.monotonic() + seconds
    while not (workers := cluster.workers()):
        assert driver.poll() is None, driver.communicate()[0]
        assert time.monotonic() < until
        time.sleep(0.02)
    return workers


@pytest.mark.parametrize("moment", moments())
def test_a_driver_killed_at_random_moments_ends_with_its_exact_budget(study_yaml, runs, two_nodes, moment):
    chance = random.Random(3000 + moment)
    path = study(study_yaml, two_nodes, moment)
    for _ in range(1 + moment % 2):
        driver = start(path, runs, two_nodes.environment)
        # From while Ray is being imported to after the last trial.
        time.sleep(chance.uniform(1.0, 12.0))
        driver.send_signal(signal.SIGKILL)
        driver.communicate()
    finish(path, runs, two_nodes.environment)
    trials = check(runs, moment)
    assert causes_of(trials) <= {"", "interrupted", "pruner"} | promoted(moment)


@pytest.mark.parametrize("moment", moments())
def test_actors_and_workers_killed_at_random_moments_cost_no_trial(study_yaml, runs, two_nodes, moment):
    chance = random.Random(4000 + moment)
    path = study(study_yaml, two_nodes, moment, retries=3)
    driver = start(path, runs, two_nodes.environment)
    for _ in range(2):
        workers = training(two_nodes, driver) if driver.poll() is None else []
        time.sleep(chance.uniform(0.0, 1.5))
        if alive := [process for process in workers if process.is_running()]:
            chance.choice(alive).kill()
    output = driver.communicate(timeout=300)[0]
    assert driver.returncode == 0, output
    check(runs, moment)


@pytest.mark.parametrize("moment", moments())
def test_a_node_killed_at_a_random_moment_costs_no_trial_and_no_retry(study_yaml, runs, two_nodes, moment):
    chance = random.Random(5000 + moment)
    path = study(study_yaml, two_nodes, moment, retries=0)
    driver = start(path, runs, two_nodes.environment)
    training(two_nodes, driver)
    time.sleep(chance.uniform(0.0, 2.0))
    two_nodes.kill(chance.choice(two_nodes.nodes))
    output = driver.communicate(timeout=300)[0]
    assert driver.returncode == 0, output
    trials = check(runs, moment)
    assert causes_of(trials) <= {"", "preempted", "pruner"} | promoted(moment)


def ray_processes() -> dict[int, str]:
    """The helpers of all Rays that were started here, with the folder of their session."""
    found = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            files = [file.path for file in process.open_files() if "/ray/session_" in file.path]
            if files and process.name().startswith("ray::"):
                found[process.pid] = files[0].partition("/ray/session_")[0]
    return found


@pytest.mark.slow
def test_the_next_run_ends_what_is_left_of_the_ray_of_a_killed_driver(study_yaml, runs):
    path = study_yaml("slow", engine={"name": "ray", "workers": 1}, budget={"trials": 1}, constants={"seconds": 0.1})
    before = set(ray_processes())
    driver = start(path, runs)
    wait_until(lambda: (runs / "toy/trials/0/history.jsonl").exists())
    own = {pid: psutil.Process(pid) for pid in set(ray_processes()) - before}
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    # They would go on for a minute or two.
    left = [process for process in own.values() if process.is_running()]
    assert left
    finish(path, runs)
    assert not [process for process in left if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(2))
def test_a_population_on_ray_keeps_its_exact_lineages_through_kills(study_yaml, runs, moment):
    chance = random.Random(8000 + moment)
    engine = {"name": "ray", "workers": 2, "cpu": 1, "retries": 3}
    path = study_yaml("segmented", **{**POPULATION, "constants": {"epochs": 8, "seconds": 0.1}}, engine=engine)
    driver = start(path, runs)
    wait_until(lambda: (runs / "toy/trials/1/history.jsonl").exists())
    if moment == 0:
        time.sleep(chance.uniform(0.0, 2.0))
        driver.send_signal(signal.SIGKILL)
        driver.communicate()
        finish(path, runs)
    else:
        time.sleep(chance.uniform(0.0, 1.0))
        workers = [one for one in processes_of(runs) if "hpo.worker.main" in " ".join(one.cmdline())]
        if workers:
            chance.choice(workers).kill()
        output = driver.communicate(timeout=300)[0]
        assert driver.returncode == 0, output
    check_lineages(runs, members=4, generations=4, interval=2)
