"""What only Ray can show: where it listens, what it places where, and that nothing of it is left."""

from __future__ import annotations

import os
import signal
import time

import psutil
import pytest
from books import check_books, finish, processes_of, start
from ray_cluster import RayCluster, collecting_files_of_ray
from waiting import PATIENCE, leftover, wait_until

from hpo import layout
from hpo.control import client as steer
from hpo.engines.ray_tune import TuneBridge
from hpo.errors import ResourceError
from hpo.runner import run
from hpo.storage import history
from hpo.storage.load_study import load_study
from hpo.trackers.base import Tracker


@pytest.fixture(autouse=True)
def _files_of_ray():
    with collecting_files_of_ray():
        yield


def trials_of(runs):
    return load_study(runs, "toy")[1].trials


def environments(runs):
    return {
        (layout.trial_directory(runs / "toy", trial.number) / "environment.txt").read_text()
        for trial in trials_of(runs)
    }


def wait_for_reports(runs, driver):
    reported = layout.trial_directory(runs / "toy", 0) / layout.HISTORY
    wait_until(lambda: driver.poll() is not None or history.read(reported))
    assert driver.poll() is None, driver.communicate()[0]


def listening(processes):
    found = set()
    for process in processes:
        try:
            found |= {c.laddr.ip for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN}
        except psutil.Error:
            continue
    return found


@pytest.mark.slow
def test_ray_starts_by_itself_on_loopback_and_leaves_nothing_behind(study_yaml, runs):
    path = study_yaml("slow", engine={"name": "ray", "workers": 2}, budget={"trials": 4}, constants={"seconds": 0.2})
    # Of its own, though there may be a cluster here.
    driver = start(path, runs, {"RAY_ADDRESS": "127.0.0.1:1"})
    wait_for_reports(runs, driver)
    addresses = listening(processes_of(runs))
    assert addresses
    assert all(address.removeprefix("::ffff:") == "127.0.0.1" for address in addresses), addresses
    output = driver.communicate(timeout=PATIENCE)[0]
    assert driver.returncode == 0, output
    assert "Traceback" not in output
    assert "WARNING" not in output
    check_books(runs, 4)
    assert not leftover(processes_of(runs))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_stops_the_trials_not_ray(study_yaml, runs, number):
    """As a terminal sends Ctrl-C, and a queue the end of a job: to every process of the group."""
    path = study_yaml("slow", engine={"name": "ray", "workers": 2}, budget={"trials": 6}, constants={"seconds": 0.3})
    driver = start(path, runs)
    wait_for_reports(runs, driver)
    os.killpg(driver.pid, number)
    output = driver.communicate(timeout=PATIENCE)[0]
    assert driver.returncode == 130, output
    assert "Traceback" not in output
    lost = [trial for trial in trials_of(runs) if trial.state.name == "FAIL"]
    assert {trial.user_attrs["hpo:outcome"]["cause"] for trial in lost} == {"interrupted"}
    finish(path, runs)
    check_books(runs, 6)
    assert not leftover(processes_of(runs))


@pytest.mark.slow
@pytest.mark.parametrize("who", ["driver", "raylet"])
def test_nothing_is_left_of_a_killed_driver_or_ray(study_yaml, runs, who):
    path = study_yaml("slow", engine={"name": "ray", "workers": 2}, budget={"trials": 6}, constants={"seconds": 0.3})
    driver = start(path, runs)
    wait_for_reports(runs, driver)
    if who == "driver":
        driver.kill()
    else:
        (raylet,) = [process for process in processes_of(runs) if process.name() == "raylet"]
        raylet.kill()
    output = driver.communicate(timeout=PATIENCE)[0]
    assert driver.returncode != 0
    assert "Traceback" not in output
    assert not leftover(processes_of(runs))
    finish(path, runs)
    check_books(runs, 6)


@pytest.mark.slow
def test_a_trial_that_waits_for_a_node_can_be_killed(study_yaml, runs, tmp_path):
    cluster = RayCluster(tmp_path)
    try:
        cluster.add(1)
        gates = tmp_path / "gates"
        gates.mkdir()
        engine = {"name": "ray", "address": cluster.address, "workers": 2, "cpu": 1}
        path = study_yaml("slow", engine=engine, budget={"trials": 3}, constants={"gates": str(gates)})
        driver = start(path, runs, cluster.environment)
        wait_for_reports(runs, driver)
        assert [trial.state.name for trial in trials_of(runs)] == ["RUNNING", "RUNNING"]
        assert steer.kill(runs / "toy", [1]).ok
        wait_until(lambda: trials_of(runs)[1].state.name != "RUNNING")
        assert trials_of(runs)[0].state.name == "RUNNING"
        for number in range(3):
            (gates / str(number)).touch()
        output = driver.communicate(timeout=PATIENCE)[0]
        assert driver.returncode == 0, output
        _, finished = check_books(runs, 3)
        assert [trial.number for trial in finished if trial.state.name == "FAIL"] == [1]
        assert trials_of(runs)[1].user_attrs["hpo:outcome"]["cause"] == "killed"
    finally:
        cluster.close()


@pytest.mark.slow
def test_shares_of_gpus_and_other_resources(study_yaml, runs, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    engine = {"name": "ray", "workers": 4, "cpu": 1, "gpu": 0.5, "resources": {"ssd": 1.0}}
    finish(study_yaml("environment", budget={"trials": 8}, engine=engine, constants={"seconds": 0.3}), runs)
    assert environments(runs) == {"1 [0]", "1 [1]"}


@pytest.mark.slow
def test_a_trial_of_several_gpus_sees_them_all(study_yaml, runs, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    engine = {"name": "ray", "cpu": 1, "gpu": 2}
    finish(study_yaml("environment", budget={"trials": 2}, engine=engine), runs)
    assert environments(runs) == {"1 [0,1]"}


def test_workers_without_gpus_see_none(make_spec, runs, ray_here, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    run(make_spec("environment", budget={"trials": 1}, engine={"name": "ray", "workers": 1, "cpu": 1}), runs)
    assert environments(runs) == {"1 []"}


@pytest.mark.slow
def test_a_worker_keeps_its_process_over_trials(make_spec, runs, ray_here):
    run(make_spec("process", budget={"trials": 5}, engine={"name": "ray", "workers": 1}), runs)
    assert len({trial.user_attrs["hpo:outcome"]["metrics"]["pid"] for trial in trials_of(runs)}) == 1


def test_no_cluster_at_the_address_is_said_at_once(make_spec, runs):
    spec = make_spec(engine={"name": "ray", "address": "127.0.0.1:9"})
    began = time.monotonic()
    with pytest.raises(ResourceError, match=r"the Ray cluster at 127.0.0.1:9 cannot be reached: .*Expected auto on"):
        run(spec, runs)
    assert time.monotonic() - began < PATIENCE


@pytest.mark.slow
def test_trials_in_a_folder_that_every_node_sees(make_spec, runs, ray_here, tmp_path):
    shared = tmp_path / "shared"
    spec = make_spec("slow", engine={"name": "ray", "workers": 1, "checkpoint_dir": str(shared)})

    class Interrupt(Tracker):
        reports = 0

        def reported(self, number, step, metrics):
            self.reports += 1
            if self.reports == 15:
                os.kill(os.getpid(), signal.SIGINT)

    assert run(spec, runs, [Interrupt()]).interrupted
    run(spec, runs)
    trials, _ = check_books(runs, 4)
    folders = list(shared.glob("toy-*/trials/*"))
    assert len(folders) == len(trials)
    # The retry went on from the checkpoint in the shared folder.
    (retry,) = [trial for trial in trials if trial.user_attrs["hpo:job"]["attempt"] == 2]
    trained = (layout.trial_directory(runs / "toy", retry.number) / "trained.txt").read_text().split("\n")
    assert [line.split()[1] for line in trained if line] == [str(step) for step in range(10)]
    assert (next(shared.iterdir()) / "workers").is_dir()


def test_a_study_that_has_trials_keeps_their_place(make_spec, runs, tmp_path):
    run(make_spec(), runs)
    spec = make_spec(engine={"name": "ray", "workers": 1, "checkpoint_dir": str(tmp_path / "shared")})
    with pytest.raises(ResourceError, match=r"checkpoint_dir is .*shared, but the trials of study 'toy' are in"):
        run(spec, runs)


def test_a_node_that_does_not_see_the_trials_is_named(make_spec, runs, ray_here, tmp_path):
    class TakeAway(Tracker):
        """After the driver has made the folder, as if it were on the driver's disk alone."""

        def trial_started(self, job):
            job.directory.parent.rename(tmp_path / "elsewhere")

        def trial_finished(self, job, outcome, progress):
            (tmp_path / "elsewhere").rename(job.directory.parent)

    spec = make_spec(engine={"name": "ray", "workers": 1, "retries": 0}, budget={"trials": 1})
    run(spec, runs, [TakeAway()])
    (trial,) = trials_of(runs)
    assert trial.user_attrs["hpo:outcome"]["cause"] == "lost"
    assert "set engine.checkpoint_dir to a folder that every node" in trial.user_attrs["hpo:outcome"]["reason"]


class KillsAtItsThirdReport(Tracker):
    """Kills trial 0 while it waits for the answer to its third report."""

    def __init__(self, runs):
        self.runs = runs

    def reported(self, number, step, metrics):
        if (number, step) == (0, 2):
            assert steer.kill(self.runs / "toy", [0]).ok


@pytest.mark.slow
def test_the_actor_of_a_killed_trial_gets_no_other_trial(make_spec, runs, monkeypatch):
    tick = TuneBridge.tick

    def late(bridge, stop):
        if any(attempt.has_reported for attempt in bridge._attempts.values()):
            time.sleep(0.3)  # a busy machine: the last message of a trial that is killed has already come
        tick(bridge, stop)

    monkeypatch.setattr(TuneBridge, "tick", late)
    spec = make_spec("slow", engine={"name": "ray", "workers": 1, "retries": 3}, budget={"trials": 3, "failures": 1})
    result = run(spec, runs, [KillsAtItsThirdReport(runs)])
    assert (result.progress.failed, result.progress.complete, result.progress.requeued) == (1, 2, 0)
    check_books(runs, 3)
