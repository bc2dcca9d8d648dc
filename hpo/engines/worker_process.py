"""A worker process, seen from the process that started it: the local engine's driver, or an actor of Ray.

A worker is a fresh interpreter (CUDA-safe) in a session of its own. It keeps its share of a GPU, its imports and its
cached data over many trials. It dies with the process that started it, through a pipe that it watches.
"""

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
from hpo.machine import start
from hpo.machine.files import plain_opener, read_plain
from hpo.machine.resources import kernel_kills
from hpo.trial import LOST, OUT_OF_MEMORY, TIMEOUT, Job, Outcome, Report, State, Stop
from hpo.worker.command import end_group, signal_name
from hpo.worker.execute import Share
from hpo.worker.main import COMMAND, OUTCOME, READY, REPORT

# Seconds between two looks whether a process that closed nothing is still there.
POLL_SECONDS = 0.5
# Seconds that a hung worker has to write its stacks; without growth for so long they are complete.
_STACKS_SECONDS = 10.0
_STACKS_COMPLETE_SECONDS = 0.2
# Seconds that an idle worker has to exit by itself.
_EXIT_SECONDS = 3.0
# Seconds that a worker has to clear up after a trial once the next one is there.
_READY_SECONDS = 10.0

# Far more bytes than the stacks of all threads of a worker.
_MOST_STACKS = 2**24


@dataclass(frozen=True)
class Limits:
    """Seconds that a trial may take in all, and without a report; None: without a limit."""

    trial: float | None = None
    report: float | None = None


class WorkerProcess:
    """One worker process and the job that it has.

    Attributes:
        process: the process itself.
        connection: its messages.
        job: the trial that it runs, or None.
        unusable: the next job needs a fresh worker.

    Args:
        cpu: its threads.
        gpus: ids of the GPUs that it sees.
        log: a file for what it prints between trials.
        limits: how long a trial may take.
        one_trial: it takes no further trial after its first.
        folder: its working directory; None: that of this process.
    """

    def __init__(
        self,
        cpu: int,
        gpus: Sequence[str],
        log: Path,
        limits: Limits,
        one_trial: bool = False,
        folder: Path | None = None,
    ) -> None:
        ours, theirs = socket.socketpair()
        lifeline, self._lifeline = os.pipe()
        self._cpu = cpu
        self._limits = limits
        with theirs, open(log, "ab", opener=plain_opener) as output:
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
        self._started = self._last_heard = time.monotonic()
        self._kernel_kills_before = 0
        self.unusable = False
        self._one_trial = one_trial
        self._clears_up_until = -1.0  # by the monotonic clock; negative while it does not

    @property
    def at_work(self) -> bool:
        """True while it has a trial, or clears up after one."""
        return self.job is not None or self._clears_up_until >= 0

    def ready(self) -> bool:
        """Return True if it can take a job; it may still clear up after its last trial, and is waited for."""
        if self._clears_up_until >= 0 and not self.unusable:
            seconds = max(0.0, self._clears_up_until - time.monotonic())
            try:
                # Also of one that takes no further trial: it ends what the last one left running.
                usable = self.connection.poll(seconds) and self.connection.recv() == (READY, True)
            except Exception:  # it has died, or somebody else writes into its pipe
                usable = False
            self.unusable = self._one_trial or not usable
        self._clears_up_until = -1.0
        return not self.unusable

    def start(self, job: Job, gpu_share: float) -> None:
        """Hand it a job.

        Args:
            job: the trial.
            gpu_share: the part of its GPU that the trial gets.
        """
        self.job = job
        self._started = self._last_heard = time.monotonic()
        self._groups = {self.process.pid}
        self._kernel_kills_before = kernel_kills()
        self._send((job, Share(self._cpu, gpu_share)))

    def answer(self, stop: Stop | None) -> None:
        """Answer a report: go on (None), or stop.

        The time that the trial waited for the answer does not count as the trial's: a database may have been away.
        """
        now = time.monotonic()
        self._started += now - self._last_heard
        self._last_heard = now
        self._send(stop)

    def next_message(self) -> Report | Outcome:
        """Wait for the next message of the trial."""
        while True:
            ready = wait([self.connection], timeout=max(0.0, min(self.overdue_in(), POLL_SECONDS)))
            if (message := self.poll(bool(ready))) is not None:
                return message

    def overdue_in(self) -> float:
        """Return the seconds until the trial, or clearing up after it, is overdue; infinite without a limit."""
        until = self._deadline()[0] if self.job is not None else self._clears_up_until
        return until - time.monotonic()

    def poll(self, ready: bool) -> Report | Outcome | None:
        """Return the next message of the trial, or the outcome of a worker that died or a trial that is overdue.

        After an outcome `job` is None, and there is no further message until it has cleared up (see `ready`).

        Args:
            ready: the connection has something to read.
        """
        if self.job is None:
            if ready or self.overdue_in() <= 0:
                self.ready()
            return None
        # A message may have come since, while the driver was busy.
        if ready or self.connection.poll():
            try:
                kind, *message = self.connection.recv()
            except (EOFError, OSError):
                return self._ended(self._lost())
            except Exception as error:  # the objective has written into the worker's pipe
                said = f"its worker sent what cannot be read ({type(error).__name__})"
                return self._ended(self._outcome("FAIL", LOST, said))
            self._last_heard = time.monotonic()
            if kind == REPORT:
                report: Report = message[0]
                self._last_heard = report.sent
                return report
            if kind == COMMAND:
                self._groups.add(message[1])
            elif kind == OUTCOME:
                outcome: Outcome = message[0]
                self.job = None
                self._clears_up_until = time.monotonic() + _READY_SECONDS
                return outcome
        elif self.process.poll() is not None:
            return self._ended(self._lost())
        deadline, sentence = self._deadline()
        return self._ended(self._overdue(sentence)) if time.monotonic() >= deadline else None

    def end_trial(self, cause: str, reason: str) -> Outcome:
        """End the trial from this side. Return its outcome; the worker is unusable."""
        return self._ended(self._outcome("FAIL", cause, reason))

    def ask_to_exit(self) -> None:
        """Close the pipe of an idle worker, which then exits."""
        self.connection.close()

    def kill(self) -> None:
        """End the worker, its children and its command. An idle worker may first exit by itself."""
        if self.job is None and not self.unusable:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_EXIT_SECONDS)
        for group in self._groups:
            end_group(group)
        self.process.wait()
        self.connection.close()
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1

    def _send(self, message: object) -> None:
        # The next `poll` notices a worker that is gone already, and returns the outcome of its trial.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send(message)

    def _ended(self, outcome: Outcome) -> Outcome:
        self.job = None
        self.unusable = True
        return outcome

    def _deadline(self) -> tuple[float, str]:
        """Return when the trial is overdue, and the sentence for it."""
        total, silent = self._limits.trial, self._limits.report
        deadlines = [(float("inf"), "")]
        if total is not None:
            deadlines.append((self._started + total, f"ran longer than trial_timeout = {total:g} s"))
        if silent is not None:
            deadlines.append((self._last_heard + silent, f"reported nothing for report_timeout = {silent:g} s"))
        return min(deadlines)

    def _lost(self) -> Outcome:
        code = self.process.wait() if self._exited() else None
        if code is None:
            how = "closed its pipe"
        elif code == -signal.SIGKILL and kernel_kills() > self._kernel_kills_before:
            reason = "out of memory: the kernel killed the worker process for want of the host's memory"
            return self._outcome("PRUNED", OUT_OF_MEMORY, reason)
        elif code < 0:
            how = f"was killed by {signal_name(-code)}"
        else:
            how = f"exited with code {code}"
        return self._outcome("FAIL", LOST, f"the worker process {self.process.pid} {how}")

    def _overdue(self, sentence: str) -> Outcome:
        """Return the outcome of an overdue trial, with its Python stacks as the error."""
        assert self.job is not None
        crash = self.job.directory / layout.CRASH
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGUSR1)
        # The stacks come one frame at a time: they are all there once the file has stopped growing.
        until, size, grown = time.monotonic() + _STACKS_SECONDS, 0, time.monotonic()
        while time.monotonic() < until and not (size and time.monotonic() - grown > _STACKS_COMPLETE_SECONDS):
            time.sleep(0.02)
            now = len(_content(crash))
            if now > size:
                size, grown = now, time.monotonic()
        return self._outcome("FAIL", TIMEOUT, f"the trial {sentence}")

    def _outcome(self, state: State, cause: str, reason: str) -> Outcome:
        assert self.job is not None
        error = _content(self.job.directory / layout.CRASH)
        seconds = time.monotonic() - self._started
        return Outcome(self.job.number, state, cause=cause, reason=reason, error=error, seconds=seconds)

    def _exited(self) -> bool:
        # The pipe ends a moment before the process can be reaped.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(1.0)
        return self.process.poll() is not None


def _content(crash: Path) -> str:
    """Return the stacks in a crash file; nothing if there are none. The worker may remove it at any moment."""
    try:
        return read_plain(crash, _MOST_STACKS).decode(errors="replace")
    except OSError:
        return ""
