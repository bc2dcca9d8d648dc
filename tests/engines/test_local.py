"""What only worker processes can show: deaths, hangs, shares of the machine, leftovers."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import psutil
import pytest
import torch
from waiting import leftover, wait_until

from hpo import layout
from hpo.analysis.notices import notices_of
from hpo.analysis.records import read_study
from hpo.engines import local
from hpo.engines.gpu_sharing import Sharing
from hpo.engines.worker_process import Limits, WorkerProcess
from hpo.errors import StudyLocked
from hpo.machine.resources import Slot, kernel_kills
from hpo.oracle import oracle
from hpo.runner import run
from hpo.storage import history
from hpo.storage.driver_lock import driver_of
from hpo.storage.load_study import load_study
from hpo.trackers.base import Tracker
from hpo.trial import Job, ObjectiveRef, Outcome, Report
from hpo.worker.main import OUTCOME, READY, REPORT


def trials_of(runs):
    return load_study(runs, "toy")[1].trials


def outcome(trial):
    return trial.user_attrs["hpo:outcome"]


def file_of(runs, number, name):
    return (layout.trial_directory(runs / "toy", number) / name).read_text()


class Notes(Tracker):
    def __init__(self):
        self.said = []

    def message(self, text):
        self.said.append(text)


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


def test_a_gpu_that_torch_does_not_see_is_said_once(make_spec, runs, monkeypatch):
    if torch.cuda.is_available():
        pytest.skip("torch sees a GPU here")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    notes = Notes()
    engine = {"workers": 1, "gpu": 1}
    result = run(make_spec("uses_torch", budget={"trials": 3}, engine=engine), runs, [notes])
    assert result.progress.complete == 3
    first, closing = [text for text in notes.said if "had a GPU" in text]
    assert first.startswith(f"Trial 0 had a GPU, and its torch ({torch.__version__}")
    assert closing.endswith("(3 trials)")
    assert [notice.trials for notice in notices_of(read_study(runs, "toy"))] == [(0, 1, 2)]


def test_of_a_gpu_that_children_may_have_used_nothing_is_said(make_spec, runs, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    run(make_spec("child_computes", budget={"trials": 2}, engine={"workers": 1, "gpu": 1}), runs)
    assert [trial.state.name for trial in trials_of(runs)] == ["COMPLETE"] * 2
    assert 1 not in [number for notice in notices_of(read_study(runs, "toy")) for number in notice.trials]


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


@pytest.mark.parametrize("fault", ["raises", pytest.param("hangs", marks=pytest.mark.slow), "dies"])
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


def test_an_environment_that_trials_have_in_common_is_recorded_once(make_spec, runs, monkeypatch):
    kept, real = [], oracle.keep
    monkeypatch.setattr(oracle, "keep", lambda folder, record: kept.append(record) or real(folder, record))
    run(make_spec("smooth", budget={"trials": 4}, engine={"workers": 2}), runs)
    marks = {outcome(trial)["environment"] for trial in trials_of(runs)}
    assert len(kept) == len(marks) == 1
    assert len(list((runs / "toy" / layout.PROVENANCE).glob(f"{marks.pop()}.json"))) == 1


# --- many workers on one driver


class _Worker(WorkerProcess):
    """A worker of which the test says what it sends."""

    made: ClassVar[list[_Worker]] = []

    def __init__(self, cpu, gpus, log, limits, one_trial=False, folder=None):
        ours, self.other = multiprocessing.Pipe()
        self.connection = ours
        self.process = SimpleNamespace(pid=0, poll=lambda: None, wait=lambda timeout=None: 0)
        self.job, self.unusable = None, False
        self._cpu, self._limits, self._one_trial = cpu, limits, one_trial
        self._clears_up_until = -1.0
        self.polled = self.jobs = 0
        self.made.append(self)

    def start(self, job, gpu_share):
        super().start(job, gpu_share)
        self.jobs += 1
        self.on_start("start", job.number)

    def send(self, *message):
        self.other.send(message)

    def poll(self, ready):
        self.polled += 1
        return super().poll(ready)

    def kill(self):
        self.connection.close()

    on_start = None


class _Oracle:
    """An Oracle with so many jobs that writes down what it is asked."""

    def __init__(self, jobs, on_call=lambda what, number: None):
        self.calls, self._left, self._jobs, self._on_call = [], jobs, jobs, on_call
        self.control = SimpleNamespace(trials_to_kill=dict)
        _Worker.on_start = staticmethod(self._called)

    def _called(self, what, number):
        self.calls.append((what, number))
        self._on_call(what, number)

    @property
    def no_more_jobs(self):
        return not self._left

    def ask(self):
        if not self._left:
            return None
        self._left -= 1
        number = self._jobs - self._left - 1
        self._called("ask", number)
        return Job(number, {}, 0, ObjectiveRef(), {}, Path("nowhere"), ("score",))

    def report(self, number, step, metrics, usage):
        self._called("report", number)

    def tell(self, outcome, gpu=None):
        self._called("tell", outcome.number)


@pytest.fixture
def engine(tmp_path, monkeypatch):
    """Make a local engine with so many workers of the test's."""
    _Worker.made.clear()
    monkeypatch.setattr(local, "WorkerProcess", _Worker)
    return lambda workers: local.LocalEngine([Slot(1)] * workers, tmp_path, Limits(), Sharing())


def worker_of(number):
    return next(worker for worker in _Worker.made if worker.job and worker.job.number == number)


def report(number, step=0):
    worker_of(number).send(REPORT, Report(number, step, {"score": 0.5}, time.monotonic()))


def end(number):
    """Send the outcome of a trial, and return its worker, which still clears up."""
    worker = worker_of(number)
    worker.send(OUTCOME, Outcome(number, "COMPLETE", {"score": 0.5}))
    return worker


def test_a_report_waits_for_one_ask_at_most(engine):
    """However many places are free: between two asks, who has reported is answered."""

    def on_call(what, number):
        if what == "ask" and number:
            report(number - 1)  # the trial before reports while this one is asked for
        elif what == "report" and number < 4:
            end(number)
            if number == 3:
                end(4)

    asked = _Oracle(5, on_call)
    engine(5).run(asked)
    for number in range(3):
        before, after = asked.calls.index(("ask", number + 1)), asked.calls.index(("ask", number + 2))
        assert ("report", number) in asked.calls[before:after]
    assert sorted(asked.calls)[-5:] == [("tell", number) for number in range(5)]


def test_a_chatty_worker_gets_one_answer_a_turn_and_silent_ones_are_not_looked_at(engine, monkeypatch):
    monkeypatch.setattr(local, "POLL_SECONDS", 1e6)
    looks = []

    def on_call(what, number):
        if what == "ask" and number == 3:
            for step in range(50):  # more than a trial ever sends before it is answered
                report(0, step)
            report(1)
        elif what == "report" and number == 0:
            looks.append([worker_of(silent).polled for silent in (2, 3)])
            if len(looks) == 50:
                for trial in range(4):
                    end(trial)

    asked = _Oracle(4, on_call)
    engine(4).run(asked)
    assert asked.calls[: asked.calls.index(("report", 1))].count(("report", 0)) == 1
    assert looks == [looks[0]] * 50
    assert sorted(asked.calls[-4:]) == [("tell", number) for number in range(4)]


def test_a_worker_that_clears_up_for_long_keeps_nobody_waiting(engine):
    """Its next job waits for it; the others are served meanwhile."""
    slow = []

    def on_call(what, number):
        if what == "ask" and number == 1:
            slow.append(end(0))
        elif what == "ask" and number == 2:  # for its place
            report(1)
        elif what == "report":
            assert slow[0].job is None
            slow[0].send(READY, True)
            end(1)
        elif what == "start" and number == 2:
            end(2)

    asked = _Oracle(3, on_call)
    engine(2).run(asked)
    assert [worker.jobs for worker in _Worker.made] == [2, 1]
    assert [call for call in asked.calls if call[0] != "start"] == [
        ("ask", 0), ("ask", 1), ("tell", 0), ("ask", 2), ("report", 1), ("tell", 1), ("tell", 2),
    ]  # fmt: skip
