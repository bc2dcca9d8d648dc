"""Persistent worker processes on this machine.

A worker is a fresh interpreter (CUDA-safe) in a session of its own, keeps its share of a GPU, its
imports and its cached data over many trials, and dies with the driver through a pipe it watches."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path

from hpo import layout
from hpo.command import end_group, signal_name
from hpo.oracle import Oracle
from hpo.resources import Slot
from hpo.trial import INTERRUPTED, LOST, TIMEOUT, Job, Outcome
from hpo.worker import COMMAND, OUTCOME, REPORT, Share

_POLL_SECONDS = 0.5
# How long a hung worker has to write its stacks, and an idle one to leave by itself.
_STACK_SECONDS = 2.0
_LEAVE_SECONDS = 3.0


class LocalEngine:
    """`slots`: one worker each. `trial_timeout`, `report_timeout`: seconds a trial may take in all,
    and without a report (None: for ever). `logs`: a folder for what workers print between trials."""

    def __init__(
        self,
        slots: Sequence[Slot],
        logs: Path,
        trial_timeout: float | None = None,
        report_timeout: float | None = None,
    ) -> None:
        self._slots = tuple(slots)
        self._logs = logs
        self._trial_timeout = trial_timeout
        self._report_timeout = report_timeout
        self._halted = False

    def halt(self) -> None:
        self._halted = True

    def run(self, oracle: Oracle) -> None:
        self._logs.mkdir(parents=True, exist_ok=True)
        workers: list[_Worker | None] = [None] * len(self._slots)
        try:
            while True:
                for place, slot in enumerate(self._slots):
                    self._feed(oracle, workers, place, slot)
                busy = [worker for worker in workers if worker is not None and worker.job is not None]
                if not busy:
                    return
                ready = wait([worker.connection for worker in busy], timeout=self._patience(busy))
                for place, worker in enumerate(workers):
                    if worker is None or worker.job is None:
                        continue
                    ended = self._listen(oracle, worker, worker.connection in ready)
                    if ended is not None:
                        # Its process is of no more use: a fresh one takes the place with the next job.
                        worker.kill()
                        workers[place] = None
                        oracle.tell(ended)
        finally:
            for worker in workers:
                if worker is not None:
                    worker.leave()
            for worker in workers:
                if worker is not None:
                    worker.kill(_LEAVE_SECONDS if worker.job is None else 0)

    def _feed(self, oracle: Oracle, workers: list[_Worker | None], place: int, slot: Slot) -> None:
        worker = workers[place]
        if self._halted or (worker is not None and worker.job is not None):
            return
        job = oracle.ask()
        if job is None:
            return
        if worker is None:
            worker = workers[place] = _Worker(slot, self._logs / f"{place}.log")
        worker.start(job)

    def _patience(self, busy: Sequence[_Worker]) -> float:
        return max(0.0, min(_POLL_SECONDS, *(self._deadline(worker)[0] - time.monotonic() for worker in busy)))

    def _deadline(self, worker: _Worker) -> tuple[float, str]:
        """When the worker's trial is overdue, and the sentence for it."""
        total, silent = self._trial_timeout, self._report_timeout
        deadlines = [(float("inf"), "")]
        if total is not None:
            deadlines.append((worker.started + total, f"ran longer than trial_timeout = {total:g} s"))
        if silent is not None:
            deadlines.append((worker.heard + silent, f"reported nothing for report_timeout = {silent:g} s"))
        return min(deadlines)

    def _listen(self, oracle: Oracle, worker: _Worker, ready: bool) -> Outcome | None:
        """Serve one worker. Returns the outcome that the driver had to give to its trial itself."""
        if self._halted:
            return worker.outcome_without_it(INTERRUPTED, "the study was stopped at once")
        if ready:
            try:
                worker.answer(oracle)
            except (EOFError, OSError):
                return worker.lost()
        elif worker.process.poll() is not None:
            return worker.lost()
        if worker.job is None:
            return None
        deadline, sentence = self._deadline(worker)
        return worker.overdue(sentence) if time.monotonic() >= deadline else None


class _Worker:
    """One worker process and the job it has."""

    def __init__(self, slot: Slot, log: Path) -> None:
        ours, theirs = socket.socketpair()
        lifeline, self._lifeline = os.pipe()
        environment = {
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            # Before the libraries load: most read these once.
            "OMP_NUM_THREADS": str(slot.cpu),
            "MKL_NUM_THREADS": str(slot.cpu),
            "OPENBLAS_NUM_THREADS": str(slot.cpu),
        }
        # A worker without a GPU share must not take one by accident.
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(slot.gpus)
        with theirs, log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hpo.worker", str(theirs.fileno()), str(lifeline)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(theirs.fileno(), lifeline),
                start_new_session=True,
            )
        os.close(lifeline)
        self.connection = Connection(ours.detach())
        self._send(Share(slot.cpu, slot.gpu_share))
        self._groups: set[int] = {self.process.pid}
        self.job: Job | None = None
        self.started = self.heard = time.monotonic()

    def start(self, job: Job) -> None:
        self.job = job
        self.started = self.heard = time.monotonic()
        self._groups = {self.process.pid}
        self._send(job)

    def _send(self, message: object) -> None:
        # A worker that is gone already is noticed, and its trial told, when it is next listened to.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send(message)

    def answer(self, oracle: Oracle) -> None:
        """Receive one message and act on it. Raises EOFError or OSError when the worker is gone."""
        kind, *message = self.connection.recv()
        self.heard = time.monotonic()
        if kind == REPORT:
            self._send(oracle.report(*message))
        elif kind == COMMAND:
            self._groups.add(message[1])
        elif kind == OUTCOME:
            self.job = None
            oracle.tell(message[0])

    def lost(self) -> Outcome:
        code = self.process.wait() if self._gone() else None
        if code is None:
            how = "closed its pipe"
        elif code < 0:
            how = f"was killed by {signal_name(-code)}"
        else:
            how = f"exited with code {code}"
        return self.outcome_without_it(LOST, f"the worker process {self.process.pid} {how}")

    def overdue(self, sentence: str) -> Outcome:
        """Where it hangs goes into crash.txt, and from there into the outcome's error."""
        assert self.job is not None
        crash = self.job.directory / layout.CRASH
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGUSR1)
        until = time.monotonic() + _STACK_SECONDS
        while time.monotonic() < until and not (crash.exists() and crash.stat().st_size):
            time.sleep(0.02)
        return self.outcome_without_it(TIMEOUT, f"the trial {sentence}")

    def outcome_without_it(self, cause: str, reason: str) -> Outcome:
        assert self.job is not None
        crash = self.job.directory / layout.CRASH
        error = crash.read_text(encoding="utf-8", errors="replace") if crash.exists() else ""
        return Outcome(
            self.job.number, "FAIL", cause=cause, reason=reason, error=error, seconds=time.monotonic() - self.started
        )

    def leave(self) -> None:
        """Ask an idle worker to end by closing its pipe."""
        self.connection.close()

    def kill(self, after: float = 0.0) -> None:
        """End the worker, its children and its command, giving it `after` seconds to go by itself."""
        if after:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(after)
        for group in self._groups:
            end_group(group)
        self.process.wait()
        self.connection.close()
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1

    def _gone(self) -> bool:
        # The pipe ends a moment before the process can be reaped.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(1.0)
        return self.process.poll() is not None
