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
from collections.abc import Mapping, Sequence
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
# A curve starts late if it has not made FOUND of its gain before this share of its epochs, STUCK_EPOCHS at least.
LATE_START = 0.25
FOUND = 0.05
# Fewer epochs than these say neither that a metric stands still nor that it starts late.
STUCK_EPOCHS = 4
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
    fall, error = line_fall(part, curve.noise)
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


def line_fall(values: Sequence[float], noise: float) -> tuple[float, float]:
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
    fall, error = line_fall(curve.values[-length:], curve.noise)
    if fall <= 3 * error or fall < LATE_GAIN * curve.gain:
        return None
    return Improving(length, fall, fall / curve.gain)


@dataclass(frozen=True)
class Late:
    """A curve that stood still at first and fell later.

    Attributes:
        until: the first epoch that was clearly better than the start.
        share: the epochs before it as a share of all.
    """

    until: int
    share: float


def late(curve: Shape) -> Late | None:
    """Return how late a curve began to fall, if it took at least LATE_START of its epochs, else None."""
    if curve.n < FEWEST or not curve.moved:
        return None
    level = curve.start - max(CLEAR * curve.error, FOUND * curve.gain)
    until = next(k for k in range(curve.n) if curve.smooth[k] < level)
    # A running median lags: the epoch itself is the first near it that is as low and stays so.
    until = next((k for k in range(max(0, until - curve.window // 2), until) if _below(curve, k, until, level)), until)
    share = until / curve.n
    return Late(until, share) if until >= STUCK_EPOCHS and share >= LATE_START else None


def _below(curve: Shape, first: int, last: int, level: float) -> bool:
    return all(value < level for value in curve.values[first : last + 1])


def gained_after(curve: Shape, epoch: int) -> bool:
    """Return True if a curve still fell after an epoch, from its level then, by more than its noise explains."""
    gained = curve.smooth[epoch] - min(curve.smooth[epoch:])
    return gained > CLEAR * curve.error and gained > FLAT_GAIN * curve.gain


def falls_from(curve: Shape, epoch: int) -> bool:
    """Return True if a curve clearly falls from an epoch to its end, by the least-squares line."""
    part = curve.values[epoch:]
    if len(part) < STUCK_EPOCHS:
        return False
    fall, error = line_fall(part, curve.noise)
    return fall > CLEAR * error and fall > NOTHING * curve.gain


def stands_above(curve: Shape, epoch: int, later: int) -> bool:
    """Return True if the level of a curve at one epoch is clearly above that from a later one to the end."""
    above = curve.smooth[epoch] - median(curve.values[later:])
    return above > CLEAR * curve.error + FLAT_GAIN * curve.gain


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
