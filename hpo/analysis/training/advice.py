"""Recommend what to do about a training, with the numbers that led to it.

The words are in `hpo.reports.sections.verdict_text`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hpo.analysis.training.training_log import TrainingLog
from hpo.analysis.training.verdict import Judgement, Points, best_point, epochs_of, finite, shape_of_points
from hpo.curves import predicates, shape

# Training still falls this much in its last third: the rate may be low.
SLOW = 0.25


@dataclass(frozen=True)
class Advice:
    """One recommendation. `code`: see `hpo.reports.sections.verdict_text`; `numbers`: what led to it, by name."""

    code: str
    numbers: Mapping[str, float | int | str] = field(default_factory=dict)


def advise(
    log: TrainingLog,
    series: Mapping[str, Points],
    found: Judgement,
    loss: str,
    metric: str,
    direction: str,
    dominant: predicates.Dominant | None,
    weights: Mapping[str, float],
    curve: shape.Shape | None,
) -> tuple[Advice, ...]:
    """Return what to do about a training, the most important first.

    Args:
        log: The training.
        series: Its metrics by name, as (epoch, value).
        found: The verdict.
        loss: Name of the total loss, without split.
        metric: The metric that says which epoch is best.
        direction: Of that metric.
        dominant: The component that dominates the loss, if any.
        weights: The weight of each component, as far as known.
        curve: The shape of the loss.
    """
    advice = [*_for_verdict(log, series, found, metric, direction)]
    if found.verdict in ("healthy", "none") and curve is not None:
        late = predicates.improving(curve)
        if late is not None and late.of_gain >= SLOW:
            advice.append(Advice("rate_low", {"share": 100 * late.of_gain, "epochs": late.epochs, **_rate(log)}))
    if found.verdict != "diverged":
        advice += _for_values_not_finite(series, loss)
    if found.verdict not in ("diverged", "noisy"):
        advice += _for_jumps(series, loss)
    if dominant is not None:
        advice.append(_for_dominant(dominant, weights))
    return tuple(advice)


def _for_values_not_finite(series: Mapping[str, Points], loss: str) -> Iterable[Advice]:
    for name in (f"train_{loss}", f"val_{loss}") if loss else ():
        n = sum(not math.isfinite(value) for _, value in series.get(name, ()))
        if n:
            yield Advice("not_finite", {"series": name, "n": n})


def _for_jumps(series: Mapping[str, Points], loss: str) -> Iterable[Advice]:
    train = series.get(f"train_{loss}", ())
    curve = shape_of_points(train)
    if curve is not None and (jumps := predicates.jumps(curve)):
        largest = max(jumps, key=lambda jump: jump.size)
        epoch = epochs_of(finite(train))[largest.at]
        yield Advice("jumps", {"series": f"train_{loss}", "n": len(jumps), "epoch": epoch, "size": largest.size})


def _for_dominant(dominant: predicates.Dominant, weights: Mapping[str, float]) -> Advice:
    numbers: dict[str, float | int | str] = {
        "component": dominant.name,
        "share": 100 * dominant.share,
        "factor": dominant.factor,
    }
    if dominant.name not in weights:
        return Advice("weigh", numbers)
    weight = weights[dominant.name]
    return Advice("reweigh", numbers | {"weight": weight, "balanced": weight * dominant.factor})


def _rate(log: TrainingLog) -> dict[str, float | int | str]:
    """Return the learning rate, by the parameter of that name."""
    for name in ("learning_rate", "lr"):
        value = log.params.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
            return {"parameter": name, "rate": float(value)}
    return {}


def _for_verdict(
    log: TrainingLog, series: Mapping[str, Points], found: Judgement, metric: str, direction: str
) -> Iterable[Advice]:
    of, rate = found.evidence, _rate(log)
    if isinstance(of, predicates.NonFinite):
        yield Advice("lower_rate_not_finite", {"series": found.series, "epoch": found.epoch(of.at), **rate})
    elif isinstance(of, predicates.Diverged):
        numbers = {"low": found.sign * of.low, "end": found.sign * of.end, "epoch": found.epoch(of.low_at)}
        yield Advice("lower_rate", {"series": found.series, **numbers, **rate})
    elif isinstance(of, predicates.Collapsed):
        yield Advice("one_answer", {"series": found.series, "value": of.value, "epochs": of.epochs, **rate})
    elif isinstance(of, predicates.Overfitting):
        best = best_point(series.get(metric, ()), direction)
        epoch = found.epoch(of.since)
        numbers = {"low": found.sign * of.low, "end": found.sign * of.end}
        yield Advice("stop_at", {"series": found.series, "epoch": epoch, "later": of.epochs, **numbers})
        if math.isfinite(of.of_gain):
            yield Advice("regularise", {"of_gain": 100 * of.of_gain})
        if best is not None and metric != found.series and best[0] > epoch:
            yield Advice("metric_later", {"metric": metric, "epoch": best[0], "loss_epoch": epoch})
    elif isinstance(of, predicates.Noisy):
        samples = next((value for _, value in reversed(series.get("val_samples", ()))), None)
        numbers = {"of_level": 100 * of.of_level, "noise": of.noise}
        yield Advice("steadier", {"series": found.series, **numbers, **rate})
        if samples is not None and found.series.startswith("val_") and math.isfinite(samples):
            yield Advice("more_validation", {"samples": int(samples)})
    elif isinstance(of, predicates.Plateau):
        numbers = {"epoch": found.epoch(of.since), "epochs": of.epochs, "of_gain": 100 * max(of.of_gain, 0.0)}
        yield Advice("stands", {"series": found.series, **numbers, **rate})
    elif isinstance(of, predicates.Flat) and found.verdict == "plateau":
        yield Advice("not_learned", {"series": found.series, "train": found.train})
    elif isinstance(of, predicates.Flat):
        yield Advice("higher_rate", {"series": found.series, "gain": of.gain, "noise": of.noise, **rate})
    elif isinstance(of, predicates.Improving):
        yield Advice("more_epochs", {"series": found.series, "share": 100 * of.of_gain, "epochs": of.epochs})
    elif found.verdict == "none" and found.series:
        yield Advice("longer", {"epochs": len(found.epochs), "least": predicates.FEWEST})
