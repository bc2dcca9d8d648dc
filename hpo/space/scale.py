"""Places in a range, linear or on the logarithm, for every range of doubles: 5e-324 to 1e300, or of one ulp."""

from __future__ import annotations

import math


def part_of_range(value: float, low: float, high: float, log: bool) -> float:
    """Return 0 for `low`, 1 for `high`, and what lies between for a value between."""
    if log and (whole := log_ratio(high, low)) > 0:
        return log_ratio(value, low) / whole
    # Neighbours can have one logarithm: between them it is a straight line.
    return float(value - low) / float(high - low)


def at_part(part: float, low: float, high: float, log: bool) -> float:
    """Return the number of which `part_of_range` is `part`, from 0 to 1."""
    if not log:
        value = low + part * (high - low)
    elif math.isfinite(ratio := high / low):
        value = low * ratio**part
    else:
        value = math.exp(math.log(low) + part * log_ratio(high, low))
    return min(max(value, low), high)


def log_ratio(value: float, other: float) -> float:
    """Return log(value / other), also where the quotient is too large for a double. Both are above 0."""
    ratio = value / other
    return math.log(ratio) if 0 < ratio < math.inf else math.log(value) - math.log(other)
