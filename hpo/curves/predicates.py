"""Predicates on training curves, for the diagnosis of a finished training and the red flags of a running one.

A predicate takes the values of one metric in the order of its epochs, or their `Shape`. It returns the numbers that led
to its answer, or None. Positions are indices into the values. All predicates are robust to noise, and none changes when
a loss is multiplied by a constant: a rise or a fall counts only if it stands out from the noise and is a sizeable part
of the gain, or of the level.

Noise is estimated from second differences, in which a trend cancels: with independent noise of standard deviation s
they have 6 s^2 as variance (Gasser, Sroka and Jennen-Steinmetz 1986). A level is the median of a few epochs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from hpo.curves.shape import CLEAR, NOTHING, Shape, median, noise_of

# A curve of fewer epochs has no shape that could be judged.
FEWEST = 8
# A difference of two levels must also be this share of the gain, or of the level.
RISE = 0.1
# A training that diverged lost at least this share of its gain.
LOST = 0.5
# Noise is large from these shares of the gain and of the level on.
NOISY = 0.15
NOISY_LEVEL = 0.05
# A plateau is at least this share of the epochs, in which less than that share of the gain was made.
FLAT_EPOCHS = 0.6
FLAT_GAIN = 0.03
# An improvement is beyond the noise from this many standard errors of a difference of levels on.
BEYOND_NOISE = 3.0
# If noise could hide a fall by this share of the gain, nobody can tell whether this is a plateau.
HIDDEN_GAIN = 0.1
# A curve that still improves made at least this share of its gain in the last third of its epochs.
LATE_GAIN = 0.1
# A metric is stuck if its last values, this many at least, are one and the same.
STUCK_EPOCHS = 4
CHANCE_TOLERANCE = 0.02
# Values of metrics for random answers, by the end of the metric's name.
CHANCE = {"auc": 0.5, "pair_accuracy": 0.5, "kendall_tau": 0.0, "mcc": 0.0, "kappa": 0.0, "correlation": 0.0}
# A component of a loss dominates above this share, and this multiple of an even share.
DOMINANT = 0.5
DOMINANT_MULTIPLE = 1.5
# What adds less than this share to a loss is near 0, and counts for nothing in an average of its components.
NEGLIGIBLE = 5e-5


# --- what is wrong with a loss


@dataclass(frozen=True)
class NonFinite:
    """The first value that is NaN or infinite."""

    at: int
    value: float


def non_finite(values: Sequence[float]) -> NonFinite | None:
    """Return the first value that is NaN or infinite, None if all are finite."""
    return next((NonFinite(at, value) for at, value in enumerate(values) if not math.isfinite(value)), None)


@dataclass(frozen=True)
class Diverged:
    """A loss that rose again.

    Attributes:
        start: the first level.
        low: the lowest level.
        low_at: the epoch of the lowest level.
        end: the last level.
        lost: the rise from `low` to `end` as a share of the gain; infinite if nothing had been gained.
    """

    start: float
    low: float
    low_at: int
    end: float
    lost: float

    @property
    def exploded(self) -> bool:
        """True if the loss ended far above its start, not only back at it."""
        return self.end > 2 * abs(self.start) and self.end - self.start > self.start - self.low


def diverged(curve: Shape) -> Diverged | None:
    """Return how a training loss diverged, or None.

    It did if it lost half of its gain, or if its last value leaves all earlier ones far below.
    """
    rise = curve.end - curve.low
    if curve.n < FEWEST:
        return None
    # Growing swings are noise in the first comparison, but not in the second.
    part = max(5, curve.n // 5)
    clear = rise > CLEAR * curve.error or min(curve.values[-part:]) > max(curve.values[:part])
    if clear and rise >= max(LOST * curve.gain, RISE / 2 * abs(curve.low)) > 0:
        return _diverged(curve, curve.end)
    last, before = curve.values[-1], max(curve.values[:-1])
    if last - curve.low > 10 * (before - curve.low) and last - before > 10 * CLEAR * curve.error:
        return _diverged(curve, last)
    return None


def _diverged(curve: Shape, end: float) -> Diverged:
    lost = (end - curve.low) / curve.gain if curve.gain > 0 else math.inf
    return Diverged(curve.start, curve.low, curve.low_at, end, lost)


@dataclass(frozen=True)
class Flat:
    """A curve without a gain that stands out from the noise.

    Attributes:
        gain: start minus lowest level, in the unit of the curve.
        noise: standard deviation from epoch to epoch, in the unit of the curve.
        level: size of the last values.
    """

    gain: float
    noise: float
    level: float


def flat(curve: Shape) -> Flat | None:
    """Return the numbers of a curve that never clearly fell, or None."""
    if curve.n < FEWEST or curve.moved:
        return None
    return Flat(curve.gain, curve.noise, curve.level)


@dataclass(frozen=True)
class Noisy:
    """A curve that swings much.

    Attributes:
        noise: standard deviation from epoch to epoch in the second half.
        of_gain: the noise as a share of the gain; infinite if nothing was gained.
        of_level: the noise as a share of the level.
    """

    noise: float
    of_gain: float
    of_level: float


def noisy(curve: Shape) -> Noisy | None:
    """Return the noise of a curve if it is a large share of both the gain and the level, else None."""
    if curve.n < FEWEST:
        return None
    # A curve may become calmer, so its second half counts; but half of few epochs is too few.
    noise = noise_of(curve.values[curve.n // 2 :]) if curve.n >= 3 * FEWEST else curve.noise
    level = curve.level
    of_gain = noise / curve.gain if curve.gain > 0 else math.inf
    of_level = noise / level if level > 0 else math.inf
    return Noisy(noise, of_gain, of_level) if noise > 0 and of_gain >= NOISY and of_level >= NOISY_LEVEL else None


@dataclass(frozen=True)
class Overfitting:
    """A loss on data not trained on that rose while the training loss did not.

    Attributes:
        since: the epoch of the lowest level.
        low: the lowest level.
        end: the last level.
        of_gain: the rise as a share of the gain; infinite if nothing was gained.
        epochs: epochs from `since` to the end.
        train_then: the training loss at `since`; None if it is not known.
        train_end: the training loss at the end; None if it is not known.
    """

    since: int
    low: float
    end: float
    of_gain: float
    epochs: int
    train_then: float | None = None
    train_end: float | None = None


def overfitting(val: Shape, train: Shape | None = None) -> Overfitting | None:
    """Return how a curve overfits, or None.

    Args:
        val: the loss on data not trained on.
        train: the training loss of the same epochs. If it rises too, the training is to blame, not the data.
    """
    since, epochs = val.low_at, val.n - 1 - val.low_at
    rise = val.end - val.low
    sizeable = rise >= RISE * max(val.gain, 0.0) or rise >= RISE * abs(val.low)
    if val.n < FEWEST or epochs < 3 or rise <= CLEAR * val.error or not sizeable or rise <= NOTHING * abs(val.low):
        return None
    of_gain = rise / val.gain if val.gain > 0 else math.inf
    if train is None or train.n != val.n:
        return Overfitting(since, val.low, val.end, of_gain, epochs)
    then = train.smooth[since]
    if train.end - then > 3 * train.error + RISE / 2 * train.gain:
        return None
    return Overfitting(since, val.low, val.end, of_gain, epochs, then, train.end)


@dataclass(frozen=True)
class Plateau:
    """A curve that has stayed at its last level.

    Attributes:
        since: the epoch in which it last improved by more than its noise.
        epochs: epochs from `since` to the end.
        tested: how many of the last epochs were tested.
        fall: how much it fell in those.
        of_gain: that fall as a share of the whole gain.
    """

    since: int
    epochs: int
    tested: int
    fall: float
    of_gain: float


def plateau(curve: Shape) -> Plateau | None:
    """Return the plateau of a curve that fell and then stood still for at least FLAT_EPOCHS of its epochs, or None.

    The fall in the tested part is that of the least-squares line, with its standard error.
    """
    length = round(FLAT_EPOCHS * curve.n)
    if curve.n < FEWEST or length < FEWEST or not curve.moved:
        return None
    part = curve.values[-length:]
    fall, error = _fall(part, curve.noise)
    if fall + error > HIDDEN_GAIN * curve.gain or fall > FLAT_GAIN * curve.gain:
        return None
    # A loss may fall by orders of magnitude: a small part of the gain may be a large part of what is left.
    if fall > 2 * error and fall > RISE * abs(median(part)):
        return None
    since = last_improvement(curve)
    return Plateau(since, curve.n - since, length, fall, fall / curve.gain)


def last_improvement(curve: Shape) -> int:
    """Return the epoch in which the smoothed curve last improved by more than its noise; 0 if it never did.

    Steps that are each within the noise count as soon as they exceed it together.
    """
    limit = max(BEYOND_NOISE * curve.error, NOTHING * curve.gain)
    since, level = 0, curve.smooth[0]
    for k, value in enumerate(curve.smooth):
        if value < level - limit:
            since, level = k, value
    return since


def _fall(values: Sequence[float], noise: float) -> tuple[float, float]:
    """Return how far the least-squares line falls from the first to the last value, and the standard error of that."""
    n = len(values)
    middle = (n - 1) / 2
    squares = n * (n * n - 1) / 12
    slope = sum((k - middle) * value for k, value in enumerate(values)) / squares
    return -slope * (n - 1), noise * (n - 1) / math.sqrt(squares)


@dataclass(frozen=True)
class Improving:
    """A curve that still falls at its end.

    Attributes:
        epochs: how many of the last epochs were tested.
        fall: how much it fell in those.
        of_gain: that fall as a share of the whole gain.
    """

    epochs: int
    fall: float
    of_gain: float


def improving(curve: Shape) -> Improving | None:
    """Return the fall in the last third of a curve if it is clear, else None."""
    length = max(4, curve.n // 3)
    if curve.n < FEWEST or not curve.moved:
        return None
    fall, error = _fall(curve.values[-length:], curve.noise)
    if fall <= 3 * error or fall < LATE_GAIN * curve.gain:
        return None
    return Improving(length, fall, fall / curve.gain)


@dataclass(frozen=True)
class Rising:
    """A row of rises at the end.

    Attributes:
        epochs: how many.
        low: the value before the first of them.
        end: the last value.
    """

    epochs: int
    low: float
    end: float


def rising(values: Sequence[float], epochs: int) -> Rising | None:
    """Return the row of rises at the end of a curve, or None.

    Args:
        values: the curve; noise is estimated from what comes before the row.
        epochs: how many of the last changes must all be rises, together by more than twice the noise.
    """
    if epochs < 1 or len(values) <= epochs:
        return None
    last = values[-epochs - 1 :]
    if any(not after > before for before, after in pairwise(last)):
        return None
    if last[-1] - last[0] <= 2 * noise_of(values[: -epochs or None]):
        return None
    return Rising(epochs, last[0], last[-1])


@dataclass(frozen=True)
class Unimproved:
    """A metric that was never better than at its start.

    Attributes:
        first: the first value.
        best: the lowest value since.
    """

    first: float
    best: float


def unimproved(values: Sequence[float]) -> Unimproved | None:
    """Return the first and the best value if none is below the first by more than the noise, else None.

    Unlike with `flat`, one good value is enough for None.

    Args:
        values: finite, lower is better; fewer than three say nothing.
    """
    if len(values) < 3:
        return None
    best = min(values[1:])
    return None if best < values[0] - noise_of(values) else Unimproved(values[0], best)


@dataclass(frozen=True)
class Jump:
    """A single value far above its neighbours.

    Attributes:
        at: its epoch.
        size: how far it is above the larger of its neighbours.
    """

    at: int
    size: float


def jumps(curve: Shape) -> tuple[Jump, ...]:
    """Return the single epochs in which a curve was thrown back and recovered.

    A jump is 6 standard deviations of the noise or more, and a tenth of the gain.
    """
    limit = max(6 * curve.noise, RISE * curve.gain)
    if curve.n < FEWEST or not limit > 0:
        return ()
    found = []
    for k in range(1, curve.n - 1):
        size = curve.values[k] - max(curve.values[k - 1], curve.values[k + 1])
        if size > limit:
            found.append(Jump(k, size))
    return tuple(found)


# --- what is wrong with a metric


@dataclass(frozen=True)
class Collapsed:
    """A metric that shows no skill from some epoch to the end.

    Attributes:
        kind: `zero` (a recall or the like of 0), `stuck` (one and the same number, no better than at the start or far
            below
            the best) or `chance` (as good as guessing).
        value: the value it has there.
        since: the first epoch of these.
        epochs: how many they are.
        best: the best value of all epochs.
    """

    kind: str
    value: float
    since: int
    epochs: int
    best: float


def collapsed(name: str, values: Sequence[float], maximize: bool = True) -> Collapsed | None:
    """Return how a metric collapsed, or None.

    An untrained network may answer one class for a few epochs, and a rare class is found late. So the metric must have
    been
    without skill for at least STUCK_EPOCHS epochs and a fifth of all.

    Args:
        name: the name of the metric, which tells the value without skill: 0 for a recall, 0.5 for an AUC.
        values: the metric by epoch.
        maximize: True if higher is better.
    """
    n = len(values)
    least = max(STUCK_EPOCHS, math.ceil(n / 5))
    if n < FEWEST or not all(math.isfinite(value) for value in values):
        return None
    last = values[-1]
    best = max(values) if maximize else min(values)
    tail = _tail(values, lambda value: math.isclose(value, last, rel_tol=1e-6, abs_tol=1e-12))
    if tail >= least:
        if last == 0 and maximize and any(word in name for word in ("recall", "sens", "f1", "precision", "jaccard")):
            return Collapsed("zero", last, n - tail, tail, best)
        gained, kept = abs(best - values[0]), (last - values[0]) * (1 if maximize else -1)
        perfect = last == (1.0 if maximize else 0.0)
        if kept <= LOST * gained and not perfect:
            return Collapsed("stuck", last, n - tail, tail, best)
    if above_chance(name, last) is not None and maximize:
        tail = _tail(values, lambda value: abs(above_chance(name, value) or 0.0) <= CHANCE_TOLERANCE)
        if tail >= least:
            return Collapsed("chance", median(values[-tail:]), n - tail, tail, best)
    return None


def _tail(values: Sequence[float], holds: Callable[[float], bool]) -> int:
    """Return the number of values at the end that fulfil `holds`, without a gap."""
    return next((count for count, value in enumerate(reversed(values)) if not holds(value)), len(values))


def above_chance(name: str, value: float) -> float | None:
    """Return how far a metric is above guessing; None if its name tells no level of chance."""
    chance = next((level for word, level in CHANCE.items() if name.endswith(word)), None)
    return None if chance is None else value - chance


# --- several losses


@dataclass(frozen=True)
class Dominant:
    """A component that makes up most of a loss.

    Attributes:
        name: the component.
        share: its share of the loss.
        factor: what its weight must be multiplied by for it to weigh as much as the others do on average.
        largest: the largest of the others.
        to_largest: what its weight must be multiplied by for it to weigh as much as that one.
    """

    name: str
    share: float
    factor: float
    largest: str
    to_largest: float


def dominant(contributions: Mapping[str, float]) -> Dominant | None:
    """Return the component that dominates a loss, or None.

    Args:
        contributions: what each component adds to the loss, weighted. Shares are those of their absolute values. What
            adds less than NEGLIGIBLE of the loss is not counted, unless all others are so small.
    """
    sizes = {name: abs(value) for name, value in contributions.items() if math.isfinite(value)}
    total = sum(sizes.values())
    if len(sizes) < 2 or len(sizes) < len(contributions) or not 0 < total < math.inf:
        return None
    name = max(sizes, key=sizes.__getitem__)
    share = sizes[name] / total
    counted = {one: size for one, size in sizes.items() if size >= NEGLIGIBLE * total}
    if len(counted) < 2:
        counted = sizes
    if share <= max(DOMINANT, min(0.9, DOMINANT_MULTIPLE / len(counted))):
        return None
    others = {one: size for one, size in counted.items() if one != name}
    largest = max(others, key=others.__getitem__)
    average = sum(others.values()) / len(others)
    return Dominant(name, share, average / sizes[name], largest, others[largest] / sizes[name])
