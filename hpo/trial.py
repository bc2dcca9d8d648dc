"""What crosses a process boundary: Job (driver to worker), Trial (worker to objective), Report (worker to
driver), Stop (the driver's answer to it), Outcome (worker to driver)."""

from __future__ import annotations

import math
import numbers
import os
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from hpo import layout

State = Literal["COMPLETE", "PRUNED", "FAIL"]

# Why a trial failed. "interrupted" (the study was stopped) and "preempted" (its node was taken away or died)
# attempts are put back in the queue and do not count as finished trials; "lost" (its worker died), "exception" and
# "timeout" ones as often as `engine.retries` says; "invalid" ones, and those that a person ended ("killed": `hpo kill`,
# optuna-dashboard's Fail), never.
LOST = "lost"
INTERRUPTED = "interrupted"
PREEMPTED = "preempted"
EXCEPTION = "exception"
INVALID = "invalid"
TIMEOUT = "timeout"
KILLED = "killed"
# Why a trial was pruned.
PRUNER = "pruner"
RED_FLAG = "red_flag"
OUT_OF_MEMORY = "out_of_memory"
OBJECTIVE = "objective"

CAUSES: dict[State, frozenset[str]] = {
    "COMPLETE": frozenset({""}),
    "PRUNED": frozenset({PRUNER, RED_FLAG, OUT_OF_MEMORY, OBJECTIVE}),
    "FAIL": frozenset({LOST, INTERRUPTED, PREEMPTED, EXCEPTION, INVALID, TIMEOUT, KILLED}),
}
# Attempts that ended through no doing of the configuration: they are always tried again.
EXTERNAL_CAUSES = frozenset({INTERRUPTED, PREEMPTED})


class Pruned(Exception):
    """Raised by `Trial.report` when the trial is to stop; an objective may raise it too."""

    def __init__(self, reason: str = "the objective gave up") -> None:
        super().__init__(reason)
        self.reason = reason


class Interrupted(Pruned):
    """The study is being stopped, not this trial: it goes back in the queue."""


@dataclass(frozen=True)
class Stop:
    """The driver's answer to a report that must be the last."""

    reason: str
    interrupted: bool = False

    def exception(self) -> Pruned:
        return Interrupted(self.reason) if self.interrupted else Pruned(self.reason)


@dataclass(frozen=True)
class Usage:
    """The most that a trial has taken so far (0: none, or nobody knows). gpu_memory: as a part of its GPU's memory.
    host_bytes: of the host's, by its worker process and what that started."""

    gpu_memory: float = 0.0
    host_bytes: int = 0


@dataclass(frozen=True)
class Report:
    """What a worker says of a step. `gpu_memory`, `host_bytes`: those of Usage. `sent`: when, by the machine's
    monotonic clock (seconds)."""

    number: int
    step: int
    metrics: Mapping[str, float]
    sent: float
    gpu_memory: float = 0.0
    host_bytes: int = 0

    @property
    def usage(self) -> Usage:
        return Usage(self.gpu_memory, self.host_bytes)


@dataclass(frozen=True)
class ObjectiveRef:
    """Where an objective is: `target` is `module:function` or `/path/file.py:function`; or
    `command` is an argument list with `{parameter}` placeholders, an inner tuple of which is
    left out when one of its placeholders names a parameter that this trial does not have.
    `root` is put first on `sys.path`, and is the directory a command runs in."""

    target: str = ""
    command: tuple[str | tuple[str, ...], ...] = ()
    root: str = "."

    @property
    def label(self) -> str:
        if self.target:
            return self.target
        flat = [part if isinstance(part, str) else " ".join(part) for part in self.command]
        return " ".join(flat)


@dataclass(frozen=True)
class Job:
    """One attempt at one trial, as handed to a worker.

    `params` are named as the objective sees them; `metrics` are the names the objective must
    return; `attempt` counts from 1 and is above 1 after a lost or interrupted attempt."""

    number: int
    params: Mapping[str, Any]
    seed: int
    objective: ObjectiveRef
    constants: Mapping[str, Any]
    directory: Path
    metrics: tuple[str, ...]
    attempt: int = 1


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended. COMPLETE has finite metrics; PRUNED and FAIL have a cause of
    `CAUSES` and a one-line reason. `error` is a traceback, `seconds` the time the attempt took,
    `peak_gpu_bytes` the most GPU memory that torch's allocator held.

    Raises ValueError when these do not fit together."""

    number: int
    state: State
    metrics: Mapping[str, float] = field(default_factory=dict)
    cause: str = ""
    reason: str = ""
    error: str = ""
    seconds: float = 0.0
    peak_gpu_bytes: int = 0

    def __post_init__(self) -> None:
        if self.cause not in CAUSES[self.state]:
            raise ValueError(
                f"cause {self.cause!r} of a {self.state} outcome is not one of {sorted(CAUSES[self.state])}"
            )
        if self.state == "COMPLETE":
            bad = {name: value for name, value in self.metrics.items() if not math.isfinite(value)}
            if bad or not self.metrics:
                raise ValueError(f"a COMPLETE outcome needs finite metrics, got {dict(self.metrics)}")
        elif not self.reason:
            raise ValueError(f"a {self.state} outcome needs a reason")


def check_number(name: str, value: object) -> float:
    """`value` as a float; raises TypeError naming the metric if it is not one number
    (Python and NumPy numbers and one-element tensors are; bools, strings, arrays are not)."""
    if not isinstance(value, (bool, str)):
        if isinstance(value, numbers.Real):
            return float(value)
        if getattr(value, "shape", None) in ((), (1,)) and hasattr(value, "item"):
            item = value.item()
            if isinstance(item, numbers.Real) and not isinstance(item, bool):
                return float(item)
    raise TypeError(f"metric '{name}' is {value!r} ({type(value).__name__}); expected one number")


class Trial:
    """What an objective sees of its trial.

    params: parameters by name (read-only). constants: those of study.yaml (read-only).
    number: Optuna's trial number. seed: this trial's own, the same in every attempt.
    directory: a folder of its own, kept. root: the study's folder, from where relative file names
    in `constants` count. attempt: 1, or more when an attempt was lost."""

    def __init__(self, job: Job, send: Callable[[int, dict[str, float]], Stop | None]) -> None:
        self.params: Mapping[str, Any] = MappingProxyType(dict(job.params))
        self.constants: Mapping[str, Any] = MappingProxyType(dict(job.constants))
        self.number = job.number
        self.seed = job.seed
        self.attempt = job.attempt
        self.directory = job.directory
        self.root = Path(job.objective.root)
        self._send = send

    def report(self, step: int, **metrics: float) -> None:
        """Tell the driver the metrics of `step` (an epoch, counted from 0 or 1).

        Save first, report last: a report may be where the trial ends. A resumed trial reports what it
        saved last once more: it may have died between the two, and a step reported twice counts once.
        Raises Pruned when the trial is to stop, TypeError when step is not an integer or a
        metric not a number."""
        if isinstance(step, bool) or not isinstance(step, numbers.Integral) or step < 0:
            raise TypeError(f"step is {step!r} ({type(step).__name__}); expected an integer of at least 0")
        if not metrics:
            raise TypeError(f"report({step}) carries no metric; expected report(step, name=value, ...)")
        checked = {name: check_number(name, value) for name, value in metrics.items()}
        stop = self._send(int(step), checked)
        if stop is not None:
            raise stop.exception()

    def save(self, state: Any) -> None:
        """Keep `state` (anything picklable, tensors too) for `restore`; atomic, last one wins."""
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.directory / layout.CHECKPOINT
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            pickle.dump(state, file, protocol=pickle.HIGHEST_PROTOCOL)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)

    def restore(self) -> Any | None:
        """The state that an earlier attempt at this trial saved last, or None."""
        path = self.directory / layout.CHECKPOINT
        if not path.exists():
            return None
        with path.open("rb") as file:
            return pickle.load(file)
