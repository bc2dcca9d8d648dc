"""The shape of a training curve: its levels, its noise and its gain.

Noise is estimated from second differences, in which a trend cancels. With independent noise of standard deviation s
they have a variance of 6 s^2 (Gasser, Sroka and Jennen-Steinmetz 1986). A level is the median of a few epochs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

# A difference of two levels must be this many of its standard errors.
CLEAR = 4.0
# A change by less than this share of the level does not count.
NOTHING = 0.005
NUMPY_FROM = 40  # values: NumPy takes longer for fewer
_NORMAL_MAD = 1.4826  # standard deviation of a normal variable in median absolute deviations
_MEDIAN = 1.2533  # standard error of a median in that of a mean, for a normal variable


# --- a curve in a few numbers


@dataclass(frozen=True)
class Shape:
    """A curve of at least one finite value, lower is better.

    Attributes:
        values: the curve.
        smooth: running medians over `window` epochs.
        window: an odd number of epochs.
        noise: standard deviation from epoch to epoch, around the trend.
        error: standard error of the difference of two levels.
        start: the first value, or the first level if that is higher.
        low: the lowest level.
        low_at: the epoch of the lowest value in the window of the lowest level.
        end: the last level.
    """

    values: tuple[float, ...]
    smooth: tuple[float, ...]
    window: int
    noise: float
    error: float
    start: float
    low: float
    low_at: int
    end: float

    @property
    def n(self) -> int:
        """The number of epochs."""
        return len(self.values)

    @property
    def gain(self) -> float:
        """The difference between start and lowest level, at least 0."""
        return self.start - self.low

    @property
    def level(self) -> float:
        """The size of the last values, whatever their sign."""
        return median([abs(value) for value in self.values[-(self.n + 1) // 2 :]])

    @property
    def moved(self) -> bool:
        """True if the curve has clearly fallen at all."""
        return self.gain > CLEAR * self.error and self.gain > NOTHING * max(abs(self.start), abs(self.low))


def shape_of(values: Sequence[float]) -> Shape:
    """Return the shape of a curve.

    Args:
        values: at least one value, all finite, lower is better (negate a metric to be maximized).
    """
    return _shape_of(tuple(values))


# Several questions are asked of each curve of a training.
@lru_cache(maxsize=256)
def _shape_of(values: tuple[float, ...]) -> Shape:
    n = len(values)
    window = min(11, max(3, (n // 12) | 1))
    smooth = running_median(values, window)
    noise = noise_of(values)
    low = min(smooth)
    near, half = smooth.index(low), window // 2
    low_at = min(range(max(0, near - half), min(n, near + half + 1)), key=values.__getitem__)
    return Shape(
        values=values,
        smooth=tuple(smooth),
        window=window,
        noise=noise,
        error=_MEDIAN * noise * math.sqrt(2 / window),
        start=max(values[0], smooth[0]),
        low=low,
        low_at=low_at,
        end=median(values[-window:]),
    )


def median(values: Sequence[float]) -> float:
    """Return the median of at least one number."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else ordered[middle - 1] / 2 + ordered[middle] / 2


def running_median(values: Sequence[float], window: int) -> list[float]:
    """Return the running median, centred; at the ends over the values that are there.

    Args:
        values: the curve.
        window: an odd number of values.
    """
    half, n = window // 2, len(values)
    if n < max(window, NUMPY_FROM):
        return [median(values[max(0, k - half) : k + half + 1]) for k in range(n)]
    # NumPy computes most of them, for a study may have a hundred thousand trials.
    inner = np.sort(sliding_window_view(np.asarray(values, dtype=float), window), axis=1)[:, half].tolist()
    first = [median(values[: k + half + 1]) for k in range(half)]
    last = [median(values[k - half :]) for k in range(n - half, n)]
    return [*first, *inner, *last]


def noise_of(values: Sequence[float]) -> float:
    """Return the standard deviation of the noise around a trend; 0 for fewer than 3 values."""
    bends = [abs(a / 2 - b + c / 2) for a, b, c in zip(values, values[1:], values[2:], strict=False)]
    return 2 * _NORMAL_MAD * median(bends) / math.sqrt(6) if bends else 0.0
