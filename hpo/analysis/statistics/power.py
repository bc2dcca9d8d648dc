"""How many trials an F test needs, and what it would have missed.

The power of an F test is that of the noncentral F distribution, with noncentrality f^2 n, where f^2 = e / (1 - e)
for the partial eta squared e of the effect (Cohen, "Statistical Power Analysis for the Behavioral Sciences", 2nd ed.
1988, 8.3 and 9.3)."""

from __future__ import annotations

import math
from dataclasses import dataclass

ALPHA = 0.05
POWER = 0.8
# What must not be missed before a test is shown: an effect that explains half of the variance that the other
# factors leave (partial eta squared 0.5, Cohen's f = 1).
LARGE = 0.5


@dataclass(frozen=True)
class Need:
    """The least number of trials, `n`, with which a test of `df` degrees of freedom in a model of `parameters`
    coefficients finds a LARGE effect at ALPHA with a probability of at least POWER, which then is `power`."""

    n: int
    df: int
    parameters: int
    power: float


def power_of(effect: float, df: int, parameters: int, n: int) -> float:
    """The probability to find an effect of partial eta squared `effect`, 0 < effect < 1, at ALPHA, from n trials.

    df: degrees of freedom of the effect. parameters: coefficients of the whole model, the mean among them; n is
    larger."""
    from scipy.stats import f, ncf

    rest = n - parameters
    critical = f.isf(ALPHA, df, rest)
    return float(ncf.sf(critical, df, rest, n * effect / (1 - effect)))


def needed(df: int, parameters: int) -> Need:
    """How many trials find a LARGE effect. One degree of freedom is left for the scatter at the very least."""
    low = parameters  # too few
    high = parameters + 1
    while power_of(LARGE, df, parameters, high) < POWER:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if power_of(LARGE, df, parameters, middle) < POWER:
            low = middle
        else:
            high = middle
    return Need(high, df, parameters, power_of(LARGE, df, parameters, high))


def smallest_found(df: int, parameters: int, n: int) -> float:
    """The partial eta squared of the smallest effect that n trials would have found with a probability of POWER."""
    low, high = 0.0, 1.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        if power_of(middle, df, parameters, n) < POWER:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def needed_per_side(effect: float) -> int:
    """How many trials each of two samples needs so that Welch's t test of equal samples and variances finds a
    difference of `effect` > 0 standard deviations (Cohen's d) at ALPHA with a probability of at least POWER."""
    from scipy.stats import nct, t

    n = 2
    while True:
        rest, shift = 2 * n - 2, effect * math.sqrt(n / 2)
        critical = t.isf(ALPHA / 2, rest)
        if float(nct.sf(critical, rest, shift) + nct.cdf(-critical, rest, shift)) >= POWER:
            return n
        n += 1
