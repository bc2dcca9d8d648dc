"""Execution of one job: from the parameters to the outcome.

A worker holds no database handle and decides nothing: it trains, reports, and obeys the answer.
"""

from __future__ import annotations

import math
import random
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hpo import trial
from hpo.errors import ObjectiveError
from hpo.machine import memory
from hpo.objective.load import load
from hpo.text import nearest, one_line, redact
from hpo.trial import Interrupted, Job, Outcome, Pruned, Stop, Trial, check_number
from hpo.worker import current_trial, torch_runtime
from hpo.worker.command import CommandFailed, run_command
from hpo.worker.out_of_memory import reason_of


class Host(Protocol):
    """Receiver of a job's reports."""

    def report(self, number: int, step: int, metrics: dict[str, float]) -> Stop | None:
        """Pass on the metrics of a step; return a Stop if the report is to be the last."""

    def command_started(self, number: int, group: int) -> None:
        """Note the process group of a command, which is to end with the worker."""


@dataclass(frozen=True)
class Share:
    """A worker's part of the machine: CPU threads (None: the libraries' default) and share of a GPU."""

    cpu: int | None = None
    gpu: float = 0.0


class ReturnedWrong(Exception):
    """Error of an objective that returned something other than its metrics as finite numbers."""


_objective = lru_cache(maxsize=None)(load)


def execute(job: Job, host: Host, share: Share | None = None) -> Outcome:
    """Train one job and return its outcome; raises nothing but KeyboardInterrupt."""
    share = share or Share()
    job.directory.mkdir(parents=True, exist_ok=True)
    stopped: list[Stop] = []

    def send(step: int, metrics: dict[str, float]) -> Stop | None:
        stop = host.report(job.number, step, metrics)
        if stop is not None:
            stopped.append(stop)
        return stop

    handle = Trial(job, send)
    memory.reset_peak()
    began = time.monotonic()
    try:
        if job.objective.command:
            returned: object = run_command(job, handle, lambda group: host.command_started(job.number, group))
        else:
            function = _objective(job.objective)
            # After the import, so that the first trial of a worker is seeded like all others.
            prepare(job.seed, share)
            current_trial.set_current(handle)
            returned = function(handle)
        result: dict[str, Any] = {"state": "COMPLETE", "metrics": check_returned(returned, job.metrics)}
    except Exception as error:
        result = _failure(error, bool(stopped))
    except SystemExit as error:
        if how := reason_of(error):
            result = _out_of_memory(how, traceback.format_exc())
        else:
            result = _failed(trial.EXCEPTION, f"the objective called sys.exit({error.code!r})", traceback.format_exc())
    finally:
        current_trial.set_current(None)
    return Outcome(
        job.number, **result, seconds=time.monotonic() - began, peak_gpu_bytes=torch_runtime.peak_gpu_bytes()
    )


def check_returned(returned: object, names: tuple[str, ...]) -> dict[str, float]:
    """Return the final metrics as floats: those of the study, and any others that are finite.

    Raises:
        ReturnedWrong: With what was returned and what was expected.
    """
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


def _failure(error: Exception, told_to_stop: bool) -> dict[str, Any]:
    if isinstance(error, Interrupted):
        return _failed(trial.INTERRUPTED, error.reason)
    if isinstance(error, Pruned):
        return {"state": "PRUNED", "cause": trial.PRUNER if told_to_stop else trial.OBJECTIVE, "reason": error.reason}
    if isinstance(error, ReturnedWrong):
        return _failed(trial.INVALID, str(error))
    if isinstance(error, CommandFailed):
        if error.out_of_memory:
            return _out_of_memory(error.out_of_memory, error.output)
        return _failed(trial.EXCEPTION, str(error), error.output)
    if isinstance(error, ObjectiveError):
        return _failed(trial.EXCEPTION, str(error), traceback.format_exc())
    if how := reason_of(error):
        return _out_of_memory(how, traceback.format_exc())
    said = f"{type(error).__name__}: {one_line(error)}{_place(error)}"
    return _failed(trial.EXCEPTION, said, traceback.format_exc())


def _out_of_memory(how: str, error: str) -> dict[str, Any]:
    # Not a FAIL: samplers do not see those, and would walk into the same wall again.
    return {"state": "PRUNED", "cause": trial.OUT_OF_MEMORY, "reason": f"out of memory: {redact(how)}", "error": error}


def _failed(cause: str, reason: str, error: str = "") -> dict[str, Any]:
    return {"state": "FAIL", "cause": cause, "reason": reason, "error": error}


def _place(error: BaseException) -> str:
    """Return ` (train.py:12)`: the deepest line of the traceback that is not a library's."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        frame
        for frame in frames
        if "site-packages" not in frame.filename and Path(__file__).parents[1] not in Path(frame.filename).parents
    ]
    return f" ({Path(own[-1].filename).name}:{own[-1].lineno})" if own else ""


def prepare(seed: int, share: Share) -> None:
    """Seed every generator of this process, and limit torch to its share of the machine."""
    random.seed(seed)
    np.random.seed(seed)
    torch_runtime.prepare(seed, share.cpu, share.gpu)
