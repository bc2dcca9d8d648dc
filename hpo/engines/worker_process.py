"""A worker process, seen from the side that keeps it: the local engine's driver, or an actor of Ray.

A worker is a fresh interpreter (CUDA-safe) in a session of its own, keeps its share of a GPU, its
imports and its cached data over many trials, and dies with its keeper through a pipe it watches."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path

from hpo import layout
from hpo.machine.resources import kernel_kills
from hpo.trial import LOST, OUT_OF_MEMORY, TIMEOUT, Job, Outcome, Report, State, Stop
from hpo.worker import start
from hpo.worker.command import end_group, signal_name
from hpo.worker.execute import Share
from hpo.worker.main import COMMAND, OUTCOME, REPORT

# How often a keeper looks whether a process that closed nothing is still there.
POLL_SECONDS = 0.5
# How long a hung worker has to write its stacks, and an idle one to leave by itself.
_STACK_SECONDS = 2.0
_QUIET_SECONDS = 0.2
_LEAVE_SECONDS = 3.0


@dataclass(frozen=True)
class Limits:
    """Seconds a trial may take in all, and without a report (None: for ever)."""

    trial: float | None = None
    report: float | None = None


class WorkerProcess:
    """One worker process and the job it has.

    `cpu`: its threads. `gpus`: the ids it sees. `log`: a file for what it prints between trials. `folder`: its
    working directory (None: this process's)."""

    def __init__(
        self,
        cpu: int,
        gpus: Sequence[str],
        log: Path,
        limits: Limits,
        folder: Path | None = None,
    ) -> None:
        ours, theirs = socket.socketpair()
        lifeline, self._lifeline = os.pipe()
        self._cpu = cpu
        self._limits = limits
        with theirs, log.open("ab") as output:
            self.process = subprocess.Popen(
                start.command("hpo.worker.main", theirs.fileno(), lifeline),
                env={
                    **os.environ,
                    "PYTHONUNBUFFERED": "1",
                    # Before the libraries load: most read these once.
                    "OMP_NUM_THREADS": str(cpu),
                    "MKL_NUM_THREADS": str(cpu),
                    "OPENBLAS_NUM_THREADS": str(cpu),
                    # A worker without a GPU share must not take one by accident.
                    "CUDA_VISIBLE_DEVICES": ",".join(gpus),
                },
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(theirs.fileno(), lifeline),
                start_new_session=True,
            )
        os.close(lifeline)
        self.connection = Connection(ours.detach())
        self._groups: set[int] = {self.process.pid}
        self.job: Job | None = None
        self._started = self._heard = time.monotonic()
        self._kills = 0
        # The worker is of no more use: the next job needs a fresh one.
        self.spent = False

    def start(self, job: Job, gpu_share: float) -> None:
        """Hand it a job; `gpu_share`: the part of its GPU that is this trial's."""
        self.job = job
        self._started = self._heard = time.monotonic()
        self._groups = {self.process.pid}
        self._kills = kernel_kills()
        self._send((job, Share(self._cpu, gpu_share)))

    def answer(self, stop: Stop | None) -> None:
        """To a report: go on (None), or stop. The time that the trial waited for it (a database was away, say) is not
        the trial's."""
        now = time.monotonic()
        self._started += now - self._heard
        self._heard = now
        self._send(stop)

    def next(self) -> Report | Outcome:
        """Waits for what the trial says next."""
        while True:
            ready = wait([self.connection], timeout=max(0.0, min(self.overdue_in(), POLL_SECONDS)))
            if (said := self.listen(bool(ready))) is not None:
                return said

    def overdue_in(self) -> float:
        """Seconds until the trial is overdue; infinite without a limit."""
        return self._deadline()[0] - time.monotonic()

    def listen(self, ready: bool) -> Report | Outcome | None:
        """What the trial says, if its connection is `ready`, or the outcome that has to be given to it: of a
        worker that died or a trial that is overdue. `job` is None after an outcome."""
        assert self.job is not None
        # It may have spoken since, while the driver was at something else.
        if ready or self.connection.poll():
            try:
                kind, *message = self.connection.recv()
            except (EOFError, OSError):
                return self._ended(self._lost())
            self._heard = time.monotonic()
            if kind == REPORT:
                report: Report = message[0]
                self._heard = report.sent
                return report
            if kind == COMMAND:
                self._groups.add(message[1])
            elif kind == OUTCOME:
                outcome: Outcome = message[0]
                self.job = None
                return outcome
        elif self.process.poll() is not None:
            return self._ended(self._lost())
        deadline, sentence = self._deadline()
        return self._ended(self._overdue(sentence)) if time.monotonic() >= deadline else None

    def give_up(self, cause: str, reason: str) -> Outcome:
        """End the trial from this side: the outcome it gets, and a worker that is spent."""
        return self._ended(self._without_it("FAIL", cause, reason))

    def leave(self) -> None:
        """Ask an idle worker to end by closing its pipe."""
        self.connection.close()

    def kill(self) -> None:
        """End the worker, its children and its command; an idle one may first go by itself."""
        if self.job is None and not self.spent:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_LEAVE_SECONDS)
        for group in self._groups:
            end_group(group)
        self.process.wait()
        self.connection.close()
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1

    def _send(self, message: object) -> None:
        # A worker that is gone already is noticed, and its trial told, when it is next listened to.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send(message)

    def _ended(self, outcome: Outcome) -> Outcome:
        self.job = None
        self.spent = True
        return outcome

    def _deadline(self) -> tuple[float, str]:
        """When the trial is overdue, and the sentence for it."""
        total, silent = self._limits.trial, self._limits.report
        deadlines = [(float("inf"), "")]
        if total is not None:
            deadlines.append((self._started + total, f"ran longer than trial_timeout = {total:g} s"))
        if silent is not None:
            deadlines.append((self._heard + silent, f"reported nothing for report_timeout = {silent:g} s"))
        return min(deadlines)

    def _lost(self) -> Outcome:
        code = self.process.wait() if self._gone() else None
        if code is None:
            how = "closed its pipe"
        elif code == -signal.SIGKILL and kernel_kills() > self._kills:
            reason = "out of memory: the kernel killed the worker process for want of the host's memory"
            return self._without_it("PRUNED", OUT_OF_MEMORY, reason)
        elif code < 0:
            how = f"was killed by {signal_name(-code)}"
        else:
            how = f"exited with code {code}"
        return self._without_it("FAIL", LOST, f"the worker process {self.process.pid} {how}")

    def _overdue(self, sentence: str) -> Outcome:
        """Where it hangs goes into crash.txt, and from there into the outcome's error."""
        assert self.job is not None
        crash = self.job.directory / layout.CRASH
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGUSR1)
        # The stacks come one frame at a time: they are all there once the file has stopped growing.
        until, size, grown = time.monotonic() + _STACK_SECONDS, 0, time.monotonic()
        while time.monotonic() < until and not (size and time.monotonic() - grown > _QUIET_SECONDS):
            time.sleep(0.02)
            now = crash.stat().st_size if crash.exists() else 0
            if now > size:
                size, grown = now, time.monotonic()
        return self._without_it("FAIL", TIMEOUT, f"the trial {sentence}")

    def _without_it(self, state: State, cause: str, reason: str) -> Outcome:
        assert self.job is not None
        crash = self.job.directory / layout.CRASH
        error = crash.read_text(encoding="utf-8", errors="replace") if crash.exists() else ""
        seconds = time.monotonic() - self._started
        return Outcome(self.job.number, state, cause=cause, reason=reason, error=error, seconds=seconds)

    def _gone(self) -> bool:
        # The pipe ends a moment before the process can be reaped.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(1.0)
        return self.process.poll() is not None
