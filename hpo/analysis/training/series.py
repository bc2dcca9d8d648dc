"""Find in a training the series that are judged: the loss, the metric that counts, and which way is better."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from hpo.analysis.steps import steps_of
from hpo.analysis.training.training_log import TrainingLog
from hpo.curves import shape
from hpo.curves.metric_names import bare_name, direction_by_name, preference, without_split

# Names of the loss before it was reweighted, without split. `bce` is one only beside these of the reweighted one.
ORIGINALS = ("original", "original_loss", "unweighted_loss", "plain_loss")
_BCE, _BESIDE_BCE = "bce", ("data_loss", "reweighted")
# Metrics that are errors, and are preferred to a loss where nothing else is known.
_ERRORS = ("mae", "mse", "rmse", "mape", "error", "wer", "cer")

Points = Sequence[tuple[int, float]]


def series_of(log: TrainingLog) -> dict[str, Points]:
    """Return the metrics of a training by name, each as (epoch, value)."""
    steps = steps_of(log.history)
    return {name: steps.series(name) for name in steps.names}


def total_of(series: Iterable[str]) -> str:
    """Return the name of the total loss, without split.

    It is `loss` if there is one, else the first of which training and validation are known, else the first at all.
    """
    stems: dict[str, int] = {}
    for name in series:
        if "loss" in (one := without_split(name)).lower():
            stems[one] = stems.get(one, 0) + 1
    return "loss" if "loss" in stems else max(stems, key=stems.__getitem__, default="")


def judged_loss(series: Iterable[str], loss: str) -> str:
    """Return the loss to judge by, without split: the original one where the loss was reweighted, else the loss."""
    stems = {without_split(name) for name in series}
    if _BCE in stems and not stems.isdisjoint(_BESIDE_BCE):
        return _BCE
    return next((name for name in ORIGINALS if name in stems), loss)


def direction_of(log: TrainingLog, name: str) -> str:
    """Return `maximize`, `minimize`, or an empty text where neither the log nor the name says."""
    if log.metric is not None and without_split(name) == without_split(log.metric.name):
        return log.metric.direction
    return direction_by_name(name)


def main_metric(log: TrainingLog, series: Mapping[str, Points], loss: str) -> tuple[str, str]:
    """Return the metric that says which epoch is best, and its direction.

    It is the metric that was to be reached; else one of validation, a ranking before overlaps, accuracy and one-sided
    ones such as recall; else the loss.
    """
    if log.metric is not None:
        stem = without_split(log.metric.name)
        for name in (log.metric.name, f"val_{stem}", stem):
            if name in series:
                return name, log.metric.direction
    known = [name for name in series if not name.startswith("train_") and without_split(name) != loss]
    held_out = [name for name in known if name.startswith("val_")] or known
    rising = [name for name in held_out if direction_of(log, name) == "maximize"]
    if rising:
        return min(rising, key=preference), "maximize"
    errors = [name for name in held_out if bare_name(name) in _ERRORS]
    if errors:
        return errors[0], "minimize"
    loss = judged_loss(series, loss)
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


def names_of(series: Mapping[str, Points], stem: str) -> tuple[str, str]:
    """Return the names of a metric of training and of validation, empty where there is none."""
    train = f"train_{stem}" if stem and f"train_{stem}" in series else ""
    val = next((name for name in (f"val_{stem}", "" if train else stem) if stem and name in series), "")
    return train, val


def finite(points: Points) -> Points:
    """Return the points with a finite value."""
    return [point for point in points if math.isfinite(point[1])]


def epochs_of(points: Points) -> tuple[int, ...]:
    """Return the epochs of some points."""
    return tuple(epoch for epoch, _ in points)
