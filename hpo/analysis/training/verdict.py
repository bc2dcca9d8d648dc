"""Judge one training by its losses and metrics, with the numbers that led to the verdict."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hpo.analysis.cache import cached_per_study
from hpo.analysis.records import StudyRecord
from hpo.analysis.training.training_log import TrainingLog
from hpo.curves import predicates, shape
from hpo.curves.metric_names import without_split

# A validation loss beyond this multiple of where it began has diverged, whatever the training loss does.
OUT_OF_BOUNDS = 10
VERDICTS = ("healthy", "overfitting", "plateau", "diverged", "collapsed", "noisy", "none")
_LESS_IS_BETTER = ("loss", "error", "mae", "mse", "rmse", "distance", "dtw", "nll", "perplexity")
_MORE_IS_BETTER = (
    "accuracy", "acc", "auc", "pauc", "auroc", "recall", "sensitivity", "specificity", "precision", "f1", "f1_score",
    "jaccard", "iou", "dice", "tau", "kappa", "mcc", "correlation", "score", "r2",
)  # fmt: skip
# Of these, one that never moves says that the network answers one thing only.
_ANSWERS = (
    "accuracy", "acc", "auc", "pauc", "auroc", "recall", "sensitivity", "precision", "f1", "f1_score", "jaccard",
    "iou", "dice", "tau", "kappa", "mcc",
)  # fmt: skip

Evidence = (
    predicates.NonFinite
    | predicates.Diverged
    | predicates.Collapsed
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


@cached_per_study
def verdicts(study: StudyRecord) -> Mapping[int, str]:
    """Return the verdict of every finished trial that reported anything, by trial number.

    Arrays are not read: a verdict does not need them.
    """
    return {
        trial.number: judge(TrainingLog("", trial.history, trial.params, study.metrics[0], trial.state)).verdict
        for trial in study.finished
        if trial.history
    }


# --- which series there are

Points = Sequence[tuple[int, float]]


def series_of(log: TrainingLog) -> dict[str, list[tuple[int, float]]]:
    """Return the metrics of a training by name, each as (epoch, value)."""
    found: dict[str, list[tuple[int, float]]] = {}
    for step in log.history:
        for name, value in step.metrics.items():
            found.setdefault(name, []).append((step.step, value))
    return found


def total_of(series: Iterable[str]) -> str:
    """Return the name of the total loss, without split.

    It is `loss` if there is one, else the first of which training and validation are known, else the first at all.
    """
    stems: dict[str, int] = {}
    for name in series:
        if "loss" in (one := without_split(name)).lower():
            stems[one] = stems.get(one, 0) + 1
    return "loss" if "loss" in stems else max(stems, key=stems.__getitem__, default="")


def direction_of(log: TrainingLog, name: str) -> str:
    """Return `maximize`, `minimize`, or an empty text where neither the log nor the name says."""
    if log.metric is not None and without_split(name) == without_split(log.metric.name):
        return log.metric.direction
    bare = _bare(name)
    if any(bare == word or bare.endswith(f"_{word}") for word in _LESS_IS_BETTER) or "loss" in bare:
        return "minimize"
    return "maximize" if any(bare == word or bare.endswith(f"_{word}") for word in _MORE_IS_BETTER) else ""


def _bare(name: str) -> str:
    """Return a name without the split, and without the number that Keras appends (`recall_1`)."""
    return re.sub(r"_\d+$", "", without_split(name)).lower()


def main_metric(log: TrainingLog, series: Mapping[str, Points], loss: str) -> tuple[str, str]:
    """Return the metric that says which epoch is best, and its direction.

    It is the metric that was to be reached, else a validation metric, else the loss.
    """
    if log.metric is not None and log.metric.name in series:
        return log.metric.name, log.metric.direction
    for name in series:
        if name.startswith("val_") and without_split(name) != loss and direction_of(log, name) == "maximize":
            return name, "maximize"
    for name in (f"val_{loss}", loss, f"train_{loss}"):
        if loss and name in series:
            return name, "minimize"
    return "", ""


def best_point(points: Points, direction: str) -> tuple[int, float] | None:
    """Return (epoch, value) of the best finite value; None without one."""
    sign = -1 if direction == "maximize" else 1
    known = [(epoch, value) for epoch, value in points if math.isfinite(value)]
    return min(known, key=lambda point: sign * point[1], default=None)


def shape_of_points(points: Points, sign: int = 1) -> shape.Shape | None:
    """Return the shape of the finite values, multiplied by `sign`; None without one."""
    values = [sign * value for _, value in points if math.isfinite(value)]
    return shape.shape_of(values) if values else None


# --- the verdict


def judge_series(log: TrainingLog, series: Mapping[str, Points], loss: str) -> Judgement:
    """Return the verdict on a training.

    Args:
        log: The training.
        series: Its metrics (see `series_of`).
        loss: Name of the total loss, without split.
    """
    train, val = series.get(f"train_{loss}", ()), series.get(f"val_{loss}", ())
    train_name, val_name = f"train_{loss}", f"val_{loss}"
    if not train and not val and loss:
        val, val_name = series.get(loss, ()), loss
    metric, direction = main_metric(log, series, loss)
    if not train and not val:
        if not metric:
            return Judgement("none", "", None, ())
        val, val_name = series[metric], metric
    sign = -1 if not loss and direction == "maximize" else 1
    found = broken(train, train_name) or broken(val, val_name)
    if found is not None:
        return found
    first = judge_losses(finite(train), finite(val), train_name, val_name, sign, only_divergence=True)
    if first is not None:
        return first
    stuck = _stuck(log, series, train_name if train else val_name)
    if stuck is not None:
        return stuck
    found = judge_losses(finite(train), finite(val), train_name, val_name, sign)
    assert found is not None
    if found.verdict == "plateau" and loss and metric in series and without_split(metric) != loss:
        # A loss may stand still while what it stands for still improves.
        curve = shape_of_points(series[metric], -1 if direction == "maximize" else 1)
        moving = predicates.improving(curve) if curve is not None else None
        if moving is not None:
            return Judgement("healthy", metric, moving, epochs_of(finite(series[metric])))
    return found


def judge_losses(
    train: Points, val: Points, train_name: str, val_name: str, sign: int = 1, only_divergence: bool = False
) -> Judgement | None:
    """Return the verdict on one loss.

    Args:
        train: Finite training losses, as (epoch, value).
        val: Finite validation losses.
        train_name: Name of the training loss.
        val_name: Name of the validation loss.
        sign: -1 if more is better, else 1.
        only_divergence: Return None unless the loss left everything behind.
    """
    if len(val) < predicates.FEWEST <= len(train):
        val = ()
    points, name = (val, val_name) if val else (train, train_name)
    beside = _beside(train, val)
    own = shape_of_points(points, sign)
    fit = shape_of_points(beside)
    if own is None:
        return None if only_divergence else Judgement("none", name, None, ())

    def of_own(word: str, evidence: Evidence | None) -> Judgement:
        return Judgement(word, name, evidence, epochs_of(points), train_name if beside else "", sign)

    def of_training(word: str, evidence: Evidence) -> Judgement:
        return Judgement(word, train_name, evidence, epochs_of(beside)) if beside else of_own(word, evidence)

    # Validation may rise far through overfitting; without the training loss only what is out of all bounds diverged.
    divergence = predicates.diverged(own if fit is None else fit)
    own_divergence = predicates.diverged(own)
    if own_divergence is not None and not _out_of_bounds(own_divergence):
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


def _stuck(log: TrainingLog, series: Mapping[str, Points], loss: str) -> Judgement | None:
    """Find a metric of validation (and of training, where that is known too) or the loss, that knows nothing."""
    for name, points in series.items():
        if name.startswith("train_") or not _answers(log, name):
            continue
        values = [value for _, value in points]
        found = predicates.collapsed(_bare(name), values)
        if found is None:
            continue
        partner = [value for _, value in series.get(f"train_{without_split(name)}", ())]
        if partner and len(partner) == len(values) and predicates.collapsed(_bare(name), partner) is None:
            continue
        return Judgement("collapsed", name, found, epochs_of(points))
    found = predicates.collapsed("loss", [value for _, value in series.get(loss, ())], maximize=False)
    # A loss that never moved is flat, and says nothing of what the network answers.
    moved = found is not None and found.since > 0
    return Judgement("collapsed", loss, found, epochs_of(series[loss])) if moved else None


def _answers(log: TrainingLog, name: str) -> bool:
    bare = _bare(name)
    return direction_of(log, name) == "maximize" and any(bare == w or bare.endswith(f"_{w}") for w in _ANSWERS)


def finite(points: Points) -> Points:
    """Return the points with a finite value."""
    return [point for point in points if math.isfinite(point[1])]


def epochs_of(points: Points) -> tuple[int, ...]:
    """Return the epochs of some points."""
    return tuple(epoch for epoch, _ in points)
