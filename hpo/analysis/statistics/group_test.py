"""Choose the test of all groups together whose assumptions hold: F, Welch's, or that of Kruskal and Wallis.

The rules, in this order:

1. Two modes within the groups that the other factors do not explain: ranks, since a mean lies between the modes, where
   no training ends.
2. A value far outside of its group (Tukey's far fence): ranks, since the mean is that value's.
3. Unequal variances by Levene's test about the median, at SUSPECT: Welch's test, and Games and Howell's of the pairs.
4. Residuals that are not normal by the test of Shapiro and Wilk: ranks.
5. Otherwise the F test of the analysis of variance.

`benchmarks/group_test.py` measures how often the chosen test finds a difference where there is none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpo.analysis.statistics.modes import CLEAR, Modes, two_modes
from hpo.analysis.statistics.pairwise import Levene
from hpo.analysis.statistics.power import ALPHA
from hpo.analysis.summary_statistics import has_outlier

F, WELCH, KRUSKAL_WALLIS = "F", "Welch", "Kruskal-Wallis"
TWO_MODES, OUTLIER, UNEQUAL, NOT_NORMAL = "two modes", "outlier", "unequal variances", "not normal"
SOUND = "sound"
FEWEST_FENCED = 10  # quartiles of fewer values are so rough that normal ones lie beyond the fence
MOST_OF_SHAPIRO = 5000  # SciPy's p is exact up to here; so many values have normal means

Samples = Sequence[NDArray[np.float64]]


@dataclass(frozen=True)
class Welch:
    """Test of means of Welch (Biometrika 38, 1951), for groups that scatter differently."""

    f: float
    df: tuple[float, float]
    p: float


@dataclass(frozen=True)
class Kruskal:
    """Test of Kruskal and Wallis by ranks.

    Values far outside have no more weight than others. Groups that differ in scatter alone may differ by it too.
    """

    h: float
    df: int
    p: float


@dataclass(frozen=True)
class GroupTest:
    """The test of all groups together that holds, and the others beside it.

    Attributes:
        holds: F, WELCH or KRUSKAL_WALLIS.
        reason: TWO_MODES, OUTLIER, UNEQUAL, NOT_NORMAL or SOUND.
        p: p value of the test that holds.
        f_p: p value of the F test, within the other factors.
        welch: Welch's test of the values as they are; None where a group has no scatter.
        kruskal: Test of the values by ranks.
        normal_p: p value of the test of Shapiro and Wilk of the residuals; None where it is not defined.
        modes: The two modes, in the unit of the metric; None if there is one.
        left_out: Groups with too few values for Welch's test and that by ranks; the F test has them.
    """

    holds: str
    reason: str
    p: float
    f_p: float
    welch: Welch | None
    kruskal: Kruskal
    normal_p: float | None
    modes: Modes | None
    left_out: tuple[str, ...] = ()

    @property
    def found(self) -> bool:
        """True if the test that holds has found a difference."""
        return self.p < ALPHA


def group_test(
    values: Samples, beside_others: Samples, residuals: NDArray[np.float64], levene: Levene | None, f_p: float
) -> GroupTest:
    """Choose the test that holds.

    Args:
        values: Values of at least two groups.
        beside_others: The same without the effects of the other factors.
        residuals: What the model leaves of all values.
        levene: Test of equal variances of `beside_others`.
        f_p: p value of the F test of the groups in the model.
    """
    modes = _unexplained_modes(values, residuals)
    normal_p = _shapiro(residuals)
    welch, ranks = _welch(values), _kruskal(values)
    if modes is not None:
        holds, reason, p = KRUSKAL_WALLIS, TWO_MODES, ranks.p
    elif any(has_outlier(sample.tolist()) for sample in beside_others if len(sample) >= FEWEST_FENCED):
        holds, reason, p = KRUSKAL_WALLIS, OUTLIER, ranks.p
    elif levene is not None and levene.unequal:
        holds, reason, p = (KRUSKAL_WALLIS, UNEQUAL, ranks.p) if welch is None else (WELCH, UNEQUAL, welch.p)
    elif normal_p is not None and normal_p < ALPHA:
        holds, reason, p = KRUSKAL_WALLIS, NOT_NORMAL, ranks.p
    else:
        holds, reason, p = F, SOUND, f_p
    return GroupTest(holds, reason, p, f_p, welch, ranks, normal_p, modes)


def _unexplained_modes(values: Samples, residuals: NDArray[np.float64]) -> Modes | None:
    """Return the two modes of the values, unless the other factors explain them."""
    within = sum(float(((sample - sample.mean()) ** 2).sum()) for sample in values)
    return None if float((residuals**2).sum()) < (1 - CLEAR) * within else two_modes(values)


def _shapiro(residuals: NDArray[np.float64]) -> float | None:
    from scipy.stats import shapiro

    spread = float(np.ptp(residuals))
    if not 3 <= len(residuals) <= MOST_OF_SHAPIRO or spread == 0:
        return None
    return float(shapiro(residuals / spread).pvalue)


def _welch(samples: Samples) -> Welch | None:
    from statsmodels.stats.oneway import anova_oneway

    spread = max(float(np.ptp(sample)) for sample in samples)
    if min(float(np.ptp(sample)) for sample in samples) <= 1e-12 * spread:
        return None
    found = anova_oneway([sample / spread for sample in samples], use_var="unequal")
    p = float(found.pvalue)
    return Welch(float(found.statistic), (float(found.df_num), float(found.df_denom)), p) if math.isfinite(p) else None


def _kruskal(samples: Samples) -> Kruskal:
    from scipy.stats import kruskal

    found = kruskal(*samples)
    return Kruskal(float(found.statistic), len(samples) - 1, float(found.pvalue))
