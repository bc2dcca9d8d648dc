"""Notices of a run: what its trials show that is no error and hardly meant, said when it is seen and at the end."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hpo.analysis.notices import (
    ENOUGH_TRIALS,
    GPU_NOT_BUILT_FOR,
    GPU_NOT_SEEN,
    GPU_UNUSED,
    IGNORED_STOP,
    METRIC_UNREPORTED,
    RETURNED_OUTSIDE,
    STEP_BACK,
    STEP_CONSTANT,
    STEPLESS,
    Notice,
    sentence,
    unread_of,
    unread_sentence,
)
from hpo.spec.models import StudySpec
from hpo.text import listing, nearest_name
from hpo.trial import Job, Outcome, Stop

# A returned value is another one than those reported if it lies beyond them by this part of their range, and by this
# part of their size: the last epoch, the best one and weights averaged over epochs lie nearer.
_BEYOND_RANGE, _BEYOND_SIZE = 0.25, 0.01
# The most names of metrics of a trial whose reports are watched.
_MOST_NAMES = 50


@dataclass
class _Series:
    """Reports of one metric: how many, their steps, and the finite values among them."""

    times: int = 0
    first: int = -1
    highest: int = -1
    back: int = -1  # the first step that lies two or more below the highest before it, and that
    before: int = -1
    low: float = math.inf
    high: float = -math.inf

    def add(self, step: int, value: float) -> None:
        if not self.times:
            self.first = step
        # One step below is what ranks report that are not quite at the same time.
        if step < self.highest - 1 and self.back < 0:
            self.back, self.before = step, self.highest
        self.times += 1
        self.highest = max(self.highest, step)
        if math.isfinite(value):
            self.low, self.high = min(self.low, value), max(self.high, value)

    def excludes(self, value: float) -> bool:
        """Return True if the value is none that the reports can have led to."""
        if self.low > self.high:
            return False
        size = max(abs(self.low), abs(self.high))
        if (self.low > 0 > value or self.high < 0 < value) and abs(value) > _BEYOND_SIZE * size:
            return True
        margin = max(_BEYOND_RANGE * (self.high - self.low), _BEYOND_SIZE * size)
        return self.times > 1 and not self.low - margin <= value <= self.high + margin


class TrialWatch:
    """Watch over what one trial reports and returns.

    Args:
        spec: the study.
        job: the trial.
    """

    def __init__(self, spec: StudySpec, job: Job) -> None:
        self._spec = spec
        self._job = job
        self._series: dict[str, _Series] = {}

    def add(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take in a report."""
        for name, value in metrics.items():
            series = self._series.get(name)
            if series is None:
                if len(self._series) >= _MOST_NAMES:
                    continue
                series = self._series[name] = _Series()
            series.add(step, value)

    def ended(self, outcome: Outcome, stop: Stop | None) -> dict[str, dict[str, Any]]:
        """Return what the trial has shown, by kind (`hpo.analysis.notices`).

        Args:
            outcome: how it ended.
            stop: what a report of it was answered, if it was told to stop.
        """
        found = dict(self._steps())
        unused = outcome.observed.get("unused_gpu")
        if unused and outcome.state != "FAIL":
            found[_unused_gpu_kind(unused)] = {name: unused[name] for name in ("torch", "built")}
        if outcome.state != "COMPLETE":
            return found
        first = self._spec.metrics[0].name
        if stop is not None:
            found[IGNORED_STOP] = {"reason": stop.reason}
        stepless = outcome.observed.get("stepless") or {}
        if stepless.get("lines", 0) > 1:
            found[STEPLESS] = {"lines": stepless["lines"], "metric": first, "instead": stepless.get("name", "")}
        if self._series and first not in self._series and self._spec.pruner.name != "none":
            near = nearest_name(first, self._series)
            found[METRIC_UNREPORTED] = {"reported": listing(self._series, 4), "metric": first, "near": near}
        for metric in self._spec.metrics:
            series = self._series.get(metric.name)
            value = outcome.metrics[metric.name]
            if series is not None and series.excludes(value):
                shown = {"metric": metric.name, "value": value, "low": series.low, "high": series.high}
                found.setdefault(RETURNED_OUTSIDE, shown)
        return found

    def _steps(self) -> Iterable[tuple[str, dict[str, Any]]]:
        first = self._spec.metrics[0].name
        for name in sorted(self._series, key=lambda one: one != first):
            series = self._series[name]
            if series.back >= 0:
                yield STEP_BACK, {"metric": name, "lower": series.back, "higher": series.before}
                return
            # A trial that was resumed reports its last step again.
            if series.times > (1 if self._job.attempt == 1 else 2) and series.first == series.highest:
                yield STEP_CONSTANT, {"metric": name, "times": series.times, "step": series.first}
                return


def _unused_gpu_kind(unused: Mapping[str, Any]) -> str:
    if unused["sees"]:
        return GPU_UNUSED
    return GPU_NOT_SEEN if unused["built"] else GPU_NOT_BUILT_FOR


class Notices:
    """Notices of a run.

    Args:
        spec: the study.
        say: gets sentences for the user.
    """

    def __init__(self, spec: StudySpec, say: Callable[[str], None]) -> None:
        self._spec = spec
        self._say = say
        self._trials: dict[str, list[int]] = {}
        self._sentences: dict[str, str] = {}
        # Complete trials, which parameters any of them has read, and those with one that it has not.
        self._complete = 0
        self._read: set[str] = set()
        self._missed: list[_Reading] = []

    def trial_ended(self, number: int, found: Mapping[str, Mapping[str, Any]]) -> None:
        """Say the kinds of which this trial is the first."""
        for kind, values in found.items():
            if kind not in self._sentences:
                self._sentences[kind] = sentence(kind, number, values)
                self._say(f"{self._sentences[kind]} (said of the first such trial)")
            self._trials.setdefault(kind, []).append(number)

    def parameters_read(self, job: Job, unread: Collection[str]) -> None:
        """Take in which parameters a complete trial has not read. Say those that none has read, once it is clear."""
        missed = [name for name in job.params if name in unread]
        self._complete += 1
        self._read.update(job.params.keys() - set(missed))
        if missed:
            self._missed.append(_Reading(job.number, dict.fromkeys(missed), tuple(missed)))
        if self._complete == ENOUGH_TRIALS:
            for name in self._unread():
                self._say(unread_sentence(name))

    def _unread(self) -> Mapping[str, tuple[int, ...]]:
        return unread_of(self._spec.space, [_Reading(-1, dict.fromkeys(self._read), ()), *self._missed])

    def closing(self) -> list[Notice]:
        """Return all that this run has shown, each kind once."""
        found = [Notice(said, tuple(self._trials[kind])) for kind, said in self._sentences.items()]
        return [*found, *(Notice(unread_sentence(name), numbers) for name, numbers in self._unread().items())]


@dataclass(frozen=True)
class _Reading:
    """A complete trial, those of its parameters that count, and the names of those that it has not read."""

    number: int
    params: Mapping[str, Any]
    unread: tuple[str, ...]
