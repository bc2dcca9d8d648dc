"""Show the marginal effect of a parameter within each group: final values against the parameter's value.

Nothing here averages over groups. Within a level the other parameters vary as the search chose them, so that a median
is of the trials there were and no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpo.analysis.axes import Axis, axis_of, in_order, searched
from hpo.analysis.cache import cached_per_study
from hpo.analysis.density import MOST_DOTS, Density, density, edges, edges_over
from hpo.analysis.groups import Group, groups_of
from hpo.analysis.records import StudyRecord, TrialRecord, best_of
from hpo.analysis.summary_statistics import Range, spread, usual_range
from hpo.spec.models import Metric

MOST_PARAMETERS = 6
# Of a density: cells within a bin and beside each other, cells above each other, and the width of a value without bins.
WITHIN_BIN, ROWS, HALF_VALUE = 6, 30, 0.35
ROOM = 0.1  # beyond the values, as a share of their range


@dataclass(frozen=True, slots=True)
class Dot:
    """One COMPLETE trial; `position` is on the axis (see Axis.position)."""

    number: int
    position: float
    parameter: object
    value: float


@dataclass(frozen=True)
class Level:
    """Trials of one value, or bin, of the parameter.

    Attributes:
        n: Number of COMPLETE trials.
        mean: Of their final values; None without any.
        deviation: Their sample standard deviation; None for n < 2.
        median: Their median; None without any.
        quartiles: Their lower and upper quartile; None for n < 3.
        best: (trial number, final value) of the best of them.
        pruned: Number of pruned trials.
        failed: Number of failed trials.
    """

    n: int = 0
    mean: float | None = None
    deviation: float | None = None
    best: tuple[int, float] | None = None
    pruned: int = 0
    failed: int = 0
    median: float | None = None
    quartiles: tuple[float, float] | None = None

    @property
    def empty(self) -> bool:
        """Return True if no trial had this value."""
        return not (self.n or self.pruned or self.failed)


@dataclass(frozen=True)
class GroupEffect:
    """One parameter in one group. `levels`: one a label of the axis; `unplaced`: finished trials that are not on it."""

    group: str
    levels: tuple[Level, ...]
    dots: tuple[Dot, ...]
    unplaced: int

    @property
    def has_trials(self) -> bool:
        """Return True if any trial has a place on the axis."""
        return not all(level.empty for level in self.levels)


@dataclass(frozen=True)
class Effect:
    """One parameter in every group, on a common axis.

    Attributes:
        metric: The metric of the final values.
        group_by: The parameter of the groups, if any.
        axis: The axis of the parameter.
        groups: One effect a group.
        shown: The range without extreme bad final values of the study.
        beyond: Number of dots outside of it.
    """

    metric: Metric
    group_by: str | None
    axis: Axis
    groups: tuple[GroupEffect, ...]
    shown: Range
    beyond: int

    def density(self, own: GroupEffect) -> Density | None:
        """Return the density of the dots of a group; None of few."""
        up = edges_over(self.shown, ROWS, ROOM)
        if len(own.dots) <= MOST_DOTS or not up:
            return None
        count = len(self.axis.labels)
        if self.axis.binned:
            across = edges(-0.5, count - 0.5, WITHIN_BIN * count)
        else:
            across = tuple(edge for cell in range(count) for edge in (cell - HALF_VALUE, cell + HALF_VALUE))
        return density(((dot.position, dot.value) for dot in own.dots), across, up)


@dataclass(frozen=True)
class Effects:
    """Effects of the parameters that are shown. `left_out`: the others, for their number or for lack of an axis."""

    shown: tuple[Effect, ...]
    left_out: tuple[str, ...]


@cached_per_study
def effects(study: StudyRecord, metric: Metric, ranking: tuple[str, ...] = ()) -> Effects:
    """Return the effect of each parameter, of at most MOST_PARAMETERS.

    Args:
        study: The study.
        metric: The metric of the final values.
        ranking: Optuna's names, most important first. Learning rate and batch size come before them.
    """
    declared = searched(study.space)
    ordered = in_order(study.space, study.group_by, ranking)
    # Weights that sum to 1 are one parameter, whose components are shown together or not at all.
    most = list(dict.fromkeys(_declared(name) for name in ordered))[:MOST_PARAMETERS]
    names = [name for name in ordered if _declared(name) in most]
    groups = groups_of(study)
    span = usual_range([t.values[metric.name] for t in study.complete(metric)], metric.direction)
    made = tuple(_effect(study, metric, axis_of(name, declared[name]), groups, span) for name in names)
    return Effects(made, tuple(name for name in declared if name not in names and name != study.group_by))


def _declared(name: str) -> str:
    return name.partition(".")[0]


def _effect(study: StudyRecord, metric: Metric, axis: Axis, groups: Sequence[Group], span: Range) -> Effect:
    made = tuple(_group_effect(group, metric, axis) for group in groups)
    beyond = span.beyond(dot.value for group in made for dot in group.dots)
    return Effect(metric, study.group_by, axis, made, span, beyond)


def _group_effect(group: Group, metric: Metric, axis: Axis) -> GroupEffect:
    by_level: dict[int, list[TrialRecord]] = {}
    dots: list[Dot] = []
    unplaced = 0
    for trial in group.trials:
        level = axis.cell_in(trial.params)
        if level is None:
            unplaced += 1
            continue
        by_level.setdefault(level, []).append(trial)
        if trial.completed(metric):
            parameter = axis.value_in(trial.params)
            dots.append(Dot(trial.number, axis.position_in(level, parameter), parameter, trial.values[metric.name]))
    levels = tuple(_level(by_level.get(level, ()), metric) for level in range(len(axis.labels)))
    return GroupEffect(group.label, levels, tuple(dots), unplaced)


def _level(trials: Sequence[TrialRecord], metric: Metric) -> Level:
    done = tuple(trial for trial in trials if trial.completed(metric))
    finals = [trial.values[metric.name] for trial in done]
    best = best_of(done, metric)
    found = spread(finals)
    return Level(
        n=len(finals),
        mean=None if found is None else found.mean,
        deviation=None if found is None else found.deviation,
        best=None if best is None else (best.number, best.values[metric.name]),
        pruned=sum(trial.state == "PRUNED" for trial in trials),
        failed=sum(trial.state == "FAIL" for trial in trials),
        median=None if found is None else found.median,
        quartiles=None if found is None else found.quartiles,
    )
