"""Studies, or trials, beside each other: what they reached, with what, on which data, and what a test says.

The first is what the others are compared with: before and after."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hpo import layout
from hpo.analysis.comparison import Comparison, GroupFinals
from hpo.analysis.formatting import label
from hpo.analysis.groups import ALL_TRIALS, Group, groups_of
from hpo.analysis.records import StudyRecord, TrialRecord, best_of
from hpo.analysis.stability import Stability, loss_series, stability_of
from hpo.analysis.statistics.multiple_testing import holm
from hpo.analysis.statistics.pairwise import hedges_g, scaled, small_sample
from hpo.analysis.statistics.power import ALPHA, needed_per_side
from hpo.analysis.summary_statistics import Spread, spread, usual_range
from hpo.analysis.training.curves import Trainings, epochs_to_best, trainings_of
from hpo.spec.models import Metric, StudySpec
from hpo.spec.wording import algorithm_text

# What must not be missed before a test is shown: Cohen's d of 2, which is a partial eta squared of 0.5 between two
# groups of one size (see hpo.analysis.statistics.power).
LARGE_DIFFERENCE = 2.0
NOTHING = Stability(None, 0)
WELCH, MANN_WHITNEY = "Welch", "Mann-Whitney"
# Keys of study.yaml that say where and how a study ran, not what it did.
NOT_COMPARED = ("name", "root", "engine", "storage", "mlflow", "checkpoints", "constants", "search_space")


@dataclass(frozen=True)
class Side:
    """One study, or one trial of it. `name`: as it was given, unlike any other side's."""

    name: str
    study: StudyRecord
    trial: TrialRecord | None = None

    @property
    def trials(self) -> tuple[TrialRecord, ...]:
        """Finished ones."""
        return self.study.finished if self.trial is None else (self.trial,)


@dataclass(frozen=True)
class SideFinals:
    """Of a side's finished trials: final values of the COMPLETE ones, and their share."""

    side: str
    spread: Spread | None
    finished: int

    @property
    def success(self) -> float | None:
        if not self.finished:
            return None
        return (self.spread.n if self.spread is not None else 0) / self.finished


@dataclass(frozen=True)
class SideBest:
    """A group on one side: its best trial, None where none completed; the final values of its COMPLETE trials, as
    (trial number, value), of so many `finished` ones; the stability of the best, and its epochs to best, of how many
    (see hpo.analysis.training.curves.epochs_to_best)."""

    side: str
    best: TrialRecord | None = None
    finals: tuple[tuple[int, float], ...] = ()
    finished: int = 0
    stability: Stability = NOTHING
    epochs: tuple[int, int] | None = None


@dataclass(frozen=True)
class GroupComparison:
    """One group on every side, in the order of the sides; not tried on a side: without a best trial."""

    group: str
    sides: tuple[SideBest, ...]


@dataclass(frozen=True)
class TwoSampleTest:
    """`after` less `before` within a group: the difference of means with its 95 % interval, p corrected for the
    number of tests by Holm, Hedges' g with its 95 % interval (None without any scatter, or of ranks); of ranks `a`
    instead, the probability that a value of `after` is above one of `before`, equals counting half (Vargha and
    Delaney, Journal of Educational and Behavioral Statistics 25, 2000). `method`: WELCH unless values lie far outside.
    Where there are too few values `needed` on each side says how many, and nothing else is known."""

    group: str
    before: str
    after: str
    n_before: int
    n_after: int
    method: str = ""
    difference: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    g: float | None = None
    g_low: float | None = None
    g_high: float | None = None
    a: float | None = None
    needed: int = 0

    __test__ = False  # no test of pytest's


@dataclass(frozen=True)
class MetricComparison:
    """`comparison`: every group's final values, a row a side."""

    metric: Metric
    finals: tuple[SideFinals, ...]
    groups: tuple[GroupComparison, ...]
    tests: tuple[TwoSampleTest, ...]
    comparison: Comparison


@dataclass(frozen=True)
class Difference:
    """A key whose value is not the same on all sides; an em dash where it is absent."""

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class SplitData:
    """What is known of the data of one split. `samples`: of each side, None where unknown. `same`: None where a side
    recorded no fingerprint."""

    split: str
    samples: tuple[int | None, ...]
    same: bool | None


@dataclass(frozen=True)
class StudyComparison:
    """`other_metrics`: of each side those that not all have in common. `group_by`: None where the sides are not
    grouped by the same parameter. `series`: the loss whose stability is compared, empty where the sides differ in it.
    `whole`: sides are studies."""

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


def common_metrics(sides: Sequence[Side]) -> tuple[Metric, ...]:
    """Of the same name and direction on every side, in the order of the first."""
    return tuple(m for m in sides[0].study.metrics if all(m in side.study.metrics for side in sides))


def compare_sides(sides: Sequence[Side]) -> StudyComparison:
    """Of at least two sides that have a metric in common and are all studies or all trials."""
    metrics = common_metrics(sides)
    names = {side.study.group_by for side in sides}
    group_by = names.pop() if len(names) == 1 else None
    sides = [replace(side, study=replace(side.study, group_by=group_by)) for side in sides]
    series = {loss_series(side.study).name for side in sides}
    loss = series.pop() if len(series) == 1 else ""
    by_metric = tuple(_of_metric(sides, metric, group_by, loss) for metric in metrics)
    other = tuple(tuple(m.name for m in side.study.metrics if m not in metrics) for side in sides)
    return StudyComparison(
        sides=tuple(side.name for side in sides),
        whole=sides[0].trial is None,
        metrics=by_metric,
        other_metrics=other,
        group_by=group_by,
        data=_data(sides, by_metric[0]),
        differences=_differences(sides),
        series=loss,
        trainings=_trainings(by_metric[0], metrics, group_by),
        samplers=tuple(side.study.spec.sampler.name if side.study.spec is not None else "" for side in sides),
    )


# --- what was reached


def _of_metric(sides: Sequence[Side], metric: Metric, group_by: str | None, loss: str) -> MetricComparison:
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
    tests = _tests(groups) if sides[0].trial is None else ()
    return MetricComparison(metric, tuple(finals), groups, tests, _comparison(metric, group_by, groups))


def _groups(side: Side, metric: Metric, loss: str) -> dict[str, SideBest]:
    """Of a study the groups that were tried; a trial is a group of its own, whatever it is."""
    groups = groups_of(side.study) if side.trial is None else (Group(ALL_TRIALS, (side.trial,)),)
    found = {}
    for group in groups:
        done = tuple(trial for trial in group.trials if trial.completed(metric))
        best = best_of(done, metric) if side.trial is None else side.trial
        steady = NOTHING if best is None or not loss else stability_of(best, loss_series(side.study))
        finals = tuple((trial.number, trial.values[metric.name]) for trial in done)
        if group.trials:
            epochs = None if best is None else epochs_to_best(side.study, best, metric)
            found[group.label] = SideBest(side.name, best, finals, len(group.trials), steady, epochs)
    return found


def _comparison(metric: Metric, group_by: str | None, groups: Sequence[GroupComparison]) -> Comparison:
    rows = tuple(
        GroupFinals(
            own.side if len(groups) == 1 else f"{own.side}: {group.group}",
            own.finals,
            spread([value for _, value in own.finals]),
            own.finished,
        )
        for group in groups
        for own in group.sides
    )
    values = [value for row in rows for _, value in row.finals]
    shown = usual_range(values, metric.direction)
    return Comparison(metric, group_by, rows, shown, shown.beyond(values))


# --- tests


def _tests(groups: Sequence[GroupComparison]) -> tuple[TwoSampleTest, ...]:
    """Of the first side against each other one, in every group that both have tried."""
    enough = needed_per_side(LARGE_DIFFERENCE)
    made = []
    for group in groups:
        before = group.sides[0]
        for after in group.sides[1:]:
            if not before.finals or not after.finals:
                continue
            sizes = (len(before.finals), len(after.finals))
            named = (group.group, before.side, after.side, *sizes)
            values = [value for own in (before, after) for _, value in own.finals]
            if min(sizes) < enough or min(values) == max(values):
                made.append(TwoSampleTest(*named, needed=enough))
            else:
                made.append(_test(named, values))
    return _holm(made)


def _test(named: tuple[str, str, str, int, int], values: Sequence[float]) -> TwoSampleTest:
    """Welch's, since two searches have no reason to scatter alike; by ranks where a value lies beyond its side's far
    fences (Tukey's), as a diverged training's does, since a mean then says nothing of the others."""
    from scipy.stats import mannwhitneyu, ttest_ind

    y, scale = scaled(values)
    a, b = y[: named[3]], y[named[3] :]
    difference = float(b.mean() - a.mean())
    if _far_out(a.tolist()) or _far_out(b.tolist()) or a.var() + b.var() == 0:
        found = mannwhitneyu(b, a)
        above = float(found.statistic) / (len(a) * len(b))
        return TwoSampleTest(*named, method=MANN_WHITNEY, difference=difference * scale, p=float(found.pvalue), a=above)
    welch = ttest_ind(b, a, equal_var=False)
    interval = welch.confidence_interval(1 - ALPHA)
    g = hedges_g(b, a)
    g_low, g_high = (None, None) if g is None else g_interval(g, len(b), len(a))
    return TwoSampleTest(
        *named,
        method=WELCH,
        difference=difference * scale,
        low=float(interval.low) * scale,
        high=float(interval.high) * scale,
        p=float(welch.pvalue),
        g=g,
        g_low=g_low,
        g_high=g_high,
    )


def _far_out(values: Sequence[float]) -> bool:
    return any(usual_range(values, direction).beyond(values) for direction in ("maximize", "minimize"))


def g_interval(g: float, n: int, m: int) -> tuple[float, float]:
    """95 % interval of Hedges' g between samples of n and m, by its variance in large samples,
    J^2 ((n + m) / (n m) + d^2 / (2 (n + m - 2))) with d = g / J (Hedges and Olkin, "Statistical Methods for
    Meta-Analysis", 1985, chapter 5)."""
    from scipy.stats import norm

    j = small_sample(n + m - 2)
    error = j * math.sqrt((n + m) / (n * m) + (g / j) ** 2 / (2 * (n + m - 2)))
    reach = float(norm.isf(ALPHA / 2)) * error
    return g - reach, g + reach


def _holm(tests: Sequence[TwoSampleTest]) -> tuple[TwoSampleTest, ...]:
    """Each p corrected for the number of tests."""
    made = [k for k, test in enumerate(tests) if test.method]
    corrected = list(tests)
    for k, p in zip(made, holm([tests[k].p for k in made]), strict=True):
        corrected[k] = replace(tests[k], p=p)
    return tuple(corrected)


# --- training


def _trainings(found: MetricComparison, metrics: Sequence[Metric], group_by: str | None) -> Trainings | None:
    """The best trials of every side, by group, on axes that all share."""
    trials = []
    for group in found.groups:
        for own in group.sides:
            if own.best is not None and own.best.history:
                name = own.side if len(found.groups) == 1 else f"{own.side}: {group.group}"
                trials.append((name, own.best))
    return trainings_of(trials, found.metric, metrics, group_by)


# --- data


def _data(sides: Sequence[Side], found: MetricComparison) -> tuple[SplitData, ...]:
    """Of the best trials, whose values and curves are what is compared."""
    bests = [[group.sides[k].best for group in found.groups] for k in range(len(sides))]
    recorded = [
        [_recorded(side.study, trial) for trial in own if trial is not None]
        for side, own in zip(sides, bests, strict=True)
    ]
    splits = []
    for split in ("train", "val"):
        prints = [{str(one.get(split, {}).get("sha256", "")) for one in own} for own in recorded]
        known = all(own and "" not in own for own in prints)
        same = len(set().union(*prints)) == 1 if known else None
        samples = tuple(
            _samples(split, own, [trial for trial in trials if trial is not None])
            for own, trials in zip(recorded, bests, strict=True)
        )
        splits.append(SplitData(split, samples, same))
    return tuple(splits)


def _recorded(study: StudyRecord, trial: TrialRecord) -> dict[str, dict[str, Any]]:
    """data.json of a trial; nothing where it is not there or not of that form."""
    try:
        path = layout.trial_directory(study.directory, trial.number) / layout.DATA
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    splits = data.items() if isinstance(data, dict) else ()
    return {str(split): one for split, one in splits if isinstance(one, dict)}


def _samples(split: str, recorded: Sequence[Mapping[str, Any]], trials: Sequence[TrialRecord]) -> int | None:
    """How many samples there are: as recorded, else as an epoch reported; None where trials differ."""
    found = {one.get(split, {}).get("samples") for one in recorded} - {None}
    found = found or {trial.last(f"{split}_samples") for trial in trials} - {None}
    value = found.pop() if len(found) == 1 else None
    return int(value) if isinstance(value, (int, float)) else None


# --- configuration


def _differences(sides: Sequence[Side]) -> tuple[Difference, ...]:
    flat = [_decided(side) for side in sides]
    keys = dict.fromkeys(itertools.chain.from_iterable(flat))
    rows = ((key, tuple(own.get(key, "—") for own in flat)) for key in keys)
    return tuple(Difference(key, values) for key, values in rows if len(set(values)) > 1)


def _decided(side: Side) -> dict[str, str]:
    """What was decided, as texts, nested keys joined by points; of a trial also its parameters."""
    found: dict[str, str] = {}
    if side.trial is not None:
        found |= {key: label(value) for key, value in _flat(side.trial.params).items()}
    spec = side.study.spec
    if spec is None:
        return found
    if side.trial is None:
        found |= _searched(spec)
    found |= {key: label(value) for key, value in _flat(spec.constants).items()}
    found["sampler"] = algorithm_text(spec.sampler)
    found["pruner"] = algorithm_text(spec.pruner)
    rest = {key: value for key, value in spec.data().items() if key not in (*NOT_COMPARED, "sampler", "pruner")}
    return found | {key: label(value) for key, value in _flat(rest).items()}


def _searched(spec: StudySpec) -> dict[str, str]:
    found: dict[str, str] = {}
    for parameter in spec.space.walk():
        key = f"search_space.{parameter.full_name}"
        found[key] = parameter.distribution
    return found


def _flat(data: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            found |= _flat(value, f"{before}{key}.")
        else:
            found[f"{before}{key}"] = value
    return found
