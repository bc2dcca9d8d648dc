"""Test two samples of final values against each other: by means, or by ranks where values lie far outside."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hpo.analysis.statistics.multiple_testing import holm
from hpo.analysis.statistics.pairwise import hedges_g, scaled, small_sample
from hpo.analysis.statistics.power import ALPHA, needed_per_side
from hpo.analysis.summary_statistics import usual_range

# The difference that must not be missed before a test is shown: Cohen's d of 2, which is a partial eta squared of 0.5
# between two groups of one size (see hpo.analysis.statistics.power).
LARGE_DIFFERENCE = 2.0
WELCH, MANN_WHITNEY = "Welch", "Mann-Whitney"


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
        low: Lower end of the 95 % interval of the difference.
        high: Upper end of that interval.
        p: Two-sided, corrected for the number of tests by Holm once `holm_corrected` has been called.
        g: Hedges' g; None without any scatter, or by ranks.
        g_low: Lower end of the 95 % interval of g.
        g_high: Upper end of that interval.
        a: The probability that a value of `after` is above one of `before`, where equals count half; by ranks only.
            Source: Vargha and Delaney, Journal of Educational and Behavioral Statistics 25, 2000.
        needed: How many values each side needs, where there are too few for a test; 0 otherwise.
    """

    group: str
    before: str
    after: str
    n_before: int
    n_after: int
    method: str = ""
    difference: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    g: float | None = None
    g_low: float | None = None
    g_high: float | None = None
    a: float | None = None
    needed: int = 0


def two_sample_test(
    group: str, before: str, after: str, values_before: Sequence[float], values_after: Sequence[float]
) -> TwoSampleTest:
    """Test one sample against another one, or say how many values are needed.

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
    enough = needed_per_side(LARGE_DIFFERENCE)
    if min(sizes) < enough or min(values) == max(values):
        return replace(untested, needed=enough)

    from scipy.stats import mannwhitneyu, ttest_ind

    y, scale = scaled(values)
    x, y = np.split(y, sizes[:1])
    difference = float(y.mean() - x.mean())
    if _has_outlier(x.tolist()) or _has_outlier(y.tolist()) or x.var() + y.var() == 0:
        ranks = mannwhitneyu(y, x)
        above = float(ranks.statistic) / (len(x) * len(y))
        return replace(untested, method=MANN_WHITNEY, difference=difference * scale, p=float(ranks.pvalue), a=above)
    welch = ttest_ind(y, x, equal_var=False)
    interval = welch.confidence_interval(1 - ALPHA)
    g = hedges_g(y, x)
    g_low, g_high = (None, None) if g is None else g_interval(g, len(y), len(x))
    return replace(
        untested,
        method=WELCH,
        difference=difference * scale,
        low=float(interval.low) * scale,
        high=float(interval.high) * scale,
        p=float(welch.pvalue),
        g=g,
        g_low=g_low,
        g_high=g_high,
    )


def _has_outlier(values: Sequence[float]) -> bool:
    return any(usual_range(values, direction).beyond(values) for direction in ("maximize", "minimize"))


def g_interval(g: float, n: int, m: int) -> tuple[float, float]:
    """Return the 95 % interval of Hedges' g between samples of n and m values.

    By its variance in large samples, J² ((n + m) / (n m) + d² / (2 (n + m - 2))) with d = g / J. Source: Hedges and
    Olkin, "Statistical Methods for Meta-Analysis", 1985, chapter 5.
    """
    from scipy.stats import norm

    j = small_sample(n + m - 2)
    error = j * math.sqrt((n + m) / (n * m) + (g / j) ** 2 / (2 * (n + m - 2)))
    reach = float(norm.isf(ALPHA / 2)) * error
    return g - reach, g + reach


def holm_corrected(tests: Sequence[TwoSampleTest]) -> tuple[TwoSampleTest, ...]:
    """Return the tests with every p corrected for the number of tests that were made."""
    made = [k for k, test in enumerate(tests) if test.method]
    corrected = list(tests)
    for k, p in zip(made, holm([tests[k].p for k in made]), strict=True):
        corrected[k] = replace(tests[k], p=p)
    return tuple(corrected)
