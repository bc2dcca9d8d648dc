"""Make training curves: losses and metrics by epoch of each group's best trial, and the metric of every trial.

They are plain data on common axes, rounded and thinned to what a figure can show.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hpo.analysis.cache import cached_per_study
from hpo.analysis.groups import Group, groups_of
from hpo.analysis.records import StudyRecord, TrialRecord, best_of, better
from hpo.analysis.summary_statistics import Range, usual_range
from hpo.analysis.training.training_log import TrainingLog
from hpo.curves.metric_names import without_split
from hpo.spec.models import Metric

MOST_LOSSES = 2
MOST_METRICS = 2
# Points of one curve, and of all curves of a metric together.
MOST_POINTS = 200
MOST_IN_ALL = 30_000
FEWEST_POINTS = 20
# Curves of a metric that are drawn: more would be a grey cloud.
MOST_LINES = 600
# A loss that spans more than this factor is drawn on a logarithmic axis. A linear axis leaves extreme
# values out if with them it would be longer than this many times the usual values.
WIDE = 30.0


@dataclass(frozen=True)
class Curve:
    """One metric of one trial: `values[i]` at `steps[i]`, None where it was not finite."""

    name: str
    steps: tuple[int, ...]
    values: tuple[float | None, ...]

    @property
    def finite(self) -> tuple[tuple[int, float], ...]:
        """(step, value) of the finite values."""
        return tuple((s, v) for s, v in zip(self.steps, self.values, strict=True) if v is not None)


def curve_of(trial: TrialRecord | TrainingLog, name: str) -> Curve:
    """Return every reported step of a metric, as it was reported."""
    points = trial.series(name)
    return Curve(name, tuple(step for step, _ in points), tuple(v if math.isfinite(v) else None for _, v in points))


def best_step(curve: Curve, direction: str) -> tuple[int, float] | None:
    """Return (step, value) of the best value; of equals the first; None without a finite one."""
    sign = -1 if direction == "maximize" else 1
    return min(curve.finite, key=lambda point: sign * point[1], default=None)


def best_epoch(log: TrainingLog) -> int | None:
    """Return the epoch in which the training's own metric was best; None if it has none, or never reported it."""
    found = None if log.metric is None else best_step(curve_of(log, log.metric.name), log.metric.direction)
    return None if found is None else found[0]


@cached_per_study
def counted_from(study: StudyRecord) -> int:
    """Return 0 if epochs are counted from 0 in this study, else 1.

    All trials are asked, since a resumed trial may start anywhere.
    """
    return 0 if any(trial.history and trial.history[0].step <= 0 for trial in study.trials) else 1


def epochs_to_best(study: StudyRecord, trial: TrialRecord, metric: Metric) -> tuple[int, int] | None:
    """Return after how many epochs the reported metric was best, and how many epochs there were.

    1 is the first epoch, whether the trial counts from 0 or from 1. None if the metric was never reported.
    """
    found = best_step(curve_of(trial, metric.name), metric.direction)
    if found is None:
        return None
    shift = 1 - counted_from(study)
    return found[0] + shift, trial.history[-1].step + shift


def best_in_last_epoch(study: StudyRecord, trial: TrialRecord, metric: Metric) -> bool:
    """Return True if the reported metric was better in the last of two epochs or more than in all before."""
    found = epochs_to_best(study, trial, metric)
    return found is not None and found[0] == found[1] > 1


def _range(values: Sequence[float], direction: str) -> Range:
    """Return the range of all values, since the first epochs of a curve are far from its last and no outliers for that.

    Extreme values are left out only where they would press the others flat.
    """
    if not values:
        return Range()
    usual, low, high = usual_range(values, direction), min(values), max(values)
    if usual.low is None or usual.high is None:
        return Range(low, high)
    size = max(usual.high - usual.low, abs(usual.low), abs(usual.high))
    return Range(low, high) if high - low <= WIDE * size else usual


def drawn(curve: Curve, limit: int = MOST_POINTS, keep: Iterable[int] = ()) -> Curve:
    """Return a thinned curve.

    Points are evenly spaced. The first, the last and the steps `keep` stay. Values are rounded to 5 digits.

    Args:
        curve: The curve.
        limit: About how many points are left.
        keep: Steps that must stay.
    """
    n = len(curve.steps)
    kept = set(range(n)) if n <= limit else {round(k * (n - 1) / (limit - 1)) for k in range(limit)}
    wanted = set(keep)
    kept |= {index for index, step in enumerate(curve.steps) if step in wanted}
    chosen = sorted(kept)
    values = (curve.values[index] for index in chosen)
    return Curve(
        curve.name,
        tuple(curve.steps[index] for index in chosen),
        tuple(None if value is None else _rounded(value) for value in values),
    )


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")


# --- the best trial of each group


@dataclass(frozen=True)
class Panel:
    """Curves that are drawn together.

    Attributes:
        title: What they measure.
        names: The metrics, train before val.
        direction: Which values are good.
        log: Whether the axis is logarithmic.
        shown: The range of all groups, without extreme bad values.
    """

    title: str
    names: tuple[str, ...]
    direction: str
    log: bool
    shown: Range


@dataclass(frozen=True)
class BestTraining:
    """Curves of the best trial of one group.

    Attributes:
        group: Label of the group.
        trial: The trial.
        curves: `curves[i]` are those of panel i.
        best: The step at which the metric was best, or None.
        beyond: Number of points outside of the panels' ranges.
    """

    group: str
    trial: TrialRecord
    curves: tuple[tuple[Curve, ...], ...]
    best: int | None
    beyond: int


@dataclass(frozen=True)
class Trainings:
    """The best trials, each with a history, on common axes.

    Attributes:
        metric: The metric by which they are best.
        group_by: The parameter of the groups, if any.
        panels: One for each thing that is measured.
        groups: One training a group.
        first: The first step of all.
        last: The last step of all.
        left_out: Further pairs of train and validation metrics.
    """

    metric: Metric
    group_by: str | None
    panels: tuple[Panel, ...]
    groups: tuple[BestTraining, ...]
    first: int
    last: int
    left_out: tuple[str, ...]


def trainings(study: StudyRecord, metric: Metric) -> Trainings | None:
    """Return the curves of each group's best COMPLETE trial by `metric`.

    They are of its losses and of the study's metrics, each beside its training or validation partner (`train_X` and
    `val_X`). None where none of these was reported.
    """
    found = []
    for group in groups_of(study):
        best = best_of(tuple(trial for trial in group.trials if trial.completed(metric)), metric)
        if best is not None and best.history:
            found.append((group.label, best))
    return trainings_of(found, metric, study.metrics, study.group_by)


def trainings_of(
    found: Sequence[tuple[str, TrialRecord]], metric: Metric, metrics: Sequence[Metric], group_by: str | None
) -> Trainings | None:
    """Return the curves of some trials: losses and `metrics`.

    Args:
        found: (name, trial), each trial with a history.
        metric: The metric that says which step is best.
        metrics: The metrics that are shown beside losses.
        group_by: The parameter of the groups, if any.

    Returns:
        None where none of these was reported, or without a trial.
    """
    if not found:
        return None
    trials = [trial for _, trial in found]
    reported = _series_by_measure(trials)
    of_metrics = {without_split(m.name): m for m in metrics if without_split(m.name) in reported}
    losses = [measure for measure in reported if "loss" in measure.lower() and measure not in of_metrics]
    losses.sort(key=lambda measure: measure != "loss")  # the rest as reported
    shown = [*losses[:MOST_LOSSES], *list(of_metrics)[:MOST_METRICS]]
    if not shown:
        return None
    directions = {measure: metric.direction for measure, metric in of_metrics.items()}
    panels = tuple(_panel(trials, one, reported[one], directions.get(one, "minimize")) for one in shown)
    return Trainings(
        metric,
        group_by,
        panels,
        tuple(_best_training(label, trial, metric, panels) for label, trial in found),
        min(trial.history[0].step for trial in trials),
        max(trial.history[-1].step for trial in trials),
        tuple(measure for measure, names in reported.items() if measure not in shown and len(names) > 1),
    )


def _series_by_measure(trials: Sequence[TrialRecord]) -> dict[str, tuple[str, ...]]:
    """Return what was reported, without `train_` and `val_`, in the order reported, with the metrics of each."""
    names = dict.fromkeys(name for trial in trials for name in trial.reported)
    reported = dict.fromkeys(without_split(name) for name in names)
    return {
        measure: tuple(name for name in (f"train_{measure}", measure, f"val_{measure}") if name in names)
        for measure in reported
    }


def _panel(trials: Sequence[TrialRecord], measure: str, names: tuple[str, ...], direction: str) -> Panel:
    values = [value for trial in trials for name in names for _, value in curve_of(trial, name).finite]
    is_loss = "loss" in measure.lower()
    log = is_loss and bool(values) and min(values) > 0 and max(values) > WIDE * min(values)
    title = measure if len(names) > 1 else names[0]
    shown = Range(min(values), max(values)) if log else _range(values, direction)
    return Panel(title, names, direction, log, shown)


def _best_training(label: str, trial: TrialRecord, metric: Metric, panels: Sequence[Panel]) -> BestTraining:
    found = best_step(curve_of(trial, metric.name), metric.direction)
    best = None if found is None else found[0]
    curves = tuple(tuple(curve_of(trial, name) for name in panel.names) for panel in panels)
    beyond = sum(
        panel.shown.beyond(value for curve in own for _, value in curve.finite)
        for panel, own in zip(panels, curves, strict=True)
    )
    return BestTraining(label, trial, curves, best, beyond)


# --- all trials


@dataclass(frozen=True)
class Line:
    """The metric of one finished trial, thinned; it ends where the trial ended."""

    number: int
    state: str
    curve: Curve


@dataclass(frozen=True)
class GroupLines:
    """Curves of one group. All numbers are of all its trials that reported the metric.

    Attributes:
        group: Label of the group.
        lines: The curves that are drawn: every so many, in the order tried, and that of the best trial.
        best: The number of the group's best COMPLETE trial.
        peak: The best value that any trial of the group reached, as (value, trial number, step).
        last: The median of the last values of COMPLETE trials; None without any.
        states: Number of trials by the state in which they ended.
        shortest: The fewest steps of a trial.
        longest: The most steps of a trial.
        silent: Number of finished trials that reported none.
    """

    group: str
    lines: tuple[Line, ...]
    best: int | None
    peak: tuple[float, int, int] | None
    last: float | None
    states: Mapping[str, int]
    shortest: int
    longest: int
    silent: int


@dataclass(frozen=True)
class AllCurves:
    """Every trial's curve of one metric, on common axes.

    Attributes:
        metric: The metric.
        group_by: The parameter of the groups, if any.
        groups: Curves of each group.
        n: Number of curves.
        first: The first step of all.
        last: The last step of all.
        shown: The range without extreme bad values.
        beyond: Number of values outside of it.
        thinned: Whether points were left out.
    """

    metric: Metric
    group_by: str | None
    groups: tuple[GroupLines, ...]
    n: int
    first: int
    last: int
    shown: Range
    beyond: int
    thinned: bool


def all_curves(study: StudyRecord, metric: Metric) -> AllCurves | None:
    """Return every trial's curve of `metric`, of many trials a part of them; None if no finished trial reported it."""
    groups = [_Reporting(group, metric) for group in groups_of(study)]
    n = sum(len(own.trials) for own in groups)
    if not n:
        return None
    limit = max(FEWEST_POINTS, min(MOST_POINTS, MOST_IN_ALL // min(n, MOST_LINES)))
    values = [value for own in groups for value in own.values]
    shown = _range(values, metric.direction)
    return AllCurves(
        metric,
        study.group_by,
        tuple(own.lines(limit, math.ceil(n / MOST_LINES)) for own in groups),
        n,
        min(own.first for own in groups if own.trials),
        max(own.last for own in groups if own.trials),
        shown,
        shown.beyond(values),
        any(own.points > limit for own in groups),
    )


class _Reporting:
    """Trials of a group that reported a metric. Of their curves only the numbers are kept: there may be many."""

    def __init__(self, group: Group, metric: Metric) -> None:
        self._group, self._metric = group, metric
        self.trials: list[TrialRecord] = []
        self.values: list[float] = []
        self.first, self.last, self.points = 0, 0, 0
        self._peak: tuple[float, int, int] | None = None
        self._last: list[float] = []  # of COMPLETE trials
        for trial in group.trials:
            curve = curve_of(trial, metric.name)
            found = best_step(curve, metric.direction)
            if found is None:
                continue
            if self._peak is None or better(metric, found[1], self._peak[0]):
                self._peak = (found[1], trial.number, found[0])
            finite = [value for _, value in curve.finite]
            if trial.state == "COMPLETE":
                self._last.append(_rounded(finite[-1]))
            self.first = min(self.first, curve.steps[0]) if self.trials else curve.steps[0]
            self.last = max(self.last, curve.steps[-1])
            self.points = max(self.points, len(curve.steps))
            self.values += finite
            self.trials.append(trial)

    def lines(self, limit: int, every: int) -> GroupLines:
        """Return every `every`-th curve, of about `limit` points, and that of the best trial."""
        name = self._metric.name
        best = best_of(tuple(trial for trial in self._group.trials if trial.completed(self._metric)), self._metric)
        lines = []
        for k, trial in enumerate(self.trials):
            if k % every == 0 or trial is best:
                curve = curve_of(trial, name)
                found = best_step(curve, self._metric.direction)
                lines.append(Line(trial.number, trial.state, drawn(curve, limit, [found[0]] if found else ())))
        lengths = [trial.steps for trial in self.trials]
        return GroupLines(
            self._group.label,
            tuple(lines),
            None if best is None else best.number,
            self._peak,
            statistics.median(self._last) if self._last else None,
            Counter(trial.state for trial in self.trials),
            min(lengths, default=0),
            max(lengths, default=0),
            len(self._group.trials) - len(self.trials),
        )
