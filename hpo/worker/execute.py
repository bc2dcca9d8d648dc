"""Execution of one job: from the parameters to the outcome.

A worker holds no database handle and decides nothing: it trains, reports, and obeys the answer.
"""

from __future__ import annotations

import math
import os
import random
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hpo import layout, trial
from hpo.errors import ObjectiveError
from hpo.machine import memory
from hpo.machine.working_folder import leave_removed
from hpo.objective.load import load
from hpo.objective.locate import file_of
from hpo.objective.sources import sources_of
from hpo.text import LONGEST_REASON, brief, cut, listing, nearest, one_line, redact
from hpo.trial import Interrupted, Job, Outcome, Pruned, Stop, Trial, check_metrics
from hpo.worker import current_trial, torch_runtime
from hpo.worker.command import CommandFailed, NoMetric, run_command
from hpo.worker.environment import environment
from hpo.worker.misuse import advice
from hpo.worker.out_of_memory import reason_of
from hpo.worker.process_state import ProcessState
from hpo.worker.reports import Reports


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


# An objective's files as they were when this process imported it: it knows no later ones.
_objective, _file, _sources = cache(load), cache(file_of), cache(sources_of)


class _Forks:
    """Count of the processes that this one has forked: what they read of a trial is not seen here."""

    count = 0

    @classmethod
    def add(cls) -> None:
        cls.count += 1


os.register_at_fork(after_in_parent=_Forks.add)


def execute(job: Job, host: Host, state: ProcessState, share: Share | None = None) -> Outcome:
    """Train one job and return its outcome.

    Args:
        job: the trial.
        host: gets its reports.
        state: is saved before the objective's function runs. The caller restores it.
        share: the trial's part of the machine.

    Returns:
        The outcome, whatever the objective raised.
    """
    share, job = share or Share(), job.for_objective()
    reports = Reports(job.number, host.report)
    handle = Trial(job, reports.send)
    memory.reset_peak()
    began, forks, cpu = time.monotonic(), _Forks.count, os.times()
    observed: dict[str, Any] = {}
    try:
        layout.make_trial_directory(job.directory)
        if sentence := leave_removed(job.directory):
            print(sentence, flush=True)
        if job.objective.command:
            observed["environment"] = environment(job.objective, share.cpu, share.gpu)
            returned: object = run_command(job, handle, lambda group: host.command_started(job.number, group), observed)
        else:
            observed["sources"] = _sources(job.objective).data()
            current_trial.set_none()
            # Code that reads a command line finds nothing but its own name, at its import too.
            sys.argv = [_file(job.objective)]
            function = _objective(job.objective)
            # After the import, so that the first trial of a worker is seeded like all others.
            prepare(job.seed, share)
            observed["environment"] = environment(job.objective, share.cpu, share.gpu)
            state.save()
            current_trial.set_current(handle)
            returned = function(handle)
        result: dict[str, Any] = {"state": "COMPLETE", "metrics": check_returned(returned, job.metrics)}
    except BaseException as error:
        try:
            result = _failure(error, reports.stopped)
        except BaseException as second:  # an exception of the objective's own, which raises when it is looked at
            result = _failed(trial.EXCEPTION, f"{type(error).__name__}, which raises {type(second).__name__} when read")
    finally:
        reports.end()
        current_trial.set_none()
    if not job.objective.command:
        observed |= _seen_of(handle, alone=_Forks.count == forks)
        if share.gpu > 0 and not _children_did_more(cpu):
            observed["unused_gpu"] = torch_runtime.unused_gpu()
    seconds, peak = time.monotonic() - began, torch_runtime.peak_gpu_bytes()
    return Outcome(job.number, **result, seconds=seconds, peak_gpu_bytes=peak, observed=observed)


def _seen_of(handle: Trial, alone: bool) -> dict[str, Any]:
    """Return what is seen of an objective's use of its trial. Unless it was alone, other processes may have read it."""
    unread, unread_constants = (handle.params.unread, handle.constants.unread) if alone else ((), ())
    return {"used": handle.used, "unread": unread, "unread_constants": unread_constants, "alone": alone}


def _children_did_more(before: os.times_result) -> bool:
    """Return True if processes that have ended since computed more than this one: they may have had the GPU."""
    now = os.times()
    return now.children_user - before.children_user > now.user - before.user


def check_returned(returned: object, names: tuple[str, ...]) -> dict[str, float]:
    """Return the final metrics as floats: those of the study, and any others that are finite.

    Raises:
        ReturnedWrong: With what was returned and what was expected.
    """
    example = "{" + ", ".join(f"'{name}': 0.9" for name in names) + "}"
    if not isinstance(returned, Mapping):
        raise ReturnedWrong(
            f"the objective returned {brief(returned)} ({type(returned).__name__}); expected a dict such as {example}"
        )
    returned = dict(returned.items())
    try:
        metrics = check_metrics(returned)
    except TypeError as error:
        raise ReturnedWrong(str(error)) from error
    for name in names:
        if name not in metrics:
            given = listing(metrics) or "nothing"
            raise ReturnedWrong(
                f"the objective returned no metric '{name}', but {given}; expected {example}.{nearest(name, metrics)}"
            )
        if not math.isfinite(metrics[name]):
            raise ReturnedWrong(f"metric '{name}' is {metrics[name]} at the end of the trial; expected a finite number")
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def _failure(error: BaseException, told_to_stop: bool) -> dict[str, Any]:
    if isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        # Groups of tasks wrap what one of them raised.
        return _failure(error.exceptions[0], told_to_stop)
    if isinstance(error, Interrupted):
        return _failed(trial.INTERRUPTED, error.reason)
    if isinstance(error, Pruned):
        cause = trial.PRUNER if told_to_stop else trial.OBJECTIVE
        # A class of the user's own may lack the reason, or have something else there.
        reason = Pruned(getattr(error, "reason", error)).reason
        return {"state": "PRUNED", "cause": cause, "reason": reason}
    if _is_pruned_of_optuna(error):
        return {"state": "PRUNED", "cause": trial.OBJECTIVE, "reason": Pruned(error).reason}
    if isinstance(error, NoMetric) or (isinstance(error, ReturnedWrong) and not reason_of(error)):
        return _failed(trial.INVALID, str(error))
    if isinstance(error, CommandFailed):
        if error.out_of_memory:
            return _out_of_memory(error.out_of_memory, error.output)
        return _failed(trial.EXCEPTION, str(error), error.output)
    if isinstance(error, ObjectiveError):
        return _failed(trial.EXCEPTION, str(error), _traceback(error))
    if how := reason_of(error):
        return _out_of_memory(how, _traceback(error))
    if isinstance(error, SystemExit):
        return _failed(trial.EXCEPTION, f"the objective called sys.exit({brief(error.code)})", _traceback(error))
    said = f"{type(error).__name__}: {cut(one_line(error), LONGEST_REASON)}{_place(error)}{advice(error)}"
    return _failed(trial.EXCEPTION, said, _traceback(error))


def _is_pruned_of_optuna(error: BaseException) -> bool:
    optuna = sys.modules.get("optuna")
    return optuna is not None and isinstance(error, optuna.TrialPruned)


def _traceback(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


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
