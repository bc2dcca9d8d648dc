"""execute(job) -> Outcome, and the worker process that an engine keeps over many trials.

A worker holds no database handle and never decides: it trains, reports, and obeys the answer."""

from __future__ import annotations

import contextlib
import faulthandler
import math
import os
import random
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import numpy as np

from hpo import current, host_memory, layout, trial, worker_torch
from hpo.command import CommandFailed, end_group, run_command
from hpo.errors import ObjectiveError, nearest, one_line
from hpo.objective_ref import load
from hpo.trial import Interrupted, Job, Outcome, Pruned, Report, Stop, Trial, check_number

# What a worker says: Report, number and process group of a command, Outcome. It hears (Job, Share), and to each
# report None or a Stop.
REPORT, COMMAND, OUTCOME = "report", "command", "outcome"


class Host(Protocol):
    """What `execute` needs of whoever runs it."""

    def report(self, number: int, step: int, metrics: dict[str, float]) -> Stop | None: ...

    def command_started(self, number: int, group: int) -> None: ...


@dataclass(frozen=True)
class Share:
    """The worker's part of the machine: CPU threads (None: as the libraries like), GPU share."""

    cpu: int | None = None
    gpu: float = 0.0


class ReturnedWrong(Exception):
    """The objective returned something other than its metrics as finite numbers."""


_objective = lru_cache(maxsize=None)(load)


def execute(job: Job, host: Host, share: Share | None = None) -> Outcome:
    """Train one job to its outcome; never raises but for KeyboardInterrupt."""
    share = share or Share()
    job.directory.mkdir(parents=True, exist_ok=True)
    stopped: list[Stop] = []

    def send(step: int, metrics: dict[str, float]) -> Stop | None:
        stop = host.report(job.number, step, metrics)
        if stop is not None:
            stopped.append(stop)
        return stop

    handle = Trial(job, send)
    host_memory.forget_peak()
    began = time.monotonic()
    try:
        if job.objective.command:
            returned: object = run_command(job, handle, lambda group: host.command_started(job.number, group))
        else:
            function = _objective(job.objective)
            # After the import, so that the first trial of a worker is seeded like all others.
            prepare(job.seed, share)
            current.set_current(handle)
            returned = function(handle)
        fate: dict[str, Any] = {"state": "COMPLETE", "metrics": check_returned(returned, job.metrics)}
    except Exception as error:
        fate = _fate(error, bool(stopped))
    except SystemExit as error:
        fate = _failed(trial.EXCEPTION, f"the objective called sys.exit({error.code!r})", traceback.format_exc())
    finally:
        current.set_current(None)
    return Outcome(job.number, **fate, seconds=time.monotonic() - began, peak_gpu_bytes=worker_torch.peak_gpu_bytes())


def check_returned(returned: object, names: tuple[str, ...]) -> dict[str, float]:
    """The final metrics as floats: those of the study, finite, and any others that are finite.

    Raises ReturnedWrong with what was returned and what was expected."""
    example = "{" + ", ".join(f"'{name}': 0.9" for name in names) + "}"
    if not isinstance(returned, Mapping):
        raise ReturnedWrong(
            f"the objective returned {returned!r} ({type(returned).__name__}); expected a dict such as {example}"
        )
    metrics = {}
    for name, value in returned.items():
        try:
            metrics[str(name)] = check_number(str(name), value)
        except TypeError as error:
            raise ReturnedWrong(str(error)) from None
    for name in names:
        if name not in metrics:
            given = ", ".join(metrics) or "nothing"
            raise ReturnedWrong(
                f"the objective returned no metric '{name}', but {given}; expected {example}.{nearest(name, metrics)}"
            )
        if not math.isfinite(metrics[name]):
            raise ReturnedWrong(f"metric '{name}' is {metrics[name]} at the end of the trial; expected a finite number")
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def _fate(error: Exception, told_to_stop: bool) -> dict[str, Any]:
    if isinstance(error, Interrupted):
        return _failed(trial.INTERRUPTED, error.reason)
    if isinstance(error, Pruned):
        return {"state": "PRUNED", "cause": trial.PRUNER if told_to_stop else trial.OBJECTIVE, "reason": error.reason}
    if isinstance(error, ReturnedWrong):
        return _failed(trial.INVALID, str(error))
    if isinstance(error, CommandFailed):
        return _failed(trial.EXCEPTION, str(error), error.output)
    if isinstance(error, ObjectiveError):
        return _failed(trial.EXCEPTION, str(error), traceback.format_exc())
    if worker_torch.is_out_of_memory(error):
        # Not a FAIL: samplers do not see those, and would walk into the same wall again.
        first = str(error).strip().splitlines() or [type(error).__name__]
        return {
            "state": "PRUNED",
            "cause": trial.OUT_OF_MEMORY,
            "reason": f"out of memory: {first[0]}",
            "error": traceback.format_exc(),
        }
    said = f"{type(error).__name__}: {one_line(error)}{_place(error)}"
    return _failed(trial.EXCEPTION, said, traceback.format_exc())


def _failed(cause: str, reason: str, error: str = "") -> dict[str, Any]:
    return {"state": "FAIL", "cause": cause, "reason": reason, "error": error}


def _place(error: BaseException) -> str:
    """` (train.py:12)`: the deepest line of the traceback that is not a library's."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        frame
        for frame in frames
        if "site-packages" not in frame.filename and Path(frame.filename).parent != Path(__file__).parent
    ]
    return f" ({Path(own[-1].filename).name}:{own[-1].lineno})" if own else ""


def prepare(seed: int, share: Share) -> None:
    """Seed every generator of this process, and keep torch to its share of the machine."""
    random.seed(seed)
    np.random.seed(seed)
    worker_torch.prepare(seed, share.cpu, share.gpu)


# --- the worker process: `python -m hpo.worker CONNECTION_FD LIFELINE_FD`


class _Driver:
    """The driver, seen from a worker process."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.group: int | None = None
        self._read, self._bytes, self._again = -1, 0, 0.0

    def _host_memory(self, number: int) -> int:
        """Read for a trial's first report, and then so seldom that it takes a fiftieth of the time at most: the kernel
        keeps the peak."""
        now = time.monotonic()
        if number != self._read or now >= self._again:
            self._read, self._bytes = number, host_memory.host_memory()
            self._again = now + 50 * (time.monotonic() - now)
        return self._bytes

    def report(self, number: int, step: int, metrics: dict[str, float]) -> Stop | None:
        used = (worker_torch.gpu_memory(), self._host_memory(number))
        self._connection.send((REPORT, Report(number, step, metrics, time.monotonic(), *used)))
        answer = self._connection.recv()
        assert answer is None or isinstance(answer, Stop)
        return answer

    def command_started(self, number: int, group: int) -> None:
        self.group = group
        self._connection.send((COMMAND, number, group))

    def end(self) -> None:
        """The driver is gone: end the command, the children, and this process, at once."""
        if self.group is not None:
            end_group(self.group)
        end_group(os.getpgrp())


def main() -> None:
    """Jobs in, outcomes out, until the driver closes the pipe or dies."""
    connection, lifeline = Connection(int(sys.argv[1])), int(sys.argv[2])
    # Ctrl-C on a terminal is for the driver alone, which tells the trials at their next report.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # So is the SIGTERM that a queue sends to every process of a job. A handler is not passed on to programs, as SIG_IGN
    # would be; a forked child is one that the objective may want to end.
    signal.signal(signal.SIGTERM, _deaf)
    os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))
    driver = _Driver(connection)

    def watch() -> None:
        # Nothing is ever written to it: it ends when the driver does, however that happens.
        os.read(lifeline, 1)
        driver.end()

    threading.Thread(target=watch, daemon=True, name="hpo-lifeline").start()
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            job, share = connection.recv()
            with _output_of(job):
                outcome = execute(job, driver, share)
            worker_torch.release()
            driver.group = None
            connection.send((OUTCOME, outcome))


def _deaf(number: int, frame: FrameType | None) -> None:
    """Goes on: the driver ends trials, at their next report."""


@contextlib.contextmanager
def _output_of(job: Job) -> Iterator[None]:
    """What the trial prints, its subprocesses and C libraries included, goes to its output.log;
    the stacks of a crash or of a timeout (SIGUSR1) to its crash.txt."""
    job.directory.mkdir(parents=True, exist_ok=True)
    kept = os.dup(1), os.dup(2)
    with (job.directory / layout.OUTPUT).open("ab") as output, (job.directory / layout.CRASH).open("wb") as crash:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
        faulthandler.enable(crash)
        faulthandler.register(signal.SIGUSR1, crash)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            faulthandler.unregister(signal.SIGUSR1)
            faulthandler.disable()
            for descriptor, copy in zip((1, 2), kept, strict=True):
                os.dup2(copy, descriptor)
                os.close(copy)
    if (job.directory / layout.CRASH).stat().st_size == 0:
        (job.directory / layout.CRASH).unlink()


if __name__ == "__main__":
    main()
