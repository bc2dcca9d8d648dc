"""Diagnose one training: the verdict, what the losses did by epoch and within epochs, and what to do about it.

It is plain data; `hpo.reports.sections.verdict_text` has the words.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpo.analysis.summary_statistics import deviation, mean
from hpo.analysis.training.advice import Advice, advise
from hpo.analysis.training.series import (
    Points,
    best_point,
    finite,
    judged_loss,
    main_metric,
    series_of,
    shape_of_points,
    total_of,
)
from hpo.analysis.training.spikes import Spike, spike_of
from hpo.analysis.training.training_log import TrainingLog
from hpo.analysis.training.verdict import Judgement, broken, judge_losses, judge_series
from hpo.analysis.training.weights import is_weighting, weights_of
from hpo.curves import predicates, shape
from hpo.curves.metric_names import without_split

WINDOW = 10
# The share of validation's gain that was lost again, up to which the risk of overfitting has the name.
RISKS = (("low", 0.05), ("moderate", 0.2))
CONVERGED = 0.9
_NO_LOSS = ("learning_rate", "gradient_norm", "epoch")


@dataclass(frozen=True)
class Convergence:
    """Speed of convergence.

    Attributes:
        epochs: The epoch (counted from 1 as the first) in which the running median had done 90 % of its whole fall.
        speed: That share in percent by the epochs it took, `90 / epochs`.
    """

    epochs: int
    speed: float


@dataclass(frozen=True)
class Risk:
    """Risk of overfitting, by what the verdict is of.

    Attributes:
        series: The metric that it is of.
        share: Share of validation's gain that was lost again at the end, 0 to infinity.
        gap: Last level of validation less that of training; None without both.
        gap_at_best: The same at the best epoch.
    """

    series: str
    share: float
    gap: float | None
    gap_at_best: float | None

    @property
    def word(self) -> str:
        """Name of the risk: low, moderate or high."""
        return next((name for name, limit in RISKS if self.share <= limit), "high")


@dataclass(frozen=True)
class Component:
    """One loss: the total, or a part of it. Values are None where they are not known.

    Attributes:
        name: Name of the loss, without split.
        train_first: First training loss.
        train_last: Last training loss.
        val_first: First validation loss.
        val_last: Last validation loss.
        improvement: Of the training loss, first to last, in percent.
        mean: Of the training loss over all epochs.
        deviation: Sample standard deviation of the training loss over all epochs.
        judgement: The verdict on this loss.
        weight: Its weight in the total.
        share: Its share of the total at the end, 0 to 1.
    """

    name: str
    train_first: float | None
    train_last: float | None
    val_first: float | None
    val_last: float | None
    improvement: float | None
    mean: float | None
    deviation: float | None
    judgement: Judgement
    weight: float | None = None
    share: float | None = None


@dataclass(frozen=True)
class Within:
    """One loss over the steps of one epoch. Values are None where a mean is not above 0, and with fewer than 2 steps.

    Attributes:
        improvement: Mean of the first tenth of the steps to that of the last tenth, in percent.
        volatility: Standard deviation / mean, in percent.
    """

    improvement: float | None
    volatility: float | None


@dataclass(frozen=True)
class Epoch:
    """One epoch.

    Attributes:
        epoch: Number of the epoch, as the training counts.
        steps: Number of training steps; None where they were not recorded.
        values: Loss -> (train, val).
        within: Loss -> what it did over the steps.
    """

    epoch: int
    steps: int | None
    values: Mapping[str, tuple[float | None, float | None]]
    within: Mapping[str, Within]


@dataclass(frozen=True)
class Diagnosis:
    """The diagnosis of one training.

    Attributes:
        log: The training.
        judgement: The verdict.
        loss: Name of the total loss, without `train_` and `val_`; empty if none was reported.
        epochs: Number of epochs.
        reduction: By how many percent the loss fell, first to last.
        convergence: Speed of convergence; None of a curve that has not clearly fallen.
        stability: Sample standard deviation / mean of the last WINDOW losses.
        risk: Risk of overfitting; None without validation.
        metric: The metric that says which epoch is best.
        best_epoch: The epoch in which it was best.
        best: Its value there.
        components: The total, then its parts.
        dominant: The part that dominates the total, if any.
        spike: A step in which the loss was far above its epoch, if any.
        weights: The source of the weights in `components` (see `Weights`). Without weights shares are of the components
            as they are.
        by_epoch: Every epoch.
        advice: What to do, the most important first.
    """

    log: TrainingLog
    judgement: Judgement
    loss: str
    epochs: int
    reduction: float | None
    convergence: Convergence | None
    stability: float | None
    risk: Risk | None
    metric: str
    best_epoch: int | None
    best: float | None
    components: tuple[Component, ...]
    dominant: predicates.Dominant | None
    spike: Spike | None
    weights: str
    by_epoch: tuple[Epoch, ...]
    advice: tuple[Advice, ...]


def diagnose(log: TrainingLog) -> Diagnosis:
    """Diagnose any training, also one without epochs."""
    series = series_of(log)
    loss = total_of(series)
    judgement = judge_series(log, series, loss)
    parts = _parts(log, series, loss)
    weights = weights_of(log, series, parts, loss)
    # What was recorded beside the loss without being part of it, such as a loss to compare by, dominates nothing.
    inside = [name for name in parts if not weights.values or name in weights.values]
    if weights.source == "learned" and not weights.values:
        inside = []  # a sum without the weights that were learned says nothing of the loss
    contributions = {
        name: weights.values.get(name, 1.0) * _last_level(series[_train_or_val(series, name)]) for name in inside
    }
    whole = sum(abs(value) for value in contributions.values())
    shares = {name: abs(value) / whole for name, value in contributions.items() if 0 < whole < math.inf}
    losses = [loss, *parts] if loss else parts
    components = tuple(_component(series, name, weights.values.get(name), shares.get(name)) for name in losses)
    dominant = predicates.dominant(contributions)
    spike = spike_of(log.steps, loss, {name: weights.values.get(name, 1.0) for name in inside})
    metric, direction = main_metric(log, series, loss)
    best = best_point(series.get(metric, ()), direction)
    val = shape_of_points(series.get(f"val_{loss}", ()))
    train = shape_of_points(series.get(f"train_{loss}", ()))
    judged = series.get(f"train_{loss}") or series.get(f"val_{loss}") or series.get(loss) or ()
    main = train or val or shape_of_points(judged)
    last = [value for _, value in (series.get(f"val_{loss}") or judged)][-WINDOW:]
    return Diagnosis(
        log=log,
        judgement=judgement,
        loss=loss,
        epochs=len(log.history),
        reduction=_reduction(judged),
        convergence=_convergence(main),
        stability=coefficient(last),
        risk=_risk(series, judgement, judged_loss(series, loss), metric, direction),
        metric=metric,
        best_epoch=None if best is None else best[0],
        best=None if best is None else best[1],
        components=components,
        dominant=dominant,
        spike=spike,
        weights=weights.source,
        by_epoch=_by_epoch(log, series, losses),
        advice=advise(log, series, judgement, loss, metric, direction, dominant, weights, spike, train or val),
    )


def _parts(log: TrainingLog, series: Mapping[str, Points], loss: str) -> list[str]:
    """Return the components of the loss: losses recorded of each step; without steps other losses by name."""
    names = [name for name in log.steps if name not in _NO_LOSS and not name.startswith("val_")]
    if not names:
        names = list(dict.fromkeys(without_split(name) for name in series if "loss" in without_split(name).lower()))
    names = [name for name in names if any(f"{kind}_{name}" in series for kind in ("train", "val"))]
    names = [name for name in names if name != loss and not is_weighting(name)]
    return [name for name in names if not any(name.startswith(f"{other}_") for other in names)]


def _val_or_bare(series: Mapping[str, Points], name: str) -> str:
    return f"val_{name}" if f"val_{name}" in series else name


def _train_or_val(series: Mapping[str, Points], name: str) -> str:
    return f"train_{name}" if f"train_{name}" in series else f"val_{name}"


# --- numbers


def percent_less(first: float, last: float) -> float | None:
    """Return by how many percent `last` is below `first`.

    None unless both are finite, the first above 0 and the last not below 0: a share of a loss that may be negative
    means nothing.
    """
    if not (math.isfinite(first) and math.isfinite(last)) or first <= 0 or last < 0:
        return None
    share = 100 * (1 - last / first)
    return share if math.isfinite(share) else None


def coefficient(values: Sequence[float]) -> float | None:
    """Return sample standard deviation / mean; None for fewer than 2 values, and unless all are finite and above 0."""
    if len(values) < 2 or not all(math.isfinite(value) and value > 0 for value in values):
        return None
    spread, middle = deviation(values), mean(values)
    share = math.inf if spread is None else spread / middle
    return share if math.isfinite(share) else None


def _reduction(points: Points) -> float | None:
    known = finite(points)
    return percent_less(known[0][1], known[-1][1]) if len(known) > 1 else None


def _convergence(curve: shape.Shape | None) -> Convergence | None:
    """Return the speed of convergence; None of a curve that has not clearly fallen."""
    if curve is None or curve.n < 2 or not curve.moved:
        return None
    limit = curve.start - CONVERGED * curve.gain
    epochs = 1 + next(k for k in range(curve.n) if curve.smooth[k] <= limit)
    return Convergence(epochs, 100 * CONVERGED / epochs)


def _risk(series: Mapping[str, Points], found: Judgement, loss: str, metric: str, direction: str) -> Risk | None:
    """Return the risk by the series of the verdict, so that the two agree: the metric's where it decided."""
    stem, sign = loss, 1
    if metric and found.series == metric and direction == "maximize":
        stem, sign = without_split(metric), -1
    name = f"val_{stem}"
    val, train = shape_of_points(series.get(name, ()), sign), shape_of_points(series.get(f"train_{stem}", ()), sign)
    if val is None or val.n < 2:
        return None
    rise = max(val.end - val.low, 0.0)
    # What the noise alone would do is no risk, nor is a training that ends at its best.
    rise = rise if rise > 2 * val.error and val.values[-1] > min(val.values) else 0.0
    share = 0.0 if rise == 0 else (rise / val.gain if val.gain > 0 else math.inf)
    if train is None or train.n != val.n:
        return Risk(name, share, None, None)
    return Risk(name, share, sign * (val.end - train.end), sign * (val.low - train.smooth[val.low_at]))


def _last_level(points: Points) -> float:
    known = [value for _, value in points if math.isfinite(value)]
    return shape.median(known[-WINDOW:]) if known else math.nan


def _component(series: Mapping[str, Points], name: str, weight: float | None, share: float | None) -> Component:
    train, val = finite(series.get(f"train_{name}", ())), finite(series.get(f"val_{name}", ()))
    if not train and not val:
        val = finite(series.get(name, ()))
    found = broken(series.get(f"train_{name}", ()), f"train_{name}")
    found = found or broken(series.get(f"val_{name}", ()), f"val_{name}")
    found = found or judge_losses(train, val, f"train_{name}", f"val_{name}" if f"val_{name}" in series else name)
    assert found is not None
    values = [value for _, value in train]
    return Component(
        name,
        values[0] if values else None,
        values[-1] if values else None,
        val[0][1] if val else None,
        val[-1][1] if val else None,
        percent_less(values[0], values[-1]) if len(values) > 1 else None,
        mean(values) if values else None,
        deviation(values),
        found,
        weight,
        share,
    )


# --- by epoch


def _by_epoch(log: TrainingLog, series: Mapping[str, Points], losses: Sequence[str]) -> tuple[Epoch, ...]:
    values = {name: dict(points) for name, points in series.items()}
    within = _within(log, losses)

    def value(name: str, epoch: int) -> float | None:
        return values.get(name, {}).get(epoch)

    found = []
    for step in log.history:
        own = {
            name: (value(f"train_{name}", step.step), value(_val_or_bare(series, name), step.step)) for name in losses
        }
        steps, parts = within.get(step.step, (None, {}))
        found.append(Epoch(step.step, steps, own, parts))
    return tuple(found)


def _within(log: TrainingLog, losses: Sequence[str]) -> dict[int, tuple[int, dict[str, Within]]]:
    """Return for each epoch its number of steps, and what each loss did in them."""
    index = log.steps.get("epoch")
    if index is None or index.ndim != 1:
        return {}
    order = np.argsort(index, kind="stable")
    epochs, starts = np.unique(index[order], return_index=True)
    ends = [*starts[1:].tolist(), len(index)]
    known = [name for name in losses if name in log.steps and log.steps[name].shape == index.shape]
    arrays = {name: log.steps[name][order].astype(float) for name in known}
    return {
        int(epoch): (end - start, {name: within(array[start:end]) for name, array in arrays.items()})
        for epoch, start, end in zip(epochs.tolist(), starts.tolist(), ends, strict=True)
    }


def within(values: NDArray[np.float64]) -> Within:
    """Return what one loss did within an epoch.

    Args:
        values: (steps,): the loss in each step of the epoch.
    """
    n = len(values)
    if n < 2 or not np.isfinite(values).all():
        return Within(None, None)
    tenth = max(1, n // 10)
    first, last, middle = (float(part.mean()) for part in (values[:tenth], values[-tenth:], values))
    spread = float(values.std(ddof=1))
    volatile = 100 * spread / middle if middle > 0 and (values > 0).all() else None
    return Within(percent_less(first, last), volatile)
