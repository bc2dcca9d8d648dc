"""Messages between processes, and the view that an objective has of its trial.

Job goes from the driver to a worker, Trial from the worker to the objective, Report from the worker to the driver, Stop
is the driver's answer to a Report, and Outcome is the worker's last message.

What an objective says becomes text that can be written everywhere and numbers that every storage takes here, before
anything else sees it.
"""

from __future__ import annotations

import contextlib
import copy
import math
import numbers
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from hpo import layout
from hpo.errors import CheckpointRefused, ReportRefused
from hpo.machine.checkpoint import read_checkpoint, write_checkpoint
from hpo.text import LONGEST_REASON, brief, cut, message_of, one_line, presentable, printable_line

State = Literal["COMPLETE", "PRUNED", "FAIL"]

# Causes of a failure. An attempt that was interrupted (the study was stopped) or preempted (its node died or was taken
# away) is always retried and never counts as a trial. One that was lost (its worker died), raised an exception or ran
# into a timeout is retried as often as `engine.retries` says. An invalid result, and a trial that a person killed (`hpo
# kill`, optuna-dashboard's Fail), are never retried.
LOST = "lost"
INTERRUPTED = "interrupted"
PREEMPTED = "preempted"
EXCEPTION = "exception"
INVALID = "invalid"
TIMEOUT = "timeout"
KILLED = "killed"
# A trial that waited at a rung goes on as a further attempt (hpo.search.promotion).
PROMOTED = "promoted"
# Causes of pruning.
PRUNER = "pruner"
RED_FLAG = "red_flag"
OUT_OF_MEMORY = "out_of_memory"
OBJECTIVE = "objective"

CAUSES: dict[State, frozenset[str]] = {
    "COMPLETE": frozenset({""}),
    "PRUNED": frozenset({PRUNER, RED_FLAG, OUT_OF_MEMORY, OBJECTIVE}),
    "FAIL": frozenset({LOST, INTERRUPTED, PREEMPTED, EXCEPTION, INVALID, TIMEOUT, KILLED, PROMOTED}),
}
# Causes that are not the configuration's doing: such attempts are always retried.
EXTERNAL_CAUSES = frozenset({INTERRUPTED, PREEMPTED})


# The largest step: that up to which a float holds every integer. PostgreSQL and MySQL keep less, 2**31 - 1.
LARGEST_STEP = 2**53
# The longest name of a metric: MLflow's limit.
LONGEST_NAME = 250


class Pruned(Exception):
    """Raised by `Trial.report` when the trial is to stop; an objective may raise it too.

    Args:
        reason: why, in one line. Text is made of anything else; without any the objective gave up.
    """

    def __init__(self, reason: object = None) -> None:
        said = "" if reason is None else message_of(reason)
        self.reason = said if said.strip() else "the objective gave up"
        super().__init__(self.reason)


class Interrupted(Pruned):
    """The study is being stopped, not this trial: it goes back in the queue."""


@dataclass(frozen=True)
class Stop:
    """Answer of the driver to a report that must be the last."""

    reason: str
    interrupted: bool = False

    def exception(self) -> Pruned:
        """Return the exception that ends the objective."""
        return Interrupted(self.reason) if self.interrupted else Pruned(self.reason)


@dataclass(frozen=True)
class Usage:
    """The most that a trial has taken so far; 0 if nothing, or if it is not known.

    Attributes:
        gpu_memory: a part of the memory of its GPU.
        host_bytes: memory of the host, by its worker process and the processes that this started.
    """

    gpu_memory: float = 0.0
    host_bytes: int = 0


@dataclass(frozen=True)
class Report:
    """Message of a worker about one step.

    Attributes:
        number: the trial's.
        step: counted by the objective, such as an epoch.
        metrics: numbers by name.
        sent: time by the machine's monotonic clock, in seconds.
        gpu_memory: as in Usage.
        host_bytes: as in Usage.
    """

    number: int
    step: int
    metrics: Mapping[str, float]
    sent: float
    gpu_memory: float = 0.0
    host_bytes: int = 0

    @property
    def usage(self) -> Usage:
        """GPU and host memory of the trial so far."""
        return Usage(self.gpu_memory, self.host_bytes)


@dataclass(frozen=True)
class ObjectiveRef:
    """Place of an objective: a function or a command.

    Attributes:
        target: `module:function` or `/path/file.py:function`; empty for a command.
        command: list of arguments with `{parameter}` placeholders. An inner tuple is left out if one of its
            placeholders names
            a parameter that the trial does not have.
        root: folder that is put first on `sys.path`, and in which a command runs.
    """

    target: str = ""
    command: tuple[str | tuple[str, ...], ...] = ()
    root: str = "."

    @property
    def label(self) -> str:
        """The objective in one line of text."""
        if self.target:
            return self.target
        flat = [part if isinstance(part, str) else " ".join(part) for part in self.command]
        return " ".join(flat)


@dataclass(frozen=True)
class Job:
    """One attempt at one trial, as a worker receives it.

    Attributes:
        number: Optuna's number of the trial.
        params: parameters by the names that the objective sees.
        seed: the trial's own, the same in every attempt.
        objective: its place.
        constants: those of study.yaml.
        directory: the trial's folder.
        metrics: names that the objective must return.
        attempt: counted from 1; above 1 after a lost or interrupted attempt.
        lineage: the study and the trial that this is an attempt at, for its checkpoint; empty: not checked.
        lists: by parameter, the lists that the objective gets in place of choices that are their text.
    """

    number: int
    params: Mapping[str, Any]
    seed: int
    objective: ObjectiveRef
    constants: Mapping[str, Any]
    directory: Path
    metrics: tuple[str, ...]
    attempt: int = 1
    lineage: str = ""
    lists: Mapping[str, Mapping[Any, list[Any]]] = field(default_factory=dict)

    def for_objective(self) -> Job:
        """Return the job with lists in place of the texts that stand for them."""
        return replace(self, params=with_lists(self.params, self.lists)) if self.lists else self


def with_lists(params: Mapping[str, Any], lists: Mapping[str, Mapping[Any, list[Any]]]) -> dict[str, Any]:
    """Return parameters with lists in place of the texts that stand for them, for Optuna's choices are scalars."""
    return {
        name: copy.deepcopy(lists.get(name, {}).get(value, value)) if isinstance(value, str) else value
        for name, value in params.items()
    }


@dataclass(frozen=True)
class Outcome:
    """End of an attempt.

    A COMPLETE outcome has finite metrics. A PRUNED or FAIL outcome has a cause of `CAUSES` and a reason of one line.

    Attributes:
        number: the trial's.
        state: as Optuna calls it.
        metrics: the final metrics by name.
        cause: why it did not complete, in one word.
        reason: the same in one printable line without passwords; a longer one is cut to 300 characters.
        error: the traceback, printable, without passwords; else the whole of a reason that was cut.
        seconds: time that the attempt took.
        peak_gpu_bytes: the most GPU memory that torch's allocator held.
        observed: what the worker saw of the objective, if it saw it: sources (its files, `hpo.objective.sources`),
            environment (packages, processor, device, threads), unread and unread_constants (names that it has not
            read), alone (it has forked no process, which may read them), used (`save` and `restore`, if it called
            them), unused_gpu (why torch held nothing of its GPU: `hpo.worker.torch_runtime`), stepless (JSON lines with
            a metric and without a step).
        flag: the red flag that ended it, if one did.

    Raises:
        ValueError: these do not fit together.
    """

    number: int
    state: State
    metrics: Mapping[str, float] = field(default_factory=dict)
    cause: str = ""
    reason: str = ""
    error: str = ""
    seconds: float = 0.0
    peak_gpu_bytes: int = 0
    observed: Mapping[str, Any] = field(default_factory=dict)
    flag: str = ""

    def __post_init__(self) -> None:
        if self.cause not in CAUSES[self.state]:
            raise ValueError(
                f"cause {self.cause!r} of a {self.state} outcome is not one of {sorted(CAUSES[self.state])}"
            )
        if self.state == "COMPLETE":
            bad = {name: value for name, value in self.metrics.items() if not math.isfinite(value)}
            if bad or not self.metrics:
                raise ValueError(f"a COMPLETE outcome needs finite metrics, got {dict(self.metrics)}")
        elif not self.reason.strip():
            raise ValueError(f"a {self.state} outcome needs a reason")
        whole = presentable(" ".join(self.reason.split()))
        error = self.error or (whole if len(whole) > LONGEST_REASON else "")
        object.__setattr__(self, "reason", cut(whole, LONGEST_REASON))
        object.__setattr__(self, "error", presentable(error))


def check_metrics(metrics: Mapping[Any, object]) -> dict[str, float]:
    """Return metrics as floats, under names that every storage and tracker takes.

    Python and NumPy numbers and tensors of one element are numbers; bools, text and longer arrays are not.

    Args:
        metrics: values by name. A name that is not text is written as text.

    Raises:
        TypeError: a value is not one number; the message names the metric.
    """
    return {name: _number(name, value) for name, value in ((_name(key), value) for key, value in metrics.items())}


def _name(key: object) -> str:
    return cut(printable_line(str(key)), LONGEST_NAME)


def _number(name: str, value: object) -> float:
    if not isinstance(value, (bool, str)):
        try:
            if not isinstance(value, numbers.Real) and getattr(value, "shape", None) in ((), (1,)):
                value = value.item() if hasattr(value, "item") else value
            if isinstance(value, numbers.Real) and not isinstance(value, bool):
                return float(value)
        except OverflowError:
            raise TypeError(f"metric '{name}' is {brief(value)}, which is too large for a float") from None
        except Exception as error:  # of a GPU, say, whose memory is full
            said = f"{type(error).__name__}: {one_line(error)}"
            raise TypeError(f"metric '{name}' of {type(value).__name__} cannot be read as a number: {said}") from error
    raise TypeError(f"metric '{name}' is {brief(value)} ({type(value).__name__}); expected one number")


class Params(Mapping[str, Any]):
    """Parameters or constants of a trial, read-only, which know the names that were read.

    Who iterates over them, or sends them to another process, reads them all; printing reads none.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)
        self._read: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        """Return a value."""
        self._read.add(name)
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        """Yield the names."""
        self._read.update(self._values)
        return iter(self._values)

    def __len__(self) -> int:
        """Return the number of them."""
        return len(self._values)

    def __repr__(self) -> str:
        """Return them as a dict is written."""
        return repr(self._values)

    def __or__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        """Return a dict of these and others."""
        return {**self, **other}

    def __ror__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        """Return a dict of others and these."""
        return {**other, **self}

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how another process gets them: as a dict."""
        return dict, (dict(self),)

    def copy(self) -> dict[str, Any]:
        """Return them as a dict."""
        return dict(self)

    @property
    def unread(self) -> tuple[str, ...]:
        """The names that were not read so far."""
        return tuple(name for name in self._values if name not in self._read)


class Trial:
    """The view that an objective has of its trial.

    Attributes:
        params: parameters by name, read-only.
        constants: those of study.yaml, read-only.
        number: Optuna's number of the trial.
        seed: the trial's own, the same in every attempt.
        attempt: counted from 1; above 1 if an earlier attempt was lost.
        directory: a folder of its own, which is kept.
        root: the study's folder; relative file names in `constants` count from there.
    """

    def __init__(self, job: Job, send: Callable[[int, dict[str, float]], Stop | None]) -> None:
        self.params = Params(job.params)
        self.constants = Params(job.constants)
        self.number = job.number
        self.seed = job.seed
        self.attempt = job.attempt
        self.directory = job.directory
        self.root = Path(job.objective.root)
        self._job = job
        self._send = send
        self._saved = self._restored = False

    @property
    def used(self) -> tuple[str, ...]:
        """Names of `save` and `restore`, as far as they were called."""
        return ("save",) * self._saved + ("restore",) * self._restored

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how a process that this one starts gets the trial: all of it but its reports."""
        dict(self.params), dict(self.constants)  # that process may read them
        return Trial, (self._job, _refuse)

    def report(self, step: int, *given: Mapping[str, float], **metrics: float) -> None:
        """Send the metrics of a step to the driver.

        Save first, report last: a trial may end at a report. A resumed trial reports the step that it saved last once
        more, for
        it may have died between the two; a step that is reported twice counts once.

        Threads of the trial's process may report at the same time.

        Args:
            step: an epoch or the like, counted from 0 or 1, up to 2^53.
            *given: at most one mapping of numbers by name, beside or in place of `metrics`.
            **metrics: numbers by name.

        Raises:
            Pruned: the trial is to stop.
            ReportRefused: the trial has ended, or another process runs it.
            TypeError: the step is not such an integer, or a metric is not a number.
        """
        if given:
            metrics = _joined(step, given, metrics, self._job.metrics)
        if isinstance(step, bool) or not isinstance(step, numbers.Integral) or not 0 <= step <= LARGEST_STEP:
            raise TypeError(
                f"step is {brief(step)} ({type(step).__name__}); expected an integer from 0 to {LARGEST_STEP}"
            )
        if not metrics:
            raise TypeError(f"report({step}) carries no metric; expected report(step, name=value, ...)")
        stop = self._send(int(step), check_metrics(metrics))
        if stop is not None:
            raise stop.exception()

    def save(self, state: Any) -> None:
        """Keep `state` for `restore`.

        The file is replaced as a whole, and only the last state is kept.

        Args:
            state: anything that can be pickled, tensors too.
        """
        self._saved = True
        layout.make_trial_directory(self.directory)
        write_checkpoint(self.directory / layout.CHECKPOINT, state, self._job.lineage)

    def restore(self) -> Any | None:
        """Return the state that an earlier attempt at this trial saved last, None if there is none.

        A file that is damaged or of another trial is not restored, nor is one that others could have written, unless
        it holds plain data alone: to load other objects may run any code. A sentence on stderr says so.
        """
        self._restored = True
        path = self.directory / layout.CHECKPOINT
        if not path.exists():
            return None
        try:
            return read_checkpoint(path, self._job.lineage)
        except CheckpointRefused as refused:
            with contextlib.suppress(OSError, ValueError):  # the objective may have closed its output
                print(f"hpo: trial {self.number} starts afresh: {refused}", file=sys.stderr, flush=True)
            return None


def _joined(
    step: object, given: tuple[Any, ...], metrics: dict[str, float], names: tuple[str, ...]
) -> dict[str, float]:
    """Return metrics that are given as a mapping, and by name; `names` are the study's."""
    if len(given) == 1 and isinstance(given[0], Mapping):
        return {**given[0], **metrics}
    said = ", ".join(brief(value) for value in (step, *given))
    name = names[0] if names and names[0].isidentifier() else "name"
    example = f"report(step, {name}=value)"
    raise TypeError(f"report({said}): the step comes first, and each metric has a name; expected {example}")


def _refuse(step: int, metrics: dict[str, float]) -> Stop | None:
    raise ReportRefused(
        "this process does not run the trial, it has a copy of it; expected reports from the process that the trial "
        "was started in"
    )
