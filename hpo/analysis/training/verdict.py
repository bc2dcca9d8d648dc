"""Judge one training by its losses and by the metric that counts, with the numbers that led to the verdict.

The losses are judged first: by the original loss where one is recorded beside a reweighted one, which hardly moves by
construction. Then the metric has its say: a verdict of the losses that it contradicts does not stand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from hpo.analysis.records import StudyRecord, TrialRecord
from hpo.analysis.training.answers import Threshold, Unmoved, unmoved, without_skill
from hpo.analysis.training.series import (
    Points,
    epochs_of,
    finite,
    judged_loss,
    main_metric,
    names_of,
    series_of,
    shape_of_points,
    total_of,
)
from hpo.analysis.training.training_log import TrainingLog
from hpo.curves import predicates, shape, skill
from hpo.curves.metric_names import is_loss, without_split

# A validation loss beyond this multiple of where it began has diverged, whatever the training loss does.
OUT_OF_BOUNDS = 10
VERDICTS = ("healthy", "overfitting", "plateau", "diverged", "collapsed", "threshold", "metric", "noisy", "none")

# By study and trial: they are the same in every language.
_VERDICTS: WeakKeyDictionary[StudyRecord, dict[int, str]] = WeakKeyDictionary()

Evidence = (
    predicates.NonFinite
    | predicates.Diverged
    | skill.Collapsed
    | Threshold
    | Unmoved
    | predicates.Overfitting
    | predicates.Noisy
    | predicates.Plateau
    | predicates.Flat
    | predicates.Improving
)


@dataclass(frozen=True)
class Judgement:
    """The verdict on one training.

    Attributes:
        verdict: One of VERDICTS.
        series: The metric judged; empty where there is none.
        evidence: What led to the verdict. Of `healthy` it is what still improves, or None; of `none` it is a Flat, or
            None where there are too few epochs.
        epochs: The epochs of the values that the places in the evidence count.
        train: The training loss beside it, if any.
        sign: -1 if the values in the evidence are the negatives of those of the series, of which more is better.
    """

    verdict: str
    series: str
    evidence: Evidence | None
    epochs: tuple[int, ...]
    train: str = ""
    sign: int = 1

    def epoch(self, at: int) -> int:
        """Return the epoch of a place in the evidence."""
        return self.epochs[at]


def judge(log: TrainingLog) -> Judgement:
    """Return the verdict alone, which is much faster than a diagnosis."""
    series = series_of(log)
    return judge_series(log, series, total_of(series))


def verdicts(study: StudyRecord) -> Mapping[int, str]:
    """Return the verdict of every finished trial that reported anything, by trial number."""
    return {trial.number: verdict_of(study, trial) for trial in study.finished if trial.history}


def verdict_of(study: StudyRecord, trial: TrialRecord) -> str:
    """Return the verdict on a trial that reported something, which is judged once.

    Whatever else is said of a training must agree with it. Arrays are not read: a verdict does not need them.
    """
    known = _VERDICTS.setdefault(study, {})
    if trial.number not in known:
        log = TrainingLog("", trial.history, trial.params, study.metrics[0], trial.state)
        known[trial.number] = judge(log).verdict
    return known[trial.number]


# --- the verdict


def judge_series(log: TrainingLog, series: Mapping[str, Points], loss: str) -> Judgement:
    """Return the verdict on a training.

    Args:
        log: The training.
        series: Its metrics (see `series_of`).
        loss: Name of the total loss, without split.
    """
    metric, direction = main_metric(log, series, loss)
    sign = -1 if direction == "maximize" else 1
    judged = judged_loss(series, loss)
    names = names_of(series, judged)
    is_metric = metric != "" and not is_loss(metric) and without_split(metric) not in (loss, judged)
    if not any(names):
        if not metric:
            return Judgement("none", "", None, ())
        of_values = broken(series[metric], metric)
        return of_values or _of_answers(log, series, metric) or judge_metric(series, metric, sign)
    train, val = (series.get(name, ()) for name in names)
    of_total = [broken(series.get(name, ()), name) for name in (*names_of(series, loss), *names)]
    if found := next((one for one in of_total if one is not None), None):
        return found
    by_metric = judge_metric(series, metric, sign) if is_metric else None
    kept = by_metric is not None and _kept(series[metric], sign)
    found = judge_losses(finite(train), finite(val), *names, only_divergence=True)
    if found is not None and not (kept and found.series == names[1] and train):
        return found
    found = _of_answers(log, series, metric) or _stuck_loss(series, names[0] if train else names[1])
    if found is not None:
        return found
    by_loss = judge_losses(finite(train), finite(val), *names, bounded=not kept)
    assert by_loss is not None
    if by_metric is None:
        return by_loss
    if (stands := unmoved(series, names, metric, sign)) is not None:
        return Judgement("metric", metric, stands, epochs_of(finite(series[metric])))
    return _together(by_loss, by_metric, series[metric], sign)


def _of_answers(log: TrainingLog, series: Mapping[str, Points], metric: str) -> Judgement | None:
    found = without_skill(log, series, metric)
    if found is None:
        return None
    word = "threshold" if isinstance(found.evidence, Threshold) else "collapsed"
    return Judgement(word, found.name, found.evidence, epochs_of(series[found.name]))


def judge_metric(series: Mapping[str, Points], metric: str, sign: int) -> Judgement:
    """Return the verdict on a metric alone, as if it were a loss; `sign`: -1 if more is better.

    A metric may have no number in some epochs, as an AUC without positives; that is no divergence.
    """
    train, _ = names_of(series, without_split(metric))
    beside = () if train == metric else series.get(train, ())
    found = judge_losses(finite(beside), finite(series[metric]), train, metric, sign)
    assert found is not None
    return found


def _kept(points: Points, sign: int) -> bool:
    """Return True if a metric clearly improved, and kept at least half of it to the end."""
    curve = shape_of_points(points, sign)
    return curve is not None and curve.n >= predicates.FEWEST and curve.moved and curve.end - curve.low < curve.gain / 2


def _together(by_loss: Judgement, by_metric: Judgement, points: Points, sign: int) -> Judgement:
    """Return the verdict of the losses, unless the metric contradicts it; then that of the metric."""
    curve = shape_of_points(points, sign)
    if curve is None or curve.n < predicates.FEWEST:
        return by_loss
    # More epochs are worth it only if the metric gains too.
    well = Judgement("healthy", by_loss.series, None, by_loss.epochs, by_loss.train)
    if not curve.moved:
        return well if by_loss.verdict == "healthy" else by_loss
    if by_metric.verdict == "plateau" and _gained_after(by_metric, by_metric, curve):
        by_metric = Judgement("healthy", by_metric.series, predicates.improving(curve), by_metric.epochs, sign=sign)
    word, own = by_loss.verdict, by_metric.verdict
    if word == "noisy":
        return by_loss
    if word == "diverged":
        return by_metric if own in ("healthy", "plateau") else by_loss
    if isinstance(by_loss.evidence, (predicates.Overfitting, predicates.Plateau)):
        other = _gained_after(by_loss, by_metric, curve) or (word == "plateau" and own == "overfitting")
        return by_metric if other else by_loss
    if word in ("none", "plateau") or own in ("overfitting", "diverged", "healthy"):
        return by_metric
    return well


def _gained_after(found: Judgement, by_metric: Judgement, curve: shape.Shape) -> bool:
    """Return True if the metric still clearly improved after what a verdict takes for the last gain."""
    of = found.evidence
    if not isinstance(of, (predicates.Overfitting, predicates.Plateau)):
        return False

    def place(at: int) -> int:
        return next((k for k, epoch in enumerate(by_metric.epochs) if epoch >= found.epoch(at)), curve.n - 1)

    if isinstance(of, predicates.Overfitting):
        return predicates.gained_after(curve, place(of.since))
    part = place(len(found.epochs) - of.tested)
    return predicates.falls_from(curve, part) or predicates.stands_above(curve, place(of.since), part)


def judge_losses(
    train: Points,
    val: Points,
    train_name: str,
    val_name: str,
    sign: int = 1,
    only_divergence: bool = False,
    bounded: bool = True,
) -> Judgement | None:
    """Return the verdict on one loss, or on a metric as if it were one.

    Args:
        train: Finite values of training, as (epoch, value).
        val: Finite values of validation.
        train_name: Name of the training loss.
        val_name: Name of the validation loss.
        sign: -1 if more is better, else 1.
        only_divergence: Return None unless the loss left everything behind.
        bounded: A loss of validation that is out of all bounds has diverged, whatever training does.
    """
    if len(val) < predicates.FEWEST <= len(train):
        val = ()
    points, name = (val, val_name) if val else (train, train_name)
    beside = _beside(train, val)
    own = shape_of_points(points, sign)
    fit = shape_of_points(beside, sign)
    if own is None:
        return None if only_divergence else Judgement("none", name, None, ())

    def of_own(word: str, evidence: Evidence | None) -> Judgement:
        return Judgement(word, name, evidence, epochs_of(points), train_name if beside else "", sign)

    def of_training(word: str, evidence: Evidence) -> Judgement:
        return Judgement(word, train_name, evidence, epochs_of(beside), sign=sign) if beside else of_own(word, evidence)

    # Validation may rise far through overfitting; without the training loss only what is out of all bounds diverged.
    divergence = predicates.diverged(own if fit is None else fit)
    own_divergence = predicates.diverged(own)
    if own_divergence is not None and not (_out_of_bounds(own_divergence) and (bounded or fit is None)):
        own_divergence = None
    if fit is None and val:
        divergence = own_divergence
    if divergence is not None and divergence.exploded:
        return of_training("diverged", divergence)
    if own_divergence is not None:
        return of_own("diverged", own_divergence)
    if only_divergence:
        return None
    if own.n < predicates.FEWEST:
        return of_own("none", None)
    if divergence is not None:
        return of_training("diverged", divergence)
    if val and (over := predicates.overfitting(own, fit)) is not None:
        return of_own("overfitting", over)
    if (noise := predicates.noisy(own)) is not None:
        return of_own("noisy", noise)
    if fit is not None and (noise := predicates.noisy(fit)) is not None:
        return of_training("noisy", noise)
    if (plateau := predicates.plateau(own)) is not None:
        return of_own("plateau", plateau)
    flat = predicates.flat(own)
    if flat is not None:
        learns = fit is not None and fit.moved and fit.gain > predicates.RISE * abs(fit.start)
        return of_own("plateau" if learns else "none", flat)
    return of_own("healthy", predicates.improving(own))


def _out_of_bounds(found: predicates.Diverged) -> bool:
    return found.exploded and found.end > OUT_OF_BOUNDS * abs(found.start)


def _beside(train: Points, val: Points) -> Points:
    """Return `train` in the epochs of `val`; empty if it lacks one of them, as it was then measured at other times."""
    if not val:
        return ()
    of = dict(train)
    found = [(epoch, of[epoch]) for epoch, _ in val if epoch in of]
    return found if len(found) == len(val) else ()


def broken(points: Points, name: str) -> Judgement | None:
    """Return the verdict `diverged` if the last value is NaN or infinite, or more than a tenth are; else None."""
    values = [value for _, value in points]
    first = predicates.non_finite(values)
    if first is None:
        return None
    odd = sum(not math.isfinite(value) for value in values)
    if math.isfinite(values[-1]) and odd <= len(values) / 10:
        return None
    return Judgement("diverged", name, first, epochs_of(points))


def _stuck_loss(series: Mapping[str, Points], loss: str) -> Judgement | None:
    """Find a loss that stands; one that never moved is flat, and says nothing of what the network answers."""
    found = skill.collapsed("loss", [value for _, value in series.get(loss, ())], maximize=False)
    moved = found is not None and found.since > 0
    return Judgement("collapsed", loss, found, epochs_of(series[loss])) if moved else None
