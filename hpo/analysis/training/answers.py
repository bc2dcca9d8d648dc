"""Find what metrics say of a network's answers: one answer only, a ranking without a threshold, nothing of the loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hpo.analysis.training.series import Points, direction_of, finite, names_of, shape_of_points
from hpo.analysis.training.training_log import TrainingLog
from hpo.curves import predicates, shape, skill
from hpo.curves.metric_names import FINDS, is_loss, is_one_of, preference, without_split


@dataclass(frozen=True)
class Threshold:
    """A training whose network ranks, and whose scores pass no threshold.

    Attributes:
        ranks: The metric of the ranking.
        collapsed: The metric that stands, since when and at which value.
    """

    ranks: skill.Ranks
    collapsed: skill.Collapsed


@dataclass(frozen=True)
class Unmoved:
    """A metric that does not follow a loss that fell.

    Attributes:
        low: The lowest value of the metric.
        high: Its highest value.
        noise: Its standard deviation from epoch to epoch.
        loss: The loss that fell.
        fall: By which share of its start.
    """

    low: float
    high: float
    noise: float
    loss: str
    fall: float


@dataclass(frozen=True)
class WithoutSkill:
    """A metric that stands at the value of one answer, and what that means."""

    name: str
    evidence: skill.Collapsed | Threshold


def without_skill(log: TrainingLog, series: Mapping[str, Points], metric: str) -> WithoutSkill | None:
    """Return what says that the network gives one answer, or that it ranks and nothing passes the threshold, or None.

    The red flag `collapsed` asks the same of a running trial (`skill.one_answer`, `skill.ranks`).

    Args:
        log: The training.
        series: Its metrics.
        metric: The metric that counts.
    """
    values = {name: [value for _, value in points] for name, points in series.items() if not is_loss(name)}
    known = {name: one for name, one in values.items() if direction_of(log, name)}
    own = {name: one for name, one in known.items() if not name.startswith("train_")} or known
    found = {name: skill.collapsed(name, own[name], direction_of(log, name) == "maximize") for name in own}
    stands = {name: one for name, one in found.items() if one is not None}
    if not stands:
        return None
    name = min(stands, key=lambda one: (stands[one].kind != "zero", one != metric, _found_by(one), preference(one)))
    nothing = stands[name].kind == "zero" and skill.one_answer({one: numbers[-1] for one, numbers in own.items()})
    ranking = [one for one in values if one not in stands and skill.ranks(one, values[one])]
    if ranking:
        rest = [one for one in own if one not in ranking]
        if not nothing and not all(one in stands and stands[one].since == 0 for one in rest):
            return None
        best = min(ranking, key=lambda one: (one not in own, one != metric, preference(one)))
        ranks = skill.ranks(best, values[best])
        return None if ranks is None else WithoutSkill(name, Threshold(ranks, stands[name]))
    if nothing or stands[name].kind == "chance":
        return WithoutSkill(name, stands[name])
    others = [one for one in series if not is_loss(one) and one not in stands and direction_of(log, one)]
    others = [one for one in others if moved(series[one], _sign(log, one))]
    train = f"train_{without_split(name)}"
    if train in others and (stands[name].since > 0 or skill.in_parts(own[name])[-1] >= skill.CEILING):
        return None  # training knows more: validation stands by itself
    return None if any(one in own for one in others) else WithoutSkill(name, stands[name])


def _found_by(name: str) -> int:
    return next((k for k, word in enumerate(FINDS) if is_one_of(name, (word,))), len(FINDS))


def _sign(log: TrainingLog, name: str) -> int:
    return -1 if direction_of(log, name) == "maximize" else 1


def unmoved(series: Mapping[str, Points], losses: tuple[str, str], metric: str, sign: int) -> Unmoved | None:
    """Return the metric that stands where it was, within its noise, while the loss of the same data fell, or None.

    Args:
        series: The metrics of the training.
        losses: The names of the losses of training and of validation, empty where there is none.
        metric: The metric that counts.
        sign: -1 if more of it is better, else 1.
    """
    train, _ = names_of(series, without_split(metric))
    values = [value for _, value in finite(series[metric])]
    if len(values) < predicates.FEWEST or any(moved(series[name], sign) for name in (metric, train) if name):
        return None
    if knows(metric, values, sign):
        return None
    # The loss of training alone may fall by overfitting, unless the metric of training stands too.
    loss = losses[0] if losses[0] and (train or not losses[1]) else losses[1]
    curve = shape_of_points(series[loss])
    if curve is None or not curve.moved or not curve.start - curve.end >= predicates.RISE * abs(curve.start):
        return None
    fall = (curve.start - curve.end) / abs(curve.start)
    return Unmoved(min(values), max(values), shape.noise_of(values), loss, fall)


def knows(metric: str, values: Sequence[float], sign: int) -> bool:
    """Return True if a metric is good as it stands: a ranking above chance, or at the ceiling of what is possible."""
    good = sign < 0 and shape.median(skill.in_parts(values)) >= skill.CEILING
    return good or skill.ranks(metric, values) is not None


def moved(points: Points, sign: int) -> bool:
    """Return True if a metric clearly improved, at once or little by little."""
    curve = shape_of_points(points, sign)
    if curve is None or curve.n < 3:
        return False
    fall, error = predicates.line_fall(curve.values, curve.noise)
    # A first value that is a little bad by chance is no rise.
    at_once = curve.values[0] - curve.end > 5 * curve.noise
    rose = curve.moved and (at_once or curve.smooth[0] - curve.low > shape.CLEAR * curve.error)
    return rose or (fall > shape.CLEAR * error and fall > shape.NOTHING * abs(curve.start))
