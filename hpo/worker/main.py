"""Worker process that an engine keeps over many trials: jobs in, reports and outcomes out.

It holds no database handle and decides nothing: it trains, reports, and obeys the answer.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from types import FrameType

from hpo import layout
from hpo.machine import memory
from hpo.machine.files import plain_opener
from hpo.machine.temporary import sockets_of_multiprocessing
from hpo.trial import EXCEPTION, Job, Outcome, Report, Stop
from hpo.worker import torch_runtime
from hpo.worker.children import adopt_orphans
from hpo.worker.command import end_group
from hpo.worker.execute import Share, execute
from hpo.worker.process_state import ProcessState

# Bound before an objective runs, which may replace the builtin.
_open = open

# What a worker says: Report, number and process group of a command, Outcome, and whether it can take a further job. It
# hears (Job, Share), and to each report None or a Stop.
REPORT, COMMAND, OUTCOME, READY = "report", "command", "outcome", "ready"


class _Driver:
    """The driver, as a worker process sees it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.process = os.getpid()
        self.group: int | None = None
        self._read, self._bytes, self._again = -1, 0, 0.0

    def _host_memory(self, number: int) -> int:
        """Return the peak memory of this process, measured again only now and then.

        It is read for a trial's first report, and later so seldom that reading takes a fiftieth of the time at most.
        The kernel keeps the peak.
        """
        now = time.monotonic()
        if number != self._read or now >= self._again:
            self._read, self._bytes = number, memory.host_memory()
            self._again = now + 50 * (time.monotonic() - now)
        return self._bytes

    def report(self, number: int, step: int, metrics: dict[str, float]) -> Stop | None:
        used = (torch_runtime.gpu_memory(), self._host_memory(number))
        self._connection.send((REPORT, Report(number, step, metrics, time.monotonic(), *used)))
        answer = self._connection.recv()
        assert answer is None or isinstance(answer, Stop)
        return answer

    def command_started(self, number: int, group: int) -> None:
        self.group = group
        self._connection.send((COMMAND, number, group))

    def ended(self, outcome: Outcome) -> None:
        self.group = None
        self._connection.send((OUTCOME, outcome))

    def end(self) -> None:
        """End the command, the children and this process at once: the driver is gone."""
        if self.group is not None:
            end_group(self.group)
        end_group(os.getpgrp())


def main() -> None:
    """Take jobs and return outcomes until the driver closes the pipe or dies.

    The command line is `hpo.worker.main CONNECTION LIFELINE`, two file descriptors (`hpo.machine.start`).
    """
    connection, lifeline = Connection(int(sys.argv[1])), int(sys.argv[2])
    # Ctrl-C on a terminal is for the driver alone, which tells the trials at their next report.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # So is the SIGTERM that a queue sends to every process of a job. A handler is not passed on to programs, as SIG_IGN
    # would be; a forked child is one that the objective may want to end.
    signal.signal(signal.SIGTERM, _ignore_sigterm)
    os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))
    driver = _Driver(connection)

    def watch() -> None:
        # Nothing is ever written to it: it ends when the driver does, however that happens.
        os.read(lifeline, 1)
        driver.end()

    threading.Thread(target=watch, daemon=True, name="hpo-lifeline").start()
    adopt_orphans()
    state = ProcessState(with_children=True)
    state.save()
    with sockets_of_multiprocessing(), contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            job, share = connection.recv()
            failures = _run_trial(job, share, driver, state)
            for sentence in failures:
                print(f"cannot be put back after a trial: {sentence}; the next trial gets a new process", flush=True)
            connection.send((READY, not failures))


def _run_trial(job: Job, share: Share, driver: _Driver, state: ProcessState) -> list[str]:
    """Run a trial and tell its outcome. Return what keeps this process from taking a further one, in sentences."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(_output_of(job))
        except OSError as error:
            reason = f"the trial's folder cannot be used: {error}"
            driver.ended(Outcome(job.number, "FAIL", cause=EXCEPTION, reason=reason))
            return []
        outcome = execute(job, driver, state, share)
        _flush()
        if os.getpid() != driver.process:
            os._exit(0)  # a child that the objective has forked, and that has come back here
        # Before all that may fail or hang: the trial is over, and its result counts.
        driver.ended(outcome)
        failures = state.restore()
        _flush()
        return failures


def _ignore_sigterm(number: int, frame: FrameType | None) -> None:
    """Do nothing: the driver ends trials, at their next report."""


@contextlib.contextmanager
def _output_of(job: Job) -> Iterator[None]:
    """Redirect what the trial prints, with its subprocesses and C libraries, to its output.log.

    The stacks of a crash or of a timeout (SIGUSR1) go to its crash.txt.
    """
    layout.make_trial_directory(job.directory)
    crash_file = job.directory / layout.CRASH
    with (
        _open(job.directory / layout.OUTPUT, "ab", opener=plain_opener) as output,
        _open(crash_file, "wb", opener=plain_opener) as crash,
    ):
        kept = os.dup(1), os.dup(2)
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
        faulthandler.enable(crash)
        faulthandler.register(signal.SIGUSR1, crash)
        try:
            yield
        finally:
            faulthandler.unregister(signal.SIGUSR1)
            faulthandler.disable()
            for descriptor, copy in zip((1, 2), kept, strict=True):
                os.dup2(copy, descriptor)
                os.close(copy)
    with contextlib.suppress(OSError):  # the objective may have removed it
        if crash_file.stat().st_size == 0:
            crash_file.unlink()


def _flush() -> None:
    """Write what the trial has printed, wherever it has led it."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # closed, None, or something of the objective's own
            stream.flush()
