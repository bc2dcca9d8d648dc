"""Compare every two groups, corrected for how many such comparisons there are.

Tukey's honestly significant differences, in Kramer's form for groups of unequal size (Kramer, Biometrics 12, 1956).
Where the groups' variances differ by Levene's test, the test of Games and Howell (Journal of Educational Statistics 1,
1976). Of final values of COMPLETE trials, not adjusted for the other parameters.

`scipy.stats.tukey_hsd` gives the same p (a test holds them together), but not the standard errors that the intervals
need, computes each p twice, and takes five to eight times as long for the intervals of Games and Howell.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo.analysis.cache import cached_per_study
from hpo.analysis.groups import groups_of
from hpo.analysis.records import StudyRecord
from hpo.analysis.statistics.power import ALPHA
from hpo.spec.models import Metric
from hpo.translation.catalogue import tr

# A value of a factor counts in its tests from this many COMPLETE trials on: fewer have no spread about their median.
FEWEST = 3
MOST_GROUPS = 12
# The p below which variances count as unequal. At 0.05 few trials miss too much, and the tests of means then find
# differences where there are none in 9 % instead of 7 % (benchmarks/group_test.py).
SUSPECT = 0.2
TUKEY_KRAMER, GAMES_HOWELL = "Tukey-Kramer", "Games-Howell"

Samples = Sequence[NDArray[np.float64]]


@dataclass(frozen=True)
class Levene:
    """Levene's test about the median (Brown and Forsythe, Journal of the American Statistical Association 69, 1974).

    Attributes:
        w: The statistic.
        p: Its p value.
        groups: Number of samples tested, those of FEWEST values or more.
    """

    w: float
    p: float
    groups: int

    @property
    def unequal(self) -> bool:
        """Return True if the variances seem to differ."""
        return self.p < SUSPECT


@dataclass(frozen=True)
class Pair:
    """Group `a` less group `b`.

    Attributes:
        a: Label of the first group.
        b: Label of the second group.
        n_a: COMPLETE trials of the first group.
        n_b: COMPLETE trials of the second group.
        difference: Difference of means, in the unit of the metric.
        low: Lower end of its simultaneous 95 % interval.
        high: Upper end of that interval.
        p: Corrected for the number of pairs.
        g: Hedges' g; None where both groups are without any scatter.
    """

    a: str
    b: str
    n_a: int
    n_b: int
    difference: float
    low: float
    high: float
    p: float
    g: float | None


@dataclass(frozen=True)
class Pairwise:
    """All pairs of groups.

    Attributes:
        metric: The metric of the final values.
        method: TUKEY_KRAMER or GAMES_HOWELL.
        levene: The test that the method was chosen by; None where it could not be made.
        pairs: In the order of the groups.
        left_out: (group, its COMPLETE trials), of groups with fewer than FEWEST.
        why_not: Why there are no pairs; empty otherwise.
    """

    metric: Metric
    method: str
    levene: Levene | None
    pairs: tuple[Pair, ...]
    left_out: tuple[tuple[str, int], ...]
    why_not: str = ""


@cached_per_study
def pairwise(study: StudyRecord, metric: Metric) -> Pairwise:
    """Compare every pair of groups with FEWEST COMPLETE trials or more, in the order of the groups."""
    finals = {
        group.label: [trial.values[metric.name] for trial in group.trials if trial.completed(metric)]
        for group in groups_of(study)
    }
    left_out = tuple((name, len(values)) for name, values in finals.items() if len(values) < FEWEST)
    shown = {name: values for name, values in finals.items() if len(values) >= FEWEST}
    if len(shown) < 2:
        why_not = tr("fewer than two groups have the {needed} complete trials that are needed", needed=FEWEST)
        return Pairwise(metric, TUKEY_KRAMER, None, (), left_out, why_not)
    if len(shown) > MOST_GROUPS:
        why_not = tr("{n} groups, at most {most} are compared pair by pair", n=len(shown), most=MOST_GROUPS)
        return Pairwise(metric, TUKEY_KRAMER, None, (), left_out, why_not)
    values, scale = scaled([value for group in shown.values() for value in group])
    samples = np.split(values, np.cumsum([len(group) for group in shown.values()])[:-1])
    scatter = [float(np.var(sample, ddof=1)) for sample in samples]
    spread = float(np.ptp(values))
    constant = sum(variance <= 1e-24 * spread**2 for variance in scatter)
    if constant == len(samples):
        why_not = tr("no group has two complete trials with different values, so there is no scatter to compare with")
        return Pairwise(metric, TUKEY_KRAMER, None, (), left_out, why_not)
    found = levene(samples)
    # Between two groups without any scatter Games and Howell's test has nothing to divide by.
    unequal = found is not None and found.unequal and constant < 2
    made = _pairs(tuple(shown), samples, scatter, scale, unequal)
    return Pairwise(metric, GAMES_HOWELL if unequal else TUKEY_KRAMER, found, made, left_out)


def scaled(values: Sequence[float]) -> tuple[NDArray[np.float64], float]:
    """Return the values about 0 and no larger than 2, and the factor that gives them their unit again.

    Squares of huge values, as diverged trainings leave them, are beyond a double. The factor is a power of 2, so that
    nothing is rounded.
    """
    raw = np.asarray(values, dtype=np.float64)
    scale = _power_of_two(raw)
    raw = raw / scale
    raw = raw - np.median(raw)
    finer = _power_of_two(raw)
    return raw / finer, scale * finer


def _power_of_two(values: NDArray[np.float64]) -> float:
    largest = float(np.max(np.abs(values)))
    return math.ldexp(1.0, math.frexp(largest)[1] - 1) if largest else 1.0


def levene(samples: Samples) -> Levene | None:
    """Test whether samples scatter alike, about their medians.

    Returns:
        None where fewer than two samples have FEWEST values, or where none of those has any scatter.
    """
    from scipy import stats

    large = [sample for sample in samples if len(sample) >= FEWEST]
    if len(large) < 2:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        w, p = map(float, stats.levene(*large, center="median"))
    # Where all distances to the median of a sample are equal, W is undefined, infinite, or of rounding alone.
    if not w * (len(large) - 1) / (sum(map(len, large)) - len(large)) < 1e24:
        return None
    return Levene(w, p, len(large))


def _pairs(
    names: Sequence[str], samples: Samples, variances: Sequence[float], scale: float, unequal: bool
) -> tuple[Pair, ...]:
    from scipy.stats import studentized_range

    k, n = len(samples), sum(map(len, samples))
    pooled = sum((len(s) - 1) * v for s, v in zip(samples, variances, strict=True)) / (n - k)
    common = None if unequal else critical_range(k, n - k)
    made = []
    for i, j in itertools.combinations(range(k), 2):
        a, b = samples[i], samples[j]
        difference = float(a.mean() - b.mean())
        if common is None:
            parts = variances[i] / len(a), variances[j] / len(b)
            error = math.sqrt(sum(parts) / 2)
            df = sum(parts) ** 2 / (parts[0] ** 2 / (len(a) - 1) + parts[1] ** 2 / (len(b) - 1))  # Welch, Satterthwaite
            critical = critical_range(k, df)
        else:
            error, df, critical = math.sqrt(pooled * (1 / len(a) + 1 / len(b)) / 2), float(n - k), common
        q = abs(difference) / error
        p = float(np.clip(studentized_range.sf(q, k, df), 0, 1))
        low, high = difference - critical * error, difference + critical * error
        sizes = (len(a), len(b))
        made.append(Pair(names[i], names[j], *sizes, difference * scale, low * scale, high * scale, p, hedges_g(a, b)))
    return tuple(made)


def critical_range(k: int, df: float, level: float = ALPHA) -> float:
    """Return the studentized range that k means exceed with a probability of `level`.

    SciPy's own inverse takes five times as long as this search from Gleason's approximation, which is good to three
    digits.
    """
    from scipy.optimize import newton
    from scipy.stats import studentized_range, t
    from statsmodels.stats.libqsturng import qsturng

    if k == 2:
        return math.sqrt(2) * float(t.isf(level / 2, df))
    start = float(qsturng(min(1 - level, 0.999), k, df))
    # In logarithms, in which the probability falls nearly in a line.
    wanted = math.log(level)
    return float(newton(lambda q: math.log(studentized_range.sf(q, k, df)) - wanted, start, x1=1.002 * start, tol=1e-7))


def hedges_g(a: NDArray[Any], b: NDArray[Any]) -> float | None:
    """Return Hedges' g: (mean a - mean b) / pooled standard deviation, corrected for small samples.

    Source: Hedges, Journal of Educational Statistics 6, 1981, with the exact correction.

    Args:
        a: At least two values.
        b: At least two values.

    Returns:
        None where there is no scatter to divide by.
    """
    rest = len(a) + len(b) - 2
    pooled = math.sqrt((float(((a - a.mean()) ** 2).sum()) + float(((b - b.mean()) ** 2).sum())) / rest)
    difference = float(a.mean() - b.mean())
    if pooled <= 1e-12 * abs(difference) or pooled == 0:
        return None
    return small_sample(rest) * difference / pooled


def small_sample(df: int) -> float:
    """Return the factor that makes a standardised difference of `df` > 1 degrees of freedom unbiased: 0.798 at 4."""
    return math.exp(math.lgamma(df / 2) - math.lgamma((df - 1) / 2)) / math.sqrt(df / 2)
