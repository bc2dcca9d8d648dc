"""Compare studies, or trials: what they reached, with what, on which data, and what a test says.

The first side is what the others are compared with: before and after.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hpo.analysis.comparison import Comparison, GroupFinals
from hpo.analysis.differences import Difference, SplitData, configuration_of, differences, split_data
from hpo.analysis.groups import ALL_TRIALS, Group, groups_of
from hpo.analysis.records import StudyRecord, TrialRecord, best_of
from hpo.analysis.stability import Stability, loss_series, stability_of
from hpo.analysis.statistics.power import ALPHA
from hpo.analysis.statistics.two_sample import SURVIVORS, TwoSampleTest, holm_corrected, two_sample_test
from hpo.analysis.summary_statistics import Spread, spread, usual_range
from hpo.analysis.training.curves import Trainings, epochs_to_best, trainings_of
from hpo.spec.models import Metric
from hpo.translation.catalogue import tr

UNKNOWN_STABILITY = Stability(None, 0)


@dataclass(frozen=True)
class Side:
    """One study, or one trial of it. `name`: as it was given, unlike any other side's."""

    name: str
    study: StudyRecord
    trial: TrialRecord | None = None

    @property
    def trials(self) -> tuple[TrialRecord, ...]:
        """Finished trials of the side."""
        return self.study.finished if self.trial is None else (self.trial,)


@dataclass(frozen=True)
class SideFinals:
    """Final values of the COMPLETE trials of a side, and how many trials have finished."""

    side: str
    spread: Spread | None
    finished: int

    @property
    def success(self) -> float | None:
        """Share of COMPLETE trials among the finished ones, 0 to 1; None without any."""
        if not self.finished:
            return None
        return (self.spread.n if self.spread is not None else 0) / self.finished


@dataclass(frozen=True)
class SideBest:
    """One group on one side.

    Attributes:
        side: Name of the side.
        best: The best trial; None where none completed.
        finals: (trial number, final value) of COMPLETE trials.
        finished: Number of finished trials.
        pruned: Number of pruned trials.
        stability: Stability of the best trial.
        epochs: Epochs to the best value of the best trial, and all its epochs (see
            `hpo.analysis.training.curves.epochs_to_best`).
    """

    side: str
    best: TrialRecord | None = None
    finals: tuple[tuple[int, float], ...] = ()
    finished: int = 0
    pruned: int = 0
    stability: Stability = UNKNOWN_STABILITY
    epochs: tuple[int, int] | None = None


@dataclass(frozen=True)
class GroupComparison:
    """One group on every side, in the order of the sides; without a best trial where it was not tried."""

    group: str
    sides: tuple[SideBest, ...]


@dataclass(frozen=True)
class EqualBudget:
    """The best values of one group that all sides have tried, after as much as each side has spent on it.

    Attributes:
        group: Label of the group, or that of all trials.
        trials: Number of finished trials that every side has.
        after_trials: The best final value among that many first trials of each side; None where none completed.
        epochs: Number of epochs that every side has trained; 0 where one reported none.
        after_epochs: The best final value of the trials that ended within that many epochs.
    """

    group: str
    trials: int
    after_trials: tuple[float | None, ...]
    epochs: int
    after_epochs: tuple[float | None, ...]


@dataclass(frozen=True)
class MetricComparison:
    """One metric on all sides.

    Attributes:
        metric: The metric.
        finals: Final values of each side.
        groups: The groups on every side.
        budgets: The best within equal budgets, of all trials first where there are several groups.
        tests: Tests of the groups that several sides have.
        comparison: Final values of every group, a row a side.
    """

    metric: Metric
    finals: tuple[SideFinals, ...]
    groups: tuple[GroupComparison, ...]
    budgets: tuple[EqualBudget, ...]
    tests: tuple[TwoSampleTest, ...]
    comparison: Comparison


@dataclass(frozen=True)
class StudyComparison:
    """Two or more studies, or trials, beside each other.

    Attributes:
        sides: Names of the sides.
        whole: Whether the sides are studies.
        metrics: One comparison for each metric that all sides have.
        other_metrics: Metrics of each side that not all sides have.
        group_by: None where the sides are not grouped by the same parameter.
        data: The data of the best trials, by split.
        differences: Keys of the configuration in which the sides differ.
        series: The loss whose stability is compared; empty where the sides differ in it.
        trainings: Curves of the best trials.
        samplers: Names of the samplers of all sides.
        begun_from: Earlier studies from which each side took configurations that it has tried.
    """

    sides: tuple[str, ...]
    whole: bool
    metrics: tuple[MetricComparison, ...]
    other_metrics: tuple[tuple[str, ...], ...]
    group_by: str | None
    data: tuple[SplitData, ...]
    differences: tuple[Difference, ...]
    series: str
    trainings: Trainings | None
    samplers: tuple[str, ...]
    begun_from: tuple[tuple[str, ...], ...]


def common_metrics(sides: Sequence[Side]) -> tuple[Metric, ...]:
    """Return the metrics with one name and direction on every side, in the order of the first side."""
    return tuple(m for m in sides[0].study.metrics if all(m in side.study.metrics for side in sides))


def compare_sides(sides: Sequence[Side]) -> StudyComparison:
    """Compare at least two sides that have a metric in common and are all studies or all trials."""
    metrics = common_metrics(sides)
    names = {side.study.group_by for side in sides}
    group_by = names.pop() if len(names) == 1 else None
    sides = [replace(side, study=replace(side.study, group_by=group_by)) for side in sides]
    series = {loss_series(side.study).name for side in sides}
    loss = series.pop() if len(series) == 1 else ""
    by_metric = tuple(_metric_comparison(sides, metric, group_by, loss) for metric in metrics)
    first = by_metric[0]
    return StudyComparison(
        sides=tuple(side.name for side in sides),
        whole=sides[0].trial is None,
        metrics=by_metric,
        other_metrics=tuple(tuple(m.name for m in side.study.metrics if m not in metrics) for side in sides),
        group_by=group_by,
        data=split_data([(side.study, _best_trials(first, k)) for k, side in enumerate(sides)]),
        differences=differences([configuration_of(side.study, side.trial) for side in sides]),
        series=loss,
        trainings=trainings_of(_best_trainings(first), first.metric, metrics, group_by),
        samplers=tuple(dict.fromkeys(name for side in sides for name in side.study.samplers)),
        begun_from=tuple(_begun_from(side) for side in sides),
    )


def _begun_from(side: Side) -> tuple[str, ...]:
    return tuple(dict.fromkeys(trial.warm.study for trial in side.trials if trial.warm is not None))


def _metric_comparison(sides: Sequence[Side], metric: Metric, group_by: str | None, loss: str) -> MetricComparison:
    finals = []
    by_side: list[dict[str, SideBest]] = []
    for side in sides:
        values = [trial.values[metric.name] for trial in side.trials if trial.completed(metric)]
        finals.append(SideFinals(side.name, spread(values), len(side.trials)))
        by_side.append(_groups(side, metric, loss))
    labels = dict.fromkeys(group for groups in by_side for group in groups)
    groups = tuple(
        GroupComparison(
            group, tuple(own.get(group, SideBest(side.name)) for side, own in zip(sides, by_side, strict=True))
        )
        for group in labels
    )
    whole = sides[0].trial is None
    budgets, tests = (_budgets(sides, metric), _tests(groups)) if whole else ((), ())
    return MetricComparison(metric, tuple(finals), groups, budgets, tests, _comparison(metric, group_by, groups))


def _budgets(sides: Sequence[Side], metric: Metric) -> tuple[EqualBudget, ...]:
    by_side = [{group.label: group.trials for group in groups_of(side.study)} for side in sides]
    shared = [label for label in by_side[0] if all(own.get(label) for own in by_side)]
    rows = [(label, [own[label] for own in by_side]) for label in shared]
    if len(rows) != 1 and all(side.trials for side in sides):
        rows.insert(0, (tr(ALL_TRIALS), [side.trials for side in sides]))
    return tuple(_equal_budget(label, tried, metric) for label, tried in rows)


def _equal_budget(group: str, sides: Sequence[Sequence[TrialRecord]], metric: Metric) -> EqualBudget:
    trials = min(map(len, sides))
    epochs = min(sum(trial.steps for trial in side) for side in sides)
    first = [side[:trials] for side in sides]
    within = [_within(side, epochs) for side in sides] if epochs else []
    after_trials, after_epochs = (tuple(_best_value(own, metric) for own in spent) for spent in (first, within))
    return EqualBudget(group, trials, after_trials, epochs, after_epochs)


def _within(trials: Sequence[TrialRecord], epochs: int) -> list[TrialRecord]:
    """Return the first trials that took no more than so many epochs together."""
    spent = itertools.accumulate(trial.steps for trial in trials)
    return [trial for trial, sum_of_epochs in zip(trials, spent, strict=True) if sum_of_epochs <= epochs]


def _best_value(trials: Sequence[TrialRecord], metric: Metric) -> float | None:
    best = best_of(tuple(trial for trial in trials if trial.completed(metric)), metric)
    return None if best is None else best.values[metric.name]


def _groups(side: Side, metric: Metric, loss: str) -> dict[str, SideBest]:
    """Return the groups of a study that were tried; a trial is a group of its own."""
    groups = groups_of(side.study) if side.trial is None else (Group(ALL_TRIALS, (side.trial,)),)
    found = {}
    for group in groups:
        if not group.trials:
            continue
        done = tuple(trial for trial in group.trials if trial.completed(metric))
        best = best_of(done, metric) if side.trial is None else side.trial
        stability = UNKNOWN_STABILITY if best is None or not loss else stability_of(side.study, best)
        epochs = None if best is None else epochs_to_best(side.study, best, metric)
        finals = tuple((trial.number, trial.values[metric.name]) for trial in done)
        pruned = sum(trial.state == "PRUNED" for trial in group.trials)
        found[group.label] = SideBest(side.name, best, finals, len(group.trials), pruned, stability, epochs)
    return found


def _row_name(own: SideBest, group: GroupComparison, groups: Sequence[GroupComparison]) -> str:
    """Return the side, with the group where there are several."""
    return own.side if len(groups) == 1 else f"{own.side}: {group.group}"


def _comparison(metric: Metric, group_by: str | None, groups: Sequence[GroupComparison]) -> Comparison:
    rows = tuple(
        GroupFinals(_row_name(own, group, groups), own.finals, spread([value for _, value in own.finals]), own.finished)
        for group in groups
        for own in group.sides
    )
    values = [value for row in rows for _, value in row.finals]
    shown = usual_range(values, metric.direction)
    return Comparison(metric, group_by, rows, shown, shown.beyond(values))


def _tests(groups: Sequence[GroupComparison]) -> tuple[TwoSampleTest, ...]:
    """Test the first side against each other one, in every group that both have tried.

    Complete trials are what pruning left: where it left a larger share of one side than of the other, there is no test.
    """
    tests = []
    for group in groups:
        before = group.sides[0]
        for after in group.sides[1:]:
            if not (before.finals and after.finals):
                continue
            if _unlike_pruned(before, after):
                sizes = len(before.finals), len(after.finals)
                tests.append(TwoSampleTest(group.group, before.side, after.side, *sizes, why_not=SURVIVORS))
            else:
                values = ([value for _, value in side.finals] for side in (before, after))
                tests.append(two_sample_test(group.group, before.side, after.side, *values))
    return holm_corrected(tests)


def _unlike_pruned(one: SideBest, other: SideBest) -> bool:
    """Return True if the shares of pruned trials differ by Fisher's exact test."""
    from scipy.stats import fisher_exact

    table = [[side.pruned, side.finished - side.pruned] for side in (one, other)]
    return float(fisher_exact(table).pvalue) < ALPHA


def _best_trainings(found: MetricComparison) -> list[tuple[str, TrialRecord]]:
    """Return the best trials of every side, by group, that have a history."""
    return [
        (_row_name(own, group, found.groups), own.best)
        for group in found.groups
        for own in group.sides
        if own.best is not None and own.best.history
    ]


def _best_trials(found: MetricComparison, side: int) -> list[TrialRecord]:
    """Return the best trials of one side: their values and curves are what is compared."""
    bests = (group.sides[side].best for group in found.groups)
    return [trial for trial in bests if trial is not None]
