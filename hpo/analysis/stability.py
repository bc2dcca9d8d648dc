"""Measure training stability: how much the validation loss still moves at the end of a training.

It is the sample standard deviation (N - 1) of the last min(10, n) epochs. One series of a study's histories is judged,
so that trials compare; another never takes its place silently.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hpo.analysis.cache import cached_per_study
from hpo.analysis.formatting import listed
from hpo.analysis.groups import groups_of
from hpo.analysis.records import StudyRecord, TrialRecord, best_of
from hpo.analysis.summary_statistics import Spread, deviation, spread
from hpo.spec.models import Metric
from hpo.translation.catalogue import mark, tr, trn

WINDOW = 10
# The largest deviation, inclusive, that still has the name.
BANDS = ((mark("excellent"), 0.01), (mark("good"), 0.05), (mark("moderate"), 0.1))
WORST = mark("poor")
WORDS = (*(name for name, _ in BANDS), WORST)


@dataclass(frozen=True)
class Stability:
    """Standard deviation of the last values of a loss.

    Attributes:
        deviation: In the unit of the loss; None when not shown.
        n: Number of values it is of.
        why_not: Why it is not shown; empty otherwise.
    """

    deviation: float | None
    n: int
    why_not: str = ""

    @property
    def word(self) -> str:
        """One of WORDS; empty when not shown."""
        if self.deviation is None:
            return ""
        return next((name for name, limit in BANDS if self.deviation <= limit), WORST)


@dataclass(frozen=True)
class LossSeries:
    """The reported metric that is judged; empty when there is none, and then `why_not` says why."""

    name: str
    why_not: str = ""


@cached_per_study
def loss_series(study: StudyRecord) -> LossSeries:
    """Return `val_loss` if any trial reported it, else the only name in which `loss` comes after `val`.

    Such a name is `validation_loss` or `val_dice_loss`.
    """
    names = dict.fromkeys(name for trial in study.trials for step in trial.history for name in step.metrics)
    if "val_loss" in names:
        return LossSeries("val_loss")
    alike = [name for name in names if "loss" in name.lower().partition("val")[2]]
    if len(alike) == 1:
        return LossSeries(alike[0])
    if alike:
        return LossSeries("", tr("no val_loss was reported, and {names} may each be meant", names=listed(alike)))
    return LossSeries("", tr("no validation loss was reported (val_loss, or one name such as val_dice_loss)"))


def stability(values: Sequence[float]) -> Stability:
    """Return the stability of one trial.

    Args:
        values: Its values of the loss, in the order of its epochs.
    """
    last = values[-WINDOW:]
    n = len(last)
    if n < 2:
        return Stability(None, n, tr("{n} reported, at least 2 needed", n=n))
    odd = sum(not math.isfinite(value) for value in last)
    if odd:
        why = trn(
            "{n} of the last {all} values is not finite", "{n} of the last {all} values are not finite", odd, all=n
        )
        return Stability(None, n, why)
    found = deviation(last)
    if found is None or not math.isfinite(found):
        return Stability(None, n, tr("the last {n} values differ by more than a number can hold", n=n))
    return Stability(found, n)


def stability_of(trial: TrialRecord, series: LossSeries) -> Stability:
    """Return the stability of a trial by the given series."""
    if not series.name:
        return Stability(None, 0, series.why_not)
    if not trial.history:
        return Stability(None, 0, tr("it reported nothing"))
    return stability([value for _, value in trial.series(series.name)])


# --- of all groups


@dataclass(frozen=True)
class Dot:
    """One COMPLETE trial whose stability is known."""

    number: int
    stability: Stability


@dataclass(frozen=True)
class GroupStability:
    """Stability of the trials of one group.

    Attributes:
        group: Label of the group.
        best: The best trial of the group.
        best_stability: Its stability.
        dots: COMPLETE trials whose stability is known.
        spread: Of their deviations; None without any.
        without: Number of COMPLETE trials whose stability is not known.
    """

    group: str
    best: TrialRecord | None
    best_stability: Stability | None
    dots: tuple[Dot, ...]
    spread: Spread | None
    without: int

    def count(self, word: str) -> int:
        """Return the number of trials whose stability has this name."""
        return sum(dot.stability.word == word for dot in self.dots)


@dataclass(frozen=True)
class Stabilities:
    """Stability of all groups of a study."""

    series: LossSeries
    group_by: str | None
    groups: tuple[GroupStability, ...]

    @property
    def deviations(self) -> tuple[float, ...]:
        """Deviations of all trials of all groups."""
        return tuple(
            dot.stability.deviation
            for group in self.groups
            for dot in group.dots
            if dot.stability.deviation is not None
        )


@cached_per_study
def stabilities(study: StudyRecord, metric: Metric) -> Stabilities:
    """Return the stability of each group's best trial by `metric` and of all its COMPLETE trials.

    Pruned trials ended early, where every loss still moves: they are not judged.
    """
    series = loss_series(study)
    groups = []
    for group in groups_of(study):
        trials = tuple(trial for trial in group.trials if trial.completed(metric))
        best = best_of(trials, metric)
        all_of_them = [Dot(trial.number, stability_of(trial, series)) for trial in trials]
        dots = tuple(dot for dot in all_of_them if dot.stability.deviation is not None)
        known = [dot.stability.deviation for dot in dots if dot.stability.deviation is not None]
        groups.append(
            GroupStability(
                group.label,
                best,
                None if best is None else stability_of(best, series),
                dots,
                spread(known),
                len(all_of_them) - len(dots),
            )
        )
    return Stabilities(series, study.group_by, tuple(groups))
