"""Recommend what to do about a training, with the numbers that led to it.

The words are in `hpo.reports.sections.verdict_text`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hpo.analysis.training.answers import Threshold, Unmoved, knows, moved
from hpo.analysis.training.series import Points, best_point, epochs_of, finite, judged_loss, shape_of_points, total_of
from hpo.analysis.training.spikes import Spike
from hpo.analysis.training.training_log import TrainingLog
from hpo.analysis.training.verdict import Judgement
from hpo.analysis.training.weights import Weights
from hpo.curves import predicates, shape, skill
from hpo.curves.metric_names import FINDS, is_loss, without_split
from hpo.curves.skill import held_out

Numbers = Mapping[str, float | int | str]
# Training still falls this much in its last third: the rate may be low.
SLOW = 0.25
# A healthy training of fewer epochs may not have had the time to go wrong.
FEW = 12


@dataclass(frozen=True)
class Advice:
    """One recommendation. `code`: see `hpo.reports.sections.verdict_text`; `numbers`: what led to it, by name."""

    code: str
    numbers: Numbers = field(default_factory=dict)


def advise(
    log: TrainingLog,
    series: Mapping[str, Points],
    found: Judgement,
    loss: str,
    metric: str,
    direction: str,
    dominant: predicates.Dominant | None,
    weights: Weights,
    spike: Spike | None,
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
        weights: The weights of the components, as far as known.
        spike: The largest spike of the loss by step, if any.
        curve: The shape of the loss.
    """
    advice = [*_for_verdict(log, series, found, metric, direction), *_for_late(log, series, found, metric, direction)]
    if found.verdict in ("healthy", "none") and curve is not None:
        late = predicates.improving(curve)
        if late is not None and late.of_gain >= SLOW:
            advice.append(Advice("rate_low", {"share": 100 * late.of_gain, "epochs": late.epochs, **_rate(log)}))
        elif found.verdict == "healthy" and len(log.history) < FEW and found.evidence is None:
            advice.append(Advice("few", {"epochs": len(log.history)}))
    advice += _for_loss_apart(series, found, metric, direction)
    if found.verdict != "diverged":
        advice += _for_values_not_finite(series, loss)
    if found.verdict not in ("diverged", "noisy"):
        advice += _for_jumps(series, loss)
    if spike is not None:
        advice.append(_for_spike(spike, f"train_{loss}"))
    if dominant is not None and weights.source != "learned":
        advice.append(_for_dominant(dominant, weights.values))
    return tuple(advice)


def _for_spike(spike: Spike, series: str) -> Advice:
    numbers = {name: value for name, value in vars(spike).items() if value != ""}
    return Advice("spike_of" if spike.component else "spike", {"series": series, **numbers})


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
        "largest": dominant.largest,
        "to_largest": dominant.to_largest,
    }
    if dominant.factor < predicates.NEGLIGIBLE:
        return Advice("alone", numbers)
    one = "_one" if dominant.factor == dominant.to_largest else ""
    if dominant.name not in weights:
        return Advice(f"weigh{one}", numbers)
    weight = weights[dominant.name]
    numbers |= {"weight": weight, "balanced": weight * dominant.factor, "largest_weight": weight * dominant.to_largest}
    return Advice(f"reweigh{one}", numbers)


def _still_since(
    series: Mapping[str, Points], found: Judgement, of: predicates.Plateau, metric: str, direction: str
) -> int:
    """Return the epoch in which the loss, or the metric if that was later, last improved by more than its noise."""
    points = finite(series.get(metric, ()))
    curve = shape_of_points(points, -1 if direction == "maximize" else 1)
    of_metric = found.epoch(of.since) if curve is None else points[predicates.last_improvement(curve)][0]
    return max(found.epoch(of.since), of_metric)


def _rate(log: TrainingLog) -> Numbers:
    """Return the learning rate, by the parameter of that name."""
    for name in ("learning_rate", "lr"):
        value = log.params.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
            return {"parameter": name, "rate": float(value)}
    return {}


def _for_late(
    log: TrainingLog, series: Mapping[str, Points], found: Judgement, metric: str, direction: str
) -> Iterable[Advice]:
    """Yield advice if what counts, or what is found at all, did not move for a good part of the training."""
    if found.verdict in ("diverged", "collapsed", "threshold", "metric"):
        return
    for name in (metric, *held_out(series, FINDS)):
        points = finite(series.get(name, ()))
        curve = shape_of_points(points, -1 if name != metric or direction == "maximize" else 1)
        late = None if curve is None else predicates.late(curve)
        if late is not None and (name == metric or points[0][1] == 0):
            numbers: Numbers = {"epoch": points[late.until - 1][0], "share": 100 * late.share, "value": points[0][1]}
            yield Advice("late", {"series": name, **numbers, **_rate(log)})
            return


def _for_verdict(
    log: TrainingLog, series: Mapping[str, Points], found: Judgement, metric: str, direction: str
) -> Iterable[Advice]:
    of, rate = found.evidence, _rate(log)
    best = best_point(series.get(metric, ()), direction)
    at_best: Numbers = {} if best is None else {"metric": metric, "best": best[1], "best_epoch": best[0]}
    if isinstance(of, predicates.NonFinite):
        yield Advice("lower_rate_not_finite", {"series": found.series, "epoch": found.epoch(of.at), **rate})
    elif isinstance(of, predicates.Diverged):
        numbers = {"low": found.sign * of.low, "end": found.sign * of.end, "epoch": found.epoch(of.low_at)}
        yield Advice("lower_rate", {"series": found.series, **numbers, **rate})
    elif isinstance(of, Threshold):
        yield Advice("threshold", {"series": found.series, "value": of.collapsed.value, **_ranks(of), **rate})
    elif isinstance(of, Unmoved):
        seen: Numbers = {"low": of.low, "high": of.high, "loss": of.loss, "fall": 100 * of.fall}
        yield Advice("metric", {"series": found.series, **seen})
        yield from _for_noise(series, of.loss, rate)
    elif isinstance(of, skill.Collapsed):
        code = "one_answer" if of.since > 0 else "one_answer_always"
        yield Advice(code, {"series": found.series, "value": of.value, "epochs": of.epochs, **rate})
    elif isinstance(of, predicates.Overfitting):
        epoch = found.epoch(of.since)
        numbers = {"low": found.sign * of.low, "end": found.sign * of.end, "later": of.epochs}
        later = best is not None and best[0] > epoch and metric != found.series
        code = "keep_either" if later else "stop_at"
        yield Advice(code, {"series": found.series, "epoch": epoch, **numbers, **(at_best if later else {})})
        if math.isfinite(of.of_gain):
            yield Advice("regularise", {"of_gain": 100 * of.of_gain})
    elif isinstance(of, predicates.Noisy):
        samples = next((value for _, value in reversed(series.get("val_samples", ()))), None)
        numbers = {"of_level": 100 * of.of_level, "noise": of.noise}
        calm = metric != found.series and _calm(series.get(metric, ()), direction)
        code = "steadier_loss" if calm else "steadier"
        yield Advice(code, {"series": found.series, **numbers, **(at_best if calm else {}), **rate})
        if samples is not None and found.series.startswith("val_") and math.isfinite(samples):
            yield Advice("more_validation", {"samples": int(samples)})
    elif isinstance(of, predicates.Plateau):
        since = _still_since(series, found, of, metric, direction)
        yield Advice("stands", {"series": found.series, "epoch": since, **rate})
        if best is not None and best[0] > since and not is_loss(metric):
            yield Advice("metric_later", at_best)
    elif isinstance(of, predicates.Flat) and _learned(series.get(metric, ()), metric, direction):
        last = finite(series[metric])[-1][1]
        yield Advice("learned_at_once", {"series": found.series, "metric": metric, "value": last})
    elif isinstance(of, predicates.Flat) and found.verdict == "plateau":
        yield Advice("not_learned", {"series": found.series, "train": found.train})
    elif isinstance(of, predicates.Flat) and _reweighted(log):
        yield Advice("reweighted", {"series": found.series})
    elif isinstance(of, predicates.Flat):
        yield Advice("higher_rate", {"series": found.series, "gain": of.gain, "noise": of.noise, **rate})
    elif isinstance(of, predicates.Improving):
        yield Advice("more_epochs", {"series": found.series, "share": 100 * of.of_gain, "epochs": of.epochs})
    elif found.verdict == "none" and found.series:
        yield Advice("longer", {"epochs": len(found.epochs), "least": predicates.FEWEST})


def _ranks(of: Threshold) -> Numbers:
    return {"ranking": of.ranks.name, "first": of.ranks.first, "last": of.ranks.value}


def _learned(points: Points, metric: str, direction: str) -> bool:
    """Return True if a metric is good or has improved, so that a loss that stands says nothing of what was learned."""
    sign = -1 if direction == "maximize" else 1
    values = [value for _, value in finite(points)]
    return bool(values) and not is_loss(metric) and (knows(metric, values, sign) or moved(points, sign))


def _calm(points: Points, direction: str) -> bool:
    """Return True if a metric clearly improved and is not noisy: an epoch can be chosen by it."""
    curve = shape_of_points(points, -1 if direction == "maximize" else 1)
    return curve is not None and curve.moved and predicates.noisy(curve) is None


def _for_noise(series: Mapping[str, Points], loss: str, rate: Numbers) -> Iterable[Advice]:
    """Yield advice on a loss that swings besides."""
    name = f"val_{without_split(loss)}"
    curve = shape_of_points(series.get(name, ()))
    noise = None if curve is None else predicates.noisy(curve)
    if noise is not None:
        yield Advice("steadier", {"series": name, "of_level": 100 * noise.of_level, "noise": noise.noise, **rate})


def _reweighted(log: TrainingLog) -> bool:
    """Return True if the loss is scaled by gradient harmonizing, so that it hardly moves by construction."""
    return any("ghm" in str(value).lower() for name, value in log.params.items() if "loss" in name.lower()) or any(
        "ghm" in name for name in log.names
    )


def _for_loss_apart(series: Mapping[str, Points], found: Judgement, metric: str, direction: str) -> Iterable[Advice]:
    """Yield advice if the loss got worse while the metric that counts went on: the verdict is the metric's."""
    loss = f"val_{judged_loss(series, total_of(series))}"
    points, best = finite(series.get(loss, ())), best_point(series.get(metric, ()), direction)
    curve = shape_of_points(points)
    over = None if curve is None or found.series != metric else predicates.overfitting(curve)
    if over is None or best is None or metric == loss or found.verdict not in ("healthy", "plateau"):
        return
    epoch = points[over.since][0]
    if best[0] > epoch:
        numbers: Numbers = {"metric": metric, "best": best[1], "best_epoch": best[0]}
        yield Advice("loss_apart", {"series": loss, "epoch": epoch, **numbers})
