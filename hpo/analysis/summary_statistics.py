"""Summarize a few numbers: mean, sample standard deviation, range.

Diverged trainings leave huge values behind: nothing here raises for them, and a figure's range leaves them out.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

ROOM = 0.06  # on either side of an axis, as a share of its range


@dataclass(frozen=True)
class Spread:
    """Summary of n >= 1 numbers.

    Attributes:
        n: How many there are.
        mean: Their mean.
        deviation: Their sample standard deviation (N - 1); None for n < 2.
        median: Their median.
        low: The least of them.
        high: The largest of them.
        quartiles: Their lower and upper quartile; None for n < 3.
    """

    n: int
    mean: float
    deviation: float | None
    median: float
    low: float
    high: float
    quartiles: tuple[float, float] | None = None


def spread(values: Sequence[float]) -> Spread | None:
    """Return the summary of some numbers; None without any."""
    if not values:
        return None
    middle = statistics.median(values)
    return Spread(len(values), mean(values), deviation(values), middle, min(values), max(values), quartiles(values))


def quartiles(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the lower and the upper quartile, which lie within the values; None for fewer than 3."""
    if len(values) < 3:
        return None
    lower, _, upper = statistics.quantiles(values, n=4, method="inclusive")
    return min(max(lower, min(values)), max(values)), max(min(upper, max(values)), min(values))


def mean(values: Sequence[float]) -> float:
    """Return the mean of at least one number."""
    try:
        return statistics.fmean(values)
    except OverflowError:  # the sum is beyond a double, the mean is not
        return statistics.mean(values)  # exact, and slower


def deviation(values: Sequence[float]) -> float | None:
    """Return the sample standard deviation, sqrt(sum((x - mean)²) / (N - 1)).

    Returns:
        None for N < 2; infinity where it is beyond a double.
    """
    if len(values) < 2:
        return None
    try:
        return statistics.stdev(values)
    except OverflowError:
        return math.inf


@dataclass(frozen=True)
class Range:
    """Range that a figure spans; both ends are None without values."""

    low: float | None = None
    high: float | None = None

    def beyond(self, values: Iterable[float]) -> int:
        """Return the number of values outside of the range."""
        if self.low is None or self.high is None:
            return 0
        return sum(not self.low <= value <= self.high for value in values)

    def padded(self, share: float = ROOM) -> tuple[float, float] | None:
        """Return the ends of an axis with some room beyond, or None, which lets plotly choose."""
        if self.low is None or self.high is None:
            return None
        margin = share * (self.high - self.low) or 0.05 * abs(self.low) or 1.0
        return self.low - margin, self.high + margin


def has_outlier(values: Sequence[float]) -> bool:
    """Return True if a value lies beyond Tukey's far fence on either side."""
    return any(usual_range(values, direction).beyond(values) for direction in ("maximize", "minimize"))


def usual_range(values: Sequence[float], direction: str) -> Range:
    """Return the range of some values, without extreme bad ones.

    A diverged trial must not press all others together. On the bad side (low where `direction` is maximize) the range
    ends at Tukey's far fence, 3 interquartile ranges beyond the quartile. Source: Tukey, "Exploratory Data Analysis",
    1977.
    """
    if not values:
        return Range()
    low, high = min(values), max(values)
    if len(values) < 5:
        return Range(low, high)
    lower, _, upper = statistics.quantiles(values, n=4, method="inclusive")
    reach = 3 * (upper - lower)
    if reach == 0 or not math.isfinite(reach):
        return Range(low, high)
    if direction == "maximize":
        return Range(min(value for value in values if value >= lower - reach), high)
    return Range(low, max(value for value in values if value <= upper + reach))
