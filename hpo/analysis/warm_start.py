"""Tell how the configurations of earlier studies did in this one."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hpo.analysis.records import StudyRecord, TrialRecord, WarmOrigin, best_of
from hpo.spec.models import Metric


@dataclass(frozen=True)
class Rank:
    """Rank of a trial: `place` (from 1, the best) among the `of` trials that have a value at `step`.

    Equal values share the better place. `step` is None among final values.
    """

    place: int
    of: int
    step: int | None


@dataclass(frozen=True)
class WarmTrial:
    """A trial whose configuration came from an earlier study.

    Attributes:
        trial: The trial.
        origin: The trial it came from.
        value: Final value of the first metric, of a COMPLETE trial.
        rank: Its rank at the last step in which it reported the metric, among all that reported it there. Of a trial
            that reported none it is that of its final value; None without either.
    """

    trial: TrialRecord
    origin: WarmOrigin
    value: float | None
    rank: Rank | None


@dataclass(frozen=True)
class WarmTrials:
    """All trials whose configuration came from earlier studies.

    Attributes:
        metric: The first metric of the study.
        trials: In the order tried, without attempts that were tried again.
        best: The best COMPLETE trial from earlier studies.
        best_own: The best COMPLETE trial of the others.
        studies: Names of the earlier studies.
        offered: Number of configurations there were.
        started: Number of them that have been tried.
        trusted: Whether the earlier studies were trusted to the end.
        why: Why they were not; empty otherwise.
    """

    metric: Metric
    trials: tuple[WarmTrial, ...]
    best: TrialRecord | None
    best_own: TrialRecord | None
    studies: tuple[str, ...]
    offered: int
    started: int
    trusted: bool
    why: str


def warm_trials(study: StudyRecord) -> WarmTrials | None:
    """Return how earlier configurations did; None of a study that began from no earlier one."""
    metric = study.metrics[0]
    counted = [trial for trial in study.trials if not trial.requeued]
    warm = [(trial, trial.warm) for trial in counted if trial.warm is not None]
    noted = study.warm_start
    if not warm and not noted.get("offered"):
        return None
    complete, others = study.complete(metric), _Others(counted, metric)
    return WarmTrials(
        metric,
        tuple(_warm(trial, origin, others, metric) for trial, origin in warm if trial.state != "WAITING"),
        best_of(tuple(trial for trial in complete if trial.warm is not None), metric),
        best_of(tuple(trial for trial in complete if trial.warm is None), metric),
        tuple(noted.get("studies") or dict.fromkeys(origin.study for _, origin in warm)),
        noted.get("offered", len(warm)),
        noted.get("started", len(warm)),
        noted.get("trusted", True),
        noted.get("why") or "",
    )


def _warm(trial: TrialRecord, origin: WarmOrigin, others: _Others, metric: Metric) -> WarmTrial:
    value = trial.values[metric.name] if trial.completed(metric) else None
    reported = [(step, value) for step, value in trial.series(metric.name) if math.isfinite(value)]
    if reported:
        return WarmTrial(trial, origin, value, others.rank(reported[-1][1], reported[-1][0]))
    return WarmTrial(trial, origin, value, None if value is None else others.rank(value, None))


class _Others:
    """All trials of a study, whose values at a step are put in order once for all that are ranked there."""

    def __init__(self, trials: Sequence[TrialRecord], metric: Metric) -> None:
        self._trials, self._metric = trials, metric
        self._costs: dict[int | None, list[float]] = {}

    def rank(self, value: float, step: int | None) -> Rank:
        """Return the rank of a value at a step, or among final values."""
        if step not in self._costs:
            self._costs[step] = sorted(map(self._metric.cost, self._at(step)))
        costs = self._costs[step]
        return Rank(1 + bisect_left(costs, self._metric.cost(value)), len(costs), step)

    def _at(self, step: int | None) -> Iterator[float]:
        name = self._metric.name
        if step is None:
            return (trial.values[name] for trial in self._trials if trial.completed(self._metric))
        values = (dict(trial.series(name)).get(step, math.nan) for trial in self._trials)
        return filter(math.isfinite, values)
