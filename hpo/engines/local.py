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

_AT_ONCE = "the study was stopped at once"


class LocalEngine:
    """`slots`: one worker each. `logs`: a folder for what workers print between trials. `sharing`: who fits on a
    GPU beside whom."""

    def __init__(
        self,
        slots: Sequence[Slot],
        logs: Path,
        limits: Limits,
        sharing: Sharing,
    ) -> None:
        self._slots = tuple(slots)
        self._logs = logs
        self._limits = limits
        self._sharing = sharing
        self._halted = False

    def halt(self) -> None:
        self._halted = True

    def run(self, oracle: Oracle) -> None:
        self._logs.mkdir(parents=True, exist_ok=True)
        workers: list[WorkerProcess | None] = [None] * len(self._slots)
        waiting: Job | None = None  # asked for, and fits nowhere yet
        try:
            while True:
                waiting = self._feed(oracle, workers, waiting)
                busy = [worker for worker in workers if worker is not None and worker.job is not None]
                if not busy:
                    if self._halted or oracle.over:
                        return
                    _dismiss(workers)
                    time.sleep(POLL_SECONDS)
                    continue
                patience = min(POLL_SECONDS, *(worker.overdue_in() for worker in busy))
                ready = wait([worker.connection for worker in busy], timeout=max(0.0, patience))
                doomed = oracle.doomed()
                for place, worker in enumerate(workers):
                    if worker is None or worker.job is None:
                        continue
                    said = self._listen(worker, worker.connection in ready, doomed)
                    if isinstance(said, Report):
                        self._sharing.reported(said)
                        worker.answer(oracle.report(said.number, said.step, said.metrics, said.usage))
                    elif said is not None:
                        if worker.spent:
                            # A fresh one takes its place with the next job.
                            worker.kill()
                            workers[place] = None
                        oracle.tell(*self._sharing.ended(said))
        finally:
            _dismiss(workers)

    def _feed(self, oracle: Oracle, workers: list[WorkerProcess | None], waiting: Job | None) -> Job | None:
        """Starts jobs while there are free places and jobs for them; returns the job that has to wait."""
        while free := [place for place, worker in enumerate(workers) if worker is None or worker.job is None]:
            if waiting is not None and (end := self._end_of(waiting, oracle)):
                oracle.tell(Outcome(waiting.number, "FAIL", cause=end[0], reason=end[1]))
                waiting = None
            if self._halted:
                return None
            job = waiting if waiting is not None else oracle.ask()
            if job is None:
                return None
            fitting = next(self._fitting(job, free), None)
            if fitting is None:
                return job
            waiting = None
            place, share = fitting
            self._start(workers, place, job, share)
        return waiting

    def _end_of(self, waiting: Job, oracle: Oracle) -> tuple[str, str] | None:
        """Cause and reason, if a job that was not begun is not to be begun."""
        if self._halted:
            return INTERRUPTED, _AT_ONCE
        reason = oracle.doomed().get(waiting.number)
        return None if reason is None else (KILLED, reason)

    def _fitting(self, job: Job, free: Sequence[int]) -> Iterator[tuple[int, float]]:
        for place in free:
            slot = self._slots[place]
            share = self._sharing.fits(job, ",".join(slot.gpus), slot.gpu_share)
            if share is not None:
                yield place, share

    def _start(self, workers: list[WorkerProcess | None], place: int, job: Job, share: float) -> None:
        slot, worker = self._slots[place], workers[place]
        if worker is None:
            log = self._logs / f"{place}.log"
            worker = WorkerProcess(slot.cpu, slot.gpus, log, self._limits)
            workers[place] = worker
        self._sharing.started(job, ",".join(slot.gpus), share)
        worker.start(job, share)

    def _listen(self, worker: WorkerProcess, ready: bool, doomed: Mapping[int, str]) -> Report | Outcome | None:
        if self._halted:
            return worker.give_up(INTERRUPTED, _AT_ONCE)
        if worker.job is not None and worker.job.number in doomed:
            return worker.give_up(KILLED, doomed[worker.job.number])
        return worker.listen(ready)


def _dismiss(workers: list[WorkerProcess | None]) -> None:
    """Ends all workers."""
    left = [worker for worker in workers if worker is not None]
    for worker in left:
        worker.leave()
    for worker in left:
        worker.kill()
    workers[:] = [None] * len(workers)
