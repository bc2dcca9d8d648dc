"""Persistent worker processes on this machine."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.connection import wait
from pathlib import Path

from hpo.engines.gpu_sharing import Sharing
from hpo.engines.worker_process import POLL_SECONDS, Limits, WorkerProcess
from hpo.machine.resources import Slot
from hpo.oracle.oracle import Oracle
from hpo.trial import INTERRUPTED, KILLED, Job, Outcome, Report

_STOPPED_AT_ONCE = "the study was stopped at once"


class LocalEngine:
    """Engine with one worker process for each place.

    Args:
        slots: the places.
        logs: a folder for what workers print between trials.
        limits: how long a trial may take.
        sharing: decides which trials share a GPU.
        fresh_process: each trial gets a process of its own.
    """

    def __init__(
        self,
        slots: Sequence[Slot],
        logs: Path,
        limits: Limits,
        sharing: Sharing,
        fresh_process: bool = False,
    ) -> None:
        self._fresh_process = fresh_process
        self._slots = tuple(slots)
        self._logs = logs
        self._limits = limits
        self._sharing = sharing
        self._halted = False
        self._looked = 0.0  # when every worker was looked at last, by the monotonic clock

    def halt(self) -> None:
        """End the running trials in the next turn of the loop."""
        self._halted = True

    def run(self, oracle: Oracle) -> None:
        """Run trials until no more jobs come and nothing runs."""
        self._logs.mkdir(parents=True, exist_ok=True)
        workers: list[WorkerProcess | None] = [None] * len(self._slots)
        waiting: Job | None = None  # asked for, and fits nowhere yet
        try:
            while True:
                # One at a time: reports are not to wait while many are asked for.
                more, waiting = self._start_job(oracle, workers, waiting)
                if waiting is not None or any(worker is not None and worker.job is not None for worker in workers):
                    self._attend(oracle, workers, 0.0 if more else POLL_SECONDS)
                elif self._halted or oracle.no_more_jobs:
                    return
                else:
                    _end_workers(workers)  # the study is paused: nothing of a GPU is held
                    time.sleep(POLL_SECONDS)
        finally:
            _end_workers(workers)

    def _attend(self, oracle: Oracle, workers: list[WorkerProcess | None], seconds: float) -> None:
        """Pass on one message of each worker that has sent any, in at most so many seconds."""
        at_work = [(place, worker) for place, worker in enumerate(workers) if worker is not None and worker.at_work]
        timeout = max(0.0, min([seconds, *(worker.overdue_in() for _, worker in at_work)]))
        ready = set(wait([worker.connection for _, worker in at_work], timeout))
        to_kill = oracle.control.trials_to_kill()
        # Those who say nothing are looked at less often: they may have died, or be overdue.
        look_at_all = bool(to_kill) or self._halted or (seconds > 0 and not ready)
        if look_at_all or time.monotonic() >= self._looked + POLL_SECONDS:
            look_at_all, self._looked = True, time.monotonic()
        for place, worker in at_work:
            if look_at_all or worker.connection in ready:
                message = self._message(worker, worker.connection in ready, to_kill)
                if isinstance(message, Report):
                    self._sharing.reported(message)
                    worker.answer(oracle.report(message.number, message.step, message.metrics, message.usage))
                elif message is not None:
                    if worker.unusable:
                        # A fresh one takes its place with the next job.
                        worker.kill()
                        workers[place] = None
                    oracle.tell(*self._sharing.ended(message))

    def _start_job(
        self, oracle: Oracle, workers: list[WorkerProcess | None], waiting: Job | None
    ) -> tuple[bool, Job | None]:
        """Start a job if a place is free and there is one for it.

        Returns:
            True if one was started and more places are free; and the job that has to wait.
        """
        free = [place for place, worker in enumerate(workers) if worker is None or worker.job is None]
        if not free:
            return False, waiting
        if waiting is not None and (withdrawn := self._withdrawn(waiting, oracle)) is not None:
            oracle.tell(withdrawn)
            waiting = None
        if self._halted:
            return False, None
        job = waiting if waiting is not None else oracle.ask()
        if job is None:
            return False, None
        fitting = next(self._fitting(job, free, workers), None)
        if fitting is None:
            return False, job
        self._start(workers, *fitting, job)
        return len(free) > 1, None

    def _withdrawn(self, waiting: Job, oracle: Oracle) -> Outcome | None:
        """Return the outcome of a waiting job that is not to start any more."""
        if self._halted:
            return Outcome(waiting.number, "FAIL", cause=INTERRUPTED, reason=_STOPPED_AT_ONCE)
        reason = oracle.control.trials_to_kill().get(waiting.number)
        return None if reason is None else Outcome(waiting.number, "FAIL", cause=KILLED, reason=reason)

    def _fitting(
        self, job: Job, free: Sequence[int], workers: Sequence[WorkerProcess | None]
    ) -> Iterator[tuple[int, float]]:
        """Yield the free places where a job fits, each with the share of a GPU that it gets there."""
        for place in free:
            slot, worker = self._slots[place], workers[place]
            if worker is not None and worker.at_work:  # it clears up after its last trial
                continue
            share = self._sharing.fits(job, ",".join(slot.gpus), slot.gpu_share)
            if share is not None:
                yield place, share

    def _start(self, workers: list[WorkerProcess | None], place: int, share: float, job: Job) -> None:
        slot, worker = self._slots[place], workers[place]
        if worker is not None and not worker.ready():
            worker.kill()
            worker = None
        if worker is None:
            log = self._logs / f"{place}.log"
            worker = WorkerProcess(slot.cpu, slot.gpus, log, self._limits, self._fresh_process)
            workers[place] = worker
        self._sharing.started(job, ",".join(slot.gpus), share)
        worker.start(job, share)

    def _message(self, worker: WorkerProcess, ready: bool, to_kill: Mapping[int, str]) -> Report | Outcome | None:
        if worker.job is not None and self._halted:
            return worker.end_trial(INTERRUPTED, _STOPPED_AT_ONCE)
        if worker.job is not None and worker.job.number in to_kill:
            return worker.end_trial(KILLED, to_kill[worker.job.number])
        return worker.poll(ready)


def _end_workers(workers: list[WorkerProcess | None]) -> None:
    alive = [worker for worker in workers if worker is not None]
    # All are asked before the first is waited for.
    for worker in alive:
        worker.ask_to_exit()
    for worker in alive:
        worker.kill()
    workers[:] = [None] * len(workers)
