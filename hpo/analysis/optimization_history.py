"""Follow an optimization: the final value of every trial in the order tried, and the best so far."""

from __future__ import annotations

from dataclasses import dataclass

from hpo.analysis.density import MOST_DOTS, Density, density, edges, edges_over
from hpo.analysis.groups import group_labels, groups_of
from hpo.analysis.records import StudyRecord, better
from hpo.analysis.summary_statistics import Range, usual_range
from hpo.spec.models import Metric

COLUMNS, ROWS = 100, 40  # of a density


@dataclass(frozen=True, slots=True)
class Point:
    """One trial. `value`: the final value if it is COMPLETE, the last value it reported if it was PRUNED."""

    number: int
    state: str
    group: str
    value: float
    steps: int


@dataclass(frozen=True)
class History:
    """The course of an optimization.

    Attributes:
        metric: The metric.
        group_by: The parameter of the groups, if any.
        groups: Labels of the groups.
        points: One a trial, in the order tried.
        best: (trial number, best final value so far) at every COMPLETE trial.
        silent: Number of pruned trials that reported no value.
        failed: Number of failed trials.
        shown: The range without extreme bad values.
        beyond: Number of points outside of it.
    """

    metric: Metric
    group_by: str | None
    groups: tuple[str, ...]
    points: tuple[Point, ...]
    best: tuple[tuple[int, float], ...]
    silent: int
    failed: int
    shown: Range
    beyond: int

    @property
    def improvements(self) -> tuple[tuple[int, float], ...]:
        """(trial number, final value) of the trials that were the best when they completed."""
        return tuple(one for k, one in enumerate(self.best) if k == 0 or one[1] != self.best[k - 1][1])

    def density(self) -> Density | None:
        """Return the density of the COMPLETE trials; None of few."""
        up = edges_over(self.shown, ROWS)
        if len(self.points) <= MOST_DOTS or not up:
            return None
        done = ((point.number, point.value) for point in self.points if point.state == "COMPLETE")
        last = max(point.number for point in self.points)
        return density(done, edges(-0.5, last + 0.5, COLUMNS), up)


def optimization_history(study: StudyRecord, metric: Metric) -> History:
    """Return the course of a study by `metric`."""
    groups = groups_of(study)
    group_of = group_labels(study)
    points: list[Point] = []
    best: list[tuple[int, float]] = []
    silent = 0
    for trial in sorted(study.finished, key=lambda t: t.number):
        if trial.completed(metric):
            value: float | None = trial.values[metric.name]
        elif trial.state == "PRUNED":
            value = trial.last(metric.name)
            silent += value is None
        else:
            continue
        if value is None:
            continue
        points.append(Point(trial.number, trial.state, group_of[trial.number], value, trial.steps))
        if trial.state == "COMPLETE":
            best.append((trial.number, value if not best or better(metric, value, best[-1][1]) else best[-1][1]))
    values = [point.value for point in points]
    shown = usual_range(values, metric.direction)
    return History(
        metric,
        study.group_by,
        tuple(group.label for group in groups),
        tuple(points),
        tuple(best),
        silent,
        len(study.in_state("FAIL")),
        shown,
        shown.beyond(values),
    )
