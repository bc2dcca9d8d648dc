"""Reports of a trial: from its process and its threads, while it runs."""

from __future__ import annotations

import os
import pickle
import threading

import pytest

from hpo.errors import ReportRefused
from hpo.trial import Job, ObjectiveRef, Stop, Trial
from hpo.worker import current_trial
from hpo.worker.reports import Reports


@pytest.fixture
def job(tmp_path):
    return Job(3, {"x": 0.5}, 1, ObjectiveRef("toys:smooth"), {}, tmp_path, ("score",))


def test_threads_report_one_at_a_time(job):
    inside, seen = [], []

    def deliver(number, step, metrics):
        inside.append(step)
        assert len(inside) == 1
        seen.append((number, step, metrics["loss"]))
        inside.remove(step)

    trial = Trial(job, Reports(3, deliver).send)
    threads = [
        threading.Thread(target=lambda k=k: [trial.report(100 * k + i, loss=float(i)) for i in range(100)])
        for k in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == [(3, 100 * k + i, float(i)) for k in range(4) for i in range(100)]


def test_a_report_after_the_end_is_refused(job):
    seen = []
    reports = Reports(3, lambda *report: seen.append(report))
    trial = Trial(job, reports.send)
    trial.report(1, loss=0.5)
    reports.end()
    with pytest.raises(ReportRefused, match="trial 3 has ended, and step 2 is reported"):
        trial.report(2, loss=0.4)
    assert seen == [(3, 1, {"loss": 0.5})]


@pytest.mark.parametrize("asked", ["before", "after"])
def test_a_signal_handler_that_reports_while_the_lock_is_taken_waits_for_nobody(job, asked):
    seen = []
    reports = Reports(3, lambda *report: seen.append(report))

    class Lock:
        """As if a signal came just before, or just after, the lock is got."""

        taken = False

        def __enter__(self):
            assert not self.taken, "the thread would wait for itself"
            if asked == "after":
                self.taken = True
            if not seen:
                reports.send(2, {"loss": 0.25})
            self.taken = True

        def __exit__(self, *_):
            self.taken = False

    reports._lock = Lock()
    reports.send(1, {"loss": 0.5})
    assert seen == [(3, 1, {"loss": 0.5}), (3, 2, {"loss": 0.25})]


def test_a_forked_process_does_not_report(job):
    seen = []
    reports = Reports(3, lambda *report: seen.append(report))
    read, write = os.pipe()
    with reports._lock:  # as if another thread reported while the process forks
        child = os.fork()
        if child == 0:
            try:
                reports.send(1, {"loss": 0.5})
            except ReportRefused as error:
                os.write(write, str(error).encode())
            os._exit(0)
    os.waitpid(child, 0)
    assert b"trial 3 runs in process" in os.read(read, 1000)
    assert seen == []


def test_a_copy_in_another_process_has_all_but_the_reports(job):
    trial = pickle.loads(pickle.dumps(Trial(job, Reports(3, lambda *_: None).send)))
    assert (trial.number, trial.params["x"], trial.directory) == (3, 0.5, job.directory)
    with pytest.raises(ReportRefused, match="has a copy of it"):
        trial.report(1, loss=0.5)


def test_the_driver_is_told_of_a_stop_once_and_the_objective_at_its_report(job):
    reports = Reports(3, lambda *_: Stop("enough"))
    assert not reports.stopped
    assert reports.send(1, {"loss": 0.5}) == Stop("enough")
    assert reports.stopped


def test_between_trials_there_is_no_current_trial(job):
    try:
        current_trial.set_none()
        with pytest.raises(ReportRefused, match="inside the objective's function, not at the import"):
            current_trial.current_trial()
        trial = Trial(job, Reports(3, lambda *_: None).send)
        current_trial.set_current(trial)
        assert current_trial.current_trial() is trial
    finally:
        current_trial.set_current(None)
    assert current_trial.current_trial().number == 0
    current_trial.set_current(None)
