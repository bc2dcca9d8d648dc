"""The power of F tests and t tests: how many trials a test needs, and which effect it would have found.

The power of an F test is that of the noncentral F distribution with noncentrality f² n. For an effect of partial eta
squared e, f² = e / (1 - e). Source: Cohen, "Statistical Power Analysis for the Behavioral Sciences", 2nd ed. 1988,
sections 8.3 and 9.3.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

ALPHA = 0.05
POWER = 0.8
# The effect that must not be missed before a test is shown: one that explains half of the variance that the other
# factors leave (partial eta squared 0.5, Cohen's f = 1).
LARGE = 0.5


@dataclass(frozen=True)
class Need:
    """Number of trials that an F test needs.

    Attributes:
        n: The least number of trials with which the test finds a LARGE effect at ALPHA, with a probability of at least
            POWER.
        df: Degrees of freedom of the effect.
        parameters: Coefficients of the whole model, the mean among them.
        power: The power with `n` trials.
    """

    n: int
    df: int
    parameters: int
    power: float


def power_of(effect: float, df: int, parameters: int, n: int) -> float:
    """Return the probability that an F test finds an effect at ALPHA.

    Args:
        effect: Partial eta squared of the effect, above 0 and below 1.
        df: Degrees of freedom of the effect.
        parameters: Coefficients of the whole model, the mean among them.
        n: Number of trials, more than `parameters`.
    """
    from statsmodels.stats.power import ftest_power_f2

    # statsmodels takes f² times (df + residual df + ncc) as noncentrality. This `ncc` makes that sum n in any design.
    return float(ftest_power_f2(effect / (1 - effect), df, n - parameters, ALPHA, ncc=parameters - df))


def needed(df: int, parameters: int) -> Need:
    """Return how many trials find a LARGE effect, by bisection.

    At least one degree of freedom is left for the residual.
    """
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
    """Return the partial eta squared of the smallest effect that n trials find with a probability of POWER.

    The arguments are those of `power_of`.
    """
    from scipy.optimize import brentq

    return float(brentq(lambda effect: power_of(effect, df, parameters, n) - POWER, 1e-9, 1 - 1e-9, xtol=1e-9))


def needed_per_side(effect: float) -> int:
    """Return how many trials each of two samples needs for a t test to find a difference.

    The two samples have one size and one variance. The test is two-sided, at ALPHA, with a power of at least POWER.

    Args:
        effect: Cohen's d, the difference in standard deviations, above 0.
    """
    from statsmodels.stats.power import TTestIndPower

    # `solve_power` gives NaN for a large effect, which 2 trials a side find.
    return next(n for n in itertools.count(2) if TTestIndPower().power(effect, n, ALPHA) >= POWER)
