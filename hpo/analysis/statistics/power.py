"""The power of F tests and t tests: the smallest effect that a test of so many trials would have found.

It says what a test that found nothing may have missed, and never whether a test is shown.

The power of an F test is that of the noncentral F distribution with noncentrality f² n. For an effect of partial eta
squared e, f² = e / (1 - e). Source: Cohen, "Statistical Power Analysis for the Behavioral Sciences", 2nd ed. 1988,
sections 8.3 and 9.3.
"""

from __future__ import annotations

import math

ALPHA = 0.05
POWER = 0.8


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
    return _known(ftest_power_f2(effect / (1 - effect), df, n - parameters, ALPHA, ncc=parameters - df))


def _known(power: float) -> float:
    """Return a power; 1 where SciPy has none, as at some large noncentralities, at which every effect is found."""
    return 1.0 if math.isnan(power) else float(power)


def smallest_found(df: int, parameters: int, n: int) -> float:
    """Return the partial eta squared of the smallest effect that n trials find with a probability of POWER.

    The arguments are those of `power_of`.
    """
    from scipy.optimize import brentq

    return float(brentq(lambda effect: power_of(effect, df, parameters, n) - POWER, 1e-9, 1 - 1e-9, xtol=1e-9))


def smallest_difference_found(n: int, m: int) -> float:
    """Return the smallest difference that a t test of n and m values finds with a probability of POWER.

    The two samples have one variance. The test is two-sided, at ALPHA.

    Returns:
        Cohen's d, the difference in standard deviations.
    """
    from scipy.optimize import brentq
    from statsmodels.stats.power import TTestIndPower

    def missing(effect: float) -> float:
        return _known(TTestIndPower().power(effect, n, ALPHA, ratio=m / n)) - POWER

    high = 1.0
    while missing(high) < 0:
        high *= 2
    return float(brentq(missing, 1e-9, high, xtol=1e-6))
