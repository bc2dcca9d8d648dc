"""Measure training stability: how much the validation loss still moves once a training has settled.

The deviation is the sample standard deviation (N - 1) of the last min(10, n) epochs. It is in the unit of the loss, and
of a loss that still falls it is that of the fall. So the words are of another number: the spread of the last 10 epochs
around their trend, as a share of what the training gained. They are given only when the best is 10 epochs ago, and
never contradict the diagnosis. One series of a study's histories is judged, so that trials compare; another never takes
its place silently.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hpo.analysis.cache import cached_per_study
from hpo.analysis.density import MOST_DOTS, Density, density, edges
from hpo.analysis.formatting import listed
from hpo.analysis.groups import groups_of
from hpo.analysis.records import StudyRecord, TrialRecord, best_of
from hpo.analysis.summary_statistics import Range, Spread, deviation, spread, usual_range
from hpo.analysis.training.series import judged_loss
from hpo.analysis.training.verdict import verdict_of
from hpo.curves import predicates, shape
from hpo.curves.metric_names import without_split
from hpo.spec.models import Metric
from hpo.translation.catalogue import mark, tr, trn

WINDOW = 10
# Epochs that a training must have after its best, or after it last improved by more than its noise.
SETTLED = 10
# The largest spread, inclusive, that still has the name, as a share of the gain. The diagnosis calls a training noisy
# from the last of them on.
BANDS = ((mark("excellent"), 0.01), (mark("good"), 0.05), (mark("moderate"), predicates.NOISY))
WORST = mark("poor")
HALF_STRIP = 0.28  # of the height of a group's row
COLUMNS = 80  # of a density
_AT_THE_END = 3  # epochs: a curve whose best is later still descends
WORDS = (*(name for name, _ in BANDS), WORST)


@dataclass(frozen=True, slots=True)
class Stability:
    """Numbers on how much a loss moved at the end.

    Attributes:
        deviation: Standard deviation of its last values, in the unit of the loss; None when not shown.
        n: Number of values it is of.
        why_not: Why it is not shown; empty otherwise.
        spread: Standard deviation of the last WINDOW values around their trend, as a share of the gain; None without a
            word.
        word: One of WORDS; empty when there is none.
        no_word: Why there is no word; empty otherwise.
    """

    deviation: float | None
    n: int
    why_not: str = ""
    spread: float | None = None
    word: str = ""
    no_word: str = ""


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
    names = dict.fromkeys(name for trial in study.trials for name in trial.reported)
    if "val_loss" in names:
        return LossSeries("val_loss")
    alike = [name for name in names if "loss" in name.lower().partition("val")[2]]
    if len(alike) == 1:
        return LossSeries(alike[0])
    if alike:
        return LossSeries("", tr("no val_loss was reported, and {names} may each be meant", names=listed(alike)))
    return LossSeries("", tr("no validation loss was reported (val_loss, or one name such as val_dice_loss)"))


def stability(values: Sequence[float]) -> Stability:
    """Return the deviation of one trial, without a word.

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


def stability_of(study: StudyRecord, trial: TrialRecord) -> Stability:
    """Return the stability of a trial by the loss of its study (see `loss_series`)."""
    series = loss_series(study)
    if not series.name:
        return Stability(None, 0, series.why_not)
    if not trial.history:
        return Stability(None, 0, tr("it reported nothing"))
    found = stability([value for _, value in trial.series(series.name)])
    if found.deviation is None:
        return found
    return with_word(
        found, word_series(study, trial, series.name), verdict_of(study, trial) if trial.finished else "none"
    )


def word_series(study: StudyRecord, trial: TrialRecord, loss: str) -> list[float]:
    """Return the values that the word is of, lower is better.

    A loss that is scaled by GHM hardly moves. Then it is the original loss, or the study's metric, if that was
    reported.
    """
    names = trial.reported
    metric = study.metrics[0]
    # The same loss as the diagnosis judges by, or the two could contradict each other.
    original = f"val_{judged_loss(names, without_split(loss))}"
    if original != loss and original in names:
        return [value for _, value in trial.series(original)]
    if metric.name in names and any(name.startswith("train_ghm_") for name in names):
        sign = -1 if metric.direction == "maximize" else 1
        return [sign * value for _, value in trial.series(metric.name)]
    return [value for _, value in trial.series(loss)]


def with_word(found: Stability, values: Sequence[float], verdict: str) -> Stability:
    """Return a stability with its word, or with why it has none.

    Args:
        found: The stability without a word.
        values: The series that the word is of, lower is better.
        verdict: The verdict of the diagnosis on the training.
    """
    known = bool(values) and all(math.isfinite(value) for value in values)
    curve = shape.shape_of(values) if known else None
    why = _why_no_word(curve, verdict)
    if curve is None or why:
        return Stability(found.deviation, found.n, no_word=why)
    share = _spread_of_gain(values[-WINDOW:], curve.gain)
    word = next((name for name, limit in BANDS if share <= limit), WORST)
    # Two estimates of one noise may fall on either side of a limit.
    if verdict == "noisy":
        word = WORST
    elif verdict == "healthy" and word == WORST:
        word = BANDS[-1][0]
    return Stability(found.deviation, found.n, spread=share, word=word)


def _why_no_word(curve: shape.Shape | None, verdict: str) -> str:
    if verdict == "diverged":
        return tr("it diverged")
    if verdict == "collapsed":
        return tr("it collapsed")
    if curve is None:
        return tr("not all values are finite")
    if not curve.moved or not math.isfinite(curve.gain):
        return tr("no gain beyond its noise")
    after = curve.n - 1 - min(curve.low_at, predicates.last_improvement(curve))
    if after >= SETTLED:
        return ""
    if predicates.improving(curve) is not None or after < _AT_THE_END:
        return tr("still descending")
    return trn(
        "{n} epoch after its best, {least} needed", "{n} epochs after its best, {least} needed", after, least=SETTLED
    )


def _spread_of_gain(values: Sequence[float], gain: float) -> float:
    """Return the standard deviation (N - 2) of values around their Theil-Sen line, as a share of the gain."""
    from scipy.stats import theilslopes

    with np.errstate(all="ignore"):
        scaled = np.asarray(values) / gain
        if not np.isfinite(scaled).all():
            return math.inf
        line = theilslopes(scaled)
        rest = scaled - line.intercept - line.slope * np.arange(len(scaled))
        share = float(np.sqrt(rest @ rest / (len(rest) - 2)))
    return share if math.isfinite(share) else math.inf


# --- of all groups


@dataclass(frozen=True, slots=True)
class Dot:
    """One COMPLETE trial whose deviation is known."""

    number: int
    stability: Stability


@dataclass(frozen=True)
class GroupStability:
    """Stability of the trials of one group.

    Attributes:
        group: Label of the group.
        best: The best trial of the group.
        best_stability: Its stability.
        dots: COMPLETE trials whose deviation is known.
        spread: Of their deviations; None without any.
        without: Number of COMPLETE trials whose deviation is not known.
    """

    group: str
    best: TrialRecord | None
    best_stability: Stability | None
    dots: tuple[Dot, ...]
    spread: Spread | None
    without: int

    def count(self, word: str) -> int:
        """Return the number of trials with this word; the empty one is that of trials without a word."""
        return sum(dot.stability.word == word for dot in self.dots)


@dataclass(frozen=True)
class Stabilities:
    """Stability of all groups of a study."""

    series: LossSeries
    group_by: str | None
    groups: tuple[GroupStability, ...]

    @property
    def spreads(self) -> tuple[float, ...]:
        """Spreads of all trials of all groups that have a word."""
        known = (dot.stability.spread for group in self.groups for dot in group.dots)
        return tuple(spread for spread in known if spread is not None)

    @property
    def span(self) -> tuple[float, float]:
        """The ends of an axis of decimal logarithms: all four bands, and all spreads but extreme ones."""
        logs = [math.log10(value) for value in self.spreads if value > 0]
        usual = usual_range(logs, "minimize") if logs else Range(-2.0, -1.0)
        low, high = usual.low or 0.0, usual.high or 0.0
        return min(low, -2.5) - 0.15, max(high, -0.5) + 0.15

    def densities(self) -> tuple[Density, ...]:
        """Return the density of each group over that axis, in a row of its own; none of few dots."""
        if len(self.spreads) <= MOST_DOTS:
            return ()
        span = self.span
        across = edges(*span, COLUMNS)
        return tuple(
            density(
                ((place(dot, span), row) for dot in group.dots if dot.stability.word),
                across,
                (row - HALF_STRIP, row + HALF_STRIP),
            )
            for row, group in enumerate(self.groups)
        )


def place(dot: Dot, span: tuple[float, float]) -> float:
    """Return where a dot lies on the axis of decimal logarithms; one beyond it, or of no spread, lies on its edge."""
    spread = dot.stability.spread
    return round(min(math.log10(spread), span[1]), 4) if spread else span[0]


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
        all_of_them = [Dot(trial.number, stability_of(study, trial)) for trial in trials]
        dots = tuple(dot for dot in all_of_them if dot.stability.deviation is not None)
        known = [dot.stability.deviation for dot in dots if dot.stability.deviation is not None]
        groups.append(
            GroupStability(
                group.label,
                best,
                next((dot.stability for dot in all_of_them if best is not None and dot.number == best.number), None),
                dots,
                spread(known),
                len(all_of_them) - len(dots),
            )
        )
    return Stabilities(series, study.group_by, tuple(groups))
