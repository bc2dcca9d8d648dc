"""What only worker processes can show: deaths, hangs, shares of the machine, leftovers."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

import psutil
import pytest
from waiting import leftover, wait_until

from hpo import layout
from hpo.errors import StudyLocked
from hpo.machine.resources import kernel_kills
from hpo.runner import run
from hpo.storage import history
from hpo.storage.driver_lock import driver_of
from hpo.storage.load_study import load_study
from hpo.trackers.base import Tracker


def trials_of(runs):
    return load_study(runs, "toy")[1].trials


def outcome(trial):
    return trial.user_attrs["hpo:outcome"]


def file_of(runs, number, name):
    return (layout.trial_directory(runs / "toy", number) / name).read_text()


def workers_of(pid):
    found = []
    for child in psutil.Process(pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
            if "hpo.worker.main" in child.cmdline():
                found.append(child)
    return found


def test_a_worker_keeps_its_process_over_trials(make_spec, runs):
    run(make_spec("process", budget={"trials": 5}), runs)
    assert len({outcome(trial)["metrics"]["pid"] for trial in trials_of(runs)}) == 1
    assert not workers_of(os.getpid())


def test_workers_train_side_by_side(make_spec, runs):
    result = run(make_spec("process", budget={"trials": 30}, engine={"workers": 2}), runs)
    assert result.progress.complete == 30
    assert len({outcome(trial)["metrics"]["pid"] for trial in trials_of(runs)}) == 2


def test_threads_and_gpus_are_set_before_the_libraries_load(make_spec, runs):
    run(make_spec("environment", engine={"workers": 1, "cpu": 1}), runs)
    assert file_of(runs, 0, "environment.txt") == "1 []"


def test_gpus_left_unused_are_mentioned(make_spec, runs, monkeypatch):
    class Notes(Tracker):
        def __init__(self):
            self.said = []

        def message(self, text):
            self.said.append(text)

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    notes = Notes()
    run(make_spec("environment", budget={"trials": 1}), runs, [notes])
    assert notes.said == ["engine.gpu is 0: trials do not use this machine's 2 GPUs (--set engine.gpu=1)"]
    assert file_of(runs, 0, "environment.txt").endswith("[]")


def test_a_share_of_a_gpu_is_the_one_the_worker_sees(make_spec, runs, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-aa,GPU-bb")
    engine = {"workers": 2, "cpu": 1, "gpu": 0.5}
    run(make_spec("environment", budget={"trials": 8}, engine=engine), runs)
    seen = {file_of(runs, trial.number, "environment.txt") for trial in trials_of(runs)}
    assert seen == {"1 [GPU-aa]", "1 [GPU-bb]"}


def test_what_a_trial_prints_is_kept_with_it(make_spec, runs):
    run(make_spec("prints", budget={"trials": 2}), runs)
    for number in range(2):
        assert sorted(file_of(runs, number, layout.OUTPUT).split("\n")) == [
            "",
            "from a child",
            "to stderr",
            "to stdout",
        ]


def test_a_worker_killed_by_the_kernel_for_want_of_memory_is_no_lost_one(make_spec, runs, monkeypatch):
    """What the kernel counts cannot be made to rise here without filling the machine's memory."""
    counts = iter([3, 4])
    monkeypatch.setattr("hpo.engines.worker_process.kernel_kills", lambda: next(counts))
    result = run(make_spec("dies_once", budget={"trials": 1}), runs)
    assert (result.progress.pruned, result.progress.requeued) == (1, 0)
    (trial,) = trials_of(runs)
    assert outcome(trial)["cause"] == "out_of_memory"
    assert "the kernel killed the worker process for want of the host's memory" in outcome(trial)["reason"]


def test_the_kernels_count_of_such_kills(tmp_path):
    path = tmp_path / "vmstat"
    path.write_text("pgfault 1201\noom_kill 7\noom_kill_other 9\n")
    assert kernel_kills(path) == 7
    assert kernel_kills(tmp_path / "none") == 0
    path.write_text("pgfault 1201\n")
    assert kernel_kills(path) == 0


def drive(path, runs, *arguments):
    command = [sys.executable, "-m", "hpo", "run", str(path), "--runs", str(runs), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.parametrize("kind", ["function", "command"])
def test_everything_dies_with_a_killed_driver(study_yaml, runs, kind):
    keys = (
        {"command": [sys.executable, "-c", "import time, hpo; hpo.report(0, score=0.0); time.sleep(600)"]}
        if kind == "command"
        else {}
    )
    driver = drive(study_yaml("hangs", **keys), runs)
    try:
        reported = layout.trial_directory(runs / "toy", 0) / layout.HISTORY
        wait_until(lambda: history.read(reported))
        family = psutil.Process(driver.pid).children(recursive=True)
        assert len(family) == (2 if kind == "command" else 1)
    finally:
        driver.kill()
        driver.communicate()
    assert not leftover(family)


def test_a_second_driver_is_refused_with_host_pid_and_time(study_yaml, runs, make_spec):
    path = study_yaml("hangs")
    driver = drive(path, runs)
    try:
        wait_until(lambda: (runs / "toy" / layout.LOCK).exists() and driver_of(runs / "toy"))
        with pytest.raises(StudyLocked, match=rf"driven by process {driver.pid} on host \S+ since 20\d\d-"):
            run(make_spec("hangs"), runs)
    finally:
        driver.kill()
        driver.communicate()
    assert driver_of(runs / "toy") is None


def test_a_fresh_process_for_each_trial_if_wanted(make_spec, runs):
    run(make_spec("process", budget={"trials": 4}, engine={"workers": 1, "fresh_process": True}), runs)
    assert len({outcome(trial)["metrics"]["pid"] for trial in trials_of(runs)}) == 4
    assert not workers_of(os.getpid())


@pytest.mark.parametrize("fault", ["raises", "hangs", "dies"])
def test_a_clean_up_that_fails_costs_no_result(make_spec, runs, fault, monkeypatch):
    monkeypatch.setattr("hpo.engines.worker_process._READY_SECONDS", 1.0)
    spec = make_spec("unclean", budget={"trials": 3}, constants={"fault": fault})
    assert run(spec, runs).progress.complete == 3
    pids = [outcome(trial)["metrics"]["pid"] for trial in trials_of(runs)]
    assert len(set(pids)) == 3
    said = (runs / "toy" / "workers" / "0.log").read_text()
    assert ("the next trial gets a new process" in said) == (fault == "raises")


def test_a_forked_child_that_returns_from_the_objective_tells_nothing(make_spec, runs):
    assert run(make_spec("forking", budget={"trials": 3}), runs).progress.complete == 3
    assert [trial.value for trial in trials_of(runs)] == [trial.params["x"] for trial in trials_of(runs)]


@pytest.mark.parametrize("kind", ["KeyboardInterrupt", "GeneratorExit", "CancelledError", "SystemExit", "Own"])
def test_whatever_is_raised_is_a_failure_of_the_trial(make_spec, runs, kind):
    spec = make_spec("raising_anything", budget={"trials": 2, "failures": 9}, constants={"kind": kind})
    assert run(spec, runs).progress.failed == 2
    assert all(outcome(trial)["cause"] == "exception" for trial in trials_of(runs))


@pytest.mark.parametrize(("stray", "lost"), [("bytes", 1), ("message", 0)])
def test_what_an_objective_writes_into_the_pipe_of_its_worker_costs_one_attempt(make_spec, runs, stray, lost):
    spec = make_spec("meddling", budget={"trials": 3, "failures": 9}, constants={"stray": stray})
    progress = run(spec, runs).progress
    assert (progress.complete, progress.requeued) == (3, lost)
