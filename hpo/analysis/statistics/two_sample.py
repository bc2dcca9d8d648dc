"""Test two samples of final values against each other: by means, or by ranks where values lie far outside."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hpo.analysis.statistics.multiple_testing import holm
from hpo.analysis.statistics.pairwise import FEWEST, hedges_g, scaled
from hpo.analysis.statistics.power import ALPHA, smallest_difference_found
from hpo.analysis.summary_statistics import has_outlier

WELCH, MANN_WHITNEY = "Welch", "Mann-Whitney"
TOO_FEW, ALL_EQUAL, SURVIVORS = "too few", "all equal", "survivors"


@dataclass(frozen=True)
class TwoSampleTest:
    """Test of `after` against `before` within one group.

    Attributes:
        group: The group that both samples are of.
        before: Name of the side that is compared with.
        after: Name of the side that is compared.
        n_before: Number of values before.
        n_after: Number of values after.
        method: WELCH, or MANN_WHITNEY where a value lies far outside; empty if there was no test.
        difference: Mean of `after` less mean of `before`, in the unit of the metric.
        error: Standard error of the difference; NaN by ranks.
        df: Degrees of freedom of the standard error; NaN by ranks.
        low: Lower end of the interval of the difference, which leaves out 0 exactly where p is below 0.05.
        high: Upper end of that interval.
        p: Two-sided, corrected for the number of tests by Holm once `holm_corrected` has been called.
        g: Hedges' g; None without any scatter, or by ranks.
        g_low: Lower end of the interval of g: that of the difference in standard deviations.
        g_high: Upper end of that interval.
        a: The probability that a value of `after` is above one of `before`, where equals count half; by ranks only.
            Source: Vargha and Delaney, Journal of Educational and Behavioral Statistics 25, 2000.
        missed: The smallest Cohen's d that so many values would have found with a probability of 80 %, where none was
            found; None otherwise.
        why_not: TOO_FEW, ALL_EQUAL or SURVIVORS where there was no test.
    """

    group: str
    before: str
    after: str
    n_before: int
    n_after: int
    method: str = ""
    difference: float = math.nan
    error: float = math.nan
    df: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    g: float | None = None
    g_low: float | None = None
    g_high: float | None = None
    a: float | None = None
    missed: float | None = None
    why_not: str = ""


def two_sample_test(
    group: str, before: str, after: str, values_before: Sequence[float], values_after: Sequence[float]
) -> TwoSampleTest:
    """Test one sample against another one, or say why there is no test.

    Welch's t test, since two searches have no reason to scatter alike. By ranks (Mann and Whitney) where a value lies
    beyond Tukey's far fences of its side, as that of a diverged training does: a mean then says nothing of the others.

    Args:
        group: Name of the group that both samples are of.
        before: Name of the side that is compared with.
        after: Name of the side that is compared.
        values_before: At least one finite value.
        values_after: At least one finite value.
    """
    sizes = len(values_before), len(values_after)
    untested = TwoSampleTest(group, before, after, *sizes)
    values = [*values_before, *values_after]
    if min(sizes) < FEWEST:
        return replace(untested, why_not=TOO_FEW)
    if min(values) == max(values):
        return replace(untested, why_not=ALL_EQUAL)

    from scipy.stats import mannwhitneyu, t

    y, scale = scaled(values)
    x, y = np.split(y, sizes[:1])
    difference = float(y.mean() - x.mean())
    if has_outlier(x.tolist()) or has_outlier(y.tolist()) or x.var() + y.var() < 1e-24:
        ranks = mannwhitneyu(y, x)
        above = float(ranks.statistic) / (len(x) * len(y))
        return replace(untested, method=MANN_WHITNEY, difference=difference * scale, p=float(ranks.pvalue), a=above)
    # By the formulas of Welch and Satterthwaite: SciPy's `ttest_ind` warns of a side whose values are all equal.
    parts = [float(side.var(ddof=1)) / len(side) for side in (x, y)]
    error = math.sqrt(sum(parts))
    df = sum(parts) ** 2 / sum(part**2 / (len(side) - 1) for part, side in zip(parts, (x, y), strict=True))
    return replace(
        untested,
        method=WELCH,
        difference=difference * scale,
        error=error * scale,
        df=df,
        p=2 * float(t.sf(abs(difference) / error, df)),
        g=hedges_g(y, x),
    )


def holm_corrected(tests: Sequence[TwoSampleTest]) -> tuple[TwoSampleTest, ...]:
    """Return the tests with every p corrected for the number of tests that were made, and intervals that agree with it.

    The interval of a test has the level 1 - ALPHA x p / corrected p: it leaves out 0 exactly where the corrected p is
    below ALPHA.
    """
    made = [k for k, test in enumerate(tests) if test.method]
    corrected = list(tests)
    for k, p in zip(made, holm([tests[k].p for k in made]), strict=True):
        level = ALPHA * (tests[k].p / p if p > 0 else 1 / len(made))
        missed = smallest_difference_found(tests[k].n_before, tests[k].n_after) if p >= ALPHA else None
        corrected[k] = replace(_with_intervals(tests[k], level), p=p, missed=missed)
    return tuple(corrected)


def _with_intervals(test: TwoSampleTest, level: float) -> TwoSampleTest:
    from scipy.stats import t

    if test.method != WELCH:
        return test
    reach = float(t.isf(level / 2, test.df)) * test.error
    low, high = test.difference - reach, test.difference + reach
    g_low = g_high = None
    if test.g is not None and test.difference:
        g_low, g_high = (test.g * (end / test.difference) for end in (low, high))
    return replace(test, low=low, high=high, g_low=g_low, g_high=g_high)
