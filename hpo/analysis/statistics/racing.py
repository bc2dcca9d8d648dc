"""Race configurations over seeds: which is best, which are clearly worse, and how good the winner is after the choice.

Every configuration is trained with the same seeds, so that what a seed does to all of them cancels (a randomised block
design; the seeds are the blocks). After 3, 5, 8, 12, ... seeds those that are clearly worse than the best are trained
no more. Source: Maron and Moore, "Hoeffding Races", NIPS 1993; Birattari et al., "A Racing Algorithm for Configuring
Metaheuristics", GECCO 2002.

*Clearly worse* is Tukey's test for all pairs of configurations. It allows for the choice of the best among them. A pair
whose own differences scatter more than those of all pairs is tested with its own scatter. The l-th look has the level
ALPHA / (l (l + 1)). These sum to ALPHA over any number of looks, so that the true best is ever left behind with a
probability of at most ALPHA, and more seeds may be added later. Source: Tukey, "The Problem of Multiple Comparisons",
1953; Hsu, "Multiple Comparisons", 1996, chapter 4; Lan and DeMets, Biometrika 70, 1983 (levels that are spent).

*The winner's interval* is of other seeds, which did not choose it: the seeds are split. The mean over the seeds that
chose it is too good, by the luck it was chosen for. Source: Cox, "A note on data-splitting for the evaluation of
significance levels", Biometrika 62, 1975. It is Student's, corrected for skewness, without which too few intervals
hold where a seed now and then ends far off. A few values do not show how skewed they are: the skewness is that of all
trainings of the confirmation. Source: Hall, "On the removal of skewness by transformation", JRSS B 54, 1992.

Everything is said of costs: lower is better.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hpo.analysis.statistics.pairwise import critical_range, small_sample
from hpo.analysis.statistics.power import ALPHA, POWER
from hpo.analysis.summary_statistics import deviation, mean

# The first look: fewer differences have no scatter worth the name. A race over three seeds looks after two, for else it
# would look only at its end.
FIRST_LOOK = 3
# Of a tie that more seeds would tell apart, the number is not said beyond this.
MOST_SEEDS = 1000

# Costs of a configuration by the index of the seed; NaN of a training that failed.
Costs = Mapping[int, float]


@dataclass(frozen=True)
class Difference:
    """A configuration less the winner, over the seeds that both were trained with.

    Attributes:
        n: number of these seeds.
        mean: mean difference of the costs; above 0: worse than the winner.
        low: lower end of its interval, simultaneous for all pairs and looks.
        high: upper end of that interval.
        p: two-sided, corrected for the number of pairs and looks.
        effect: the mean in standard deviations of the difference, corrected for few seeds (Hedges, Journal of
            Educational Statistics 6, 1981); None without any scatter.
        seeds: number of seeds that would tell them apart with a probability of POWER, if the difference and its scatter
            are what was seen; None beyond MOST_SEEDS.
    """

    n: int
    mean: float
    low: float
    high: float
    p: float
    effect: float | None
    seeds: int | None


@dataclass(frozen=True)
class Look:
    """A comparison of the configurations that were still in the race.

    Attributes:
        n: number of seeds.
        level: probability that this look wrongly leaves the best behind.
        members: configurations compared.
        best: that with the lowest mean.
        worse: those clearly worse than it.
    """

    n: int
    level: float
    members: tuple[int, ...]
    best: int
    worse: tuple[int, ...]


@dataclass(frozen=True)
class Standing:
    """State of a race.

    Attributes:
        due: (configuration, index of the seed) of what must be trained next; empty when the race is decided.
        left: configurations still in it, ascending.
        failed: those out of it because a training failed.
        looks: comparisons so far.
        winner: the best of those left, once the race is decided; None before, or if all have failed.
    """

    due: tuple[tuple[int, int], ...]
    left: tuple[int, ...]
    failed: tuple[int, ...]
    looks: tuple[Look, ...]
    winner: int | None

    @property
    def worse(self) -> tuple[int, ...]:
        """Configurations that were clearly worse than the best."""
        return tuple(sorted(one for look in self.looks for one in look.worse))


def looks(seeds: int) -> Iterator[tuple[int, float]]:
    """Yield (number of seeds, level) of each look of a race over so many seeds; the last look is at all of them."""
    n, count = max(2, min(FIRST_LOOK, seeds - 1)), 1
    while True:
        yield n, ALPHA / (count * (count + 1))
        if n == seeds:
            return
        n, count = min(math.ceil(1.5 * n), seeds), count + 1


def race(costs: Sequence[Costs], seeds: int) -> Standing:
    """Return how a race stands.

    Args:
        costs: of each configuration; those of a configuration that is left behind are not needed any more.
        seeds: number of seeds at most, at least 2.
    """
    failed = tuple(i for i, one in enumerate(costs) if any(math.isnan(value) for value in one.values()))
    left = [i for i in range(len(costs)) if i not in failed]
    made: list[Look] = []
    for n, level in looks(seeds):
        if not left or (len(left) == 1 and made):
            break
        due = tuple((i, seed) for seed in range(n) for i in left if seed not in costs[i])
        if due:
            return Standing(due, tuple(left), failed, tuple(made), None)
        look = _look(_table(costs, left, n), left, len(costs), level)
        made.append(look)
        left = [i for i in left if i not in look.worse]
    return Standing((), tuple(left), failed, tuple(made), _best(costs, left))


def compare(costs: Sequence[Costs], standing: Standing, other: int, winner: int) -> Difference | None:
    """Return the difference of a configuration and the winner of its race; None if they share fewer than 2 seeds."""
    made = [look for look in standing.looks if other in look.members and winner in look.members]
    if not made:
        return None
    look = made[-1]
    table = _table(costs, look.members, look.n)
    rows = table[look.members.index(other)], table[look.members.index(winner)]
    return difference(table, *rows, configurations=len(costs), level=look.level)


def difference(
    table: NDArray[np.float64],
    other: NDArray[np.float64],
    winner: NDArray[np.float64],
    configurations: int,
    level: float = ALPHA,
) -> Difference | None:
    """Return `other` less `winner`, two rows of a table; None for fewer than 2 seeds.

    Args:
        table: costs, (configurations compared, seeds): the scatter is that of all of them.
        other: costs, (seeds,).
        winner: costs, (seeds,).
        configurations: number of them among which the winner was chosen.
        level: of the look.
    """
    from scipy.stats import studentized_range

    n = table.shape[1]
    if n < 2:
        return None
    gaps = other - winner
    gap, scatter, df = _gap(table, gaps), _scatter(table, gaps), _df(table)
    error = scatter / math.sqrt(n)
    reach = _critical(configurations, df, level) / math.sqrt(2) * error
    q = math.inf if error == 0 and gap else 0.0 if gap == 0 else math.sqrt(2) * abs(gap) / error
    p = float(studentized_range.sf(q, configurations, df)) if math.isfinite(q) else 0.0
    return Difference(
        n,
        gap,
        gap - reach,
        gap + reach,
        min(1.0, p * ALPHA / level),
        small_sample(n - 1) * gap / scatter if scatter and n > 2 else None,
        _seeds_needed(gap, scatter, n, configurations, len(table)),
    )


def interval(values: Sequence[float], skewness: float = 0.0) -> tuple[float, float] | None:
    """Return the 95 % interval of the mean; None for fewer than 2 values.

    With T = sqrt(N) (mean - true mean) / deviation and a = skewness / sqrt(N), the distribution of
    T + a T² / 3 + a² T³ / 27 + a / 6 is nearly Student's with N - 1 degrees of freedom (Hall 1992). It grows with T.

    Args:
        values: trainings of a configuration.
        skewness: that of the noise; 0: the interval is Student's.
    """
    from scipy.stats import t

    scatter = deviation(values)
    if scatter is None:
        return None
    root = math.sqrt(len(values))
    a, reach = skewness / root, float(t.isf(ALPHA / 2, len(values) - 1))
    high, low = (mean(values) - scatter / root * _before_correction(one, a) for one in (-reach, reach))
    return low, high


def _before_correction(corrected: float, a: float) -> float:
    """Return the T of a corrected T: the inverse of Hall's transformation."""
    return corrected if abs(a) < 1e-6 else 3 / a * (math.cbrt(1 + a * corrected - a * a / 6) - 1)


def common_skewness(samples: Iterable[Sequence[float]]) -> float:
    """Return the skewness of the noise that samples of different means share, as far as it is more than chance makes.

    It is g = k3 / k2^1.5 of the unbiased cumulants, each pooled over the samples (Fisher's k-statistics), times
    max(0, 1 - 6 / (v g²)). 6 / v is the variance of g without skewness (James and Stein, "Estimation with quadratic
    loss", 1961). v are the effective degrees of freedom: a sample that scatters more than the others decides alone
    (Satterthwaite, Biometrics Bulletin 2, 1946).
    """
    residuals = [sample - sample.mean() for sample in map(np.asarray, samples) if len(sample) > 1]
    squares = np.array([(one**2).sum() for one in residuals])
    n = np.array([len(one) for one in residuals])
    cubic_degrees = ((n - 1) * (n - 2) / n).sum()
    if not squares.any() or not cubic_degrees:
        return 0.0
    cubes = sum(float((one**3).sum()) for one in residuals)
    skewness = float(cubes / cubic_degrees / (squares.sum() / (n - 1).sum()) ** 1.5)
    effective = float(squares.sum() ** 2 / (squares**2 / (n - 1)).sum())
    return skewness * max(0.0, 1 - 6 / effective / skewness**2) if skewness else 0.0


def _table(costs: Sequence[Costs], members: Sequence[int], n: int) -> NDArray[np.float64]:
    return np.array([[costs[i][seed] for seed in range(n)] for i in members])


def _best(costs: Sequence[Costs], left: Sequence[int]) -> int | None:
    """Return the lowest mean over the seeds that all those left were trained with; of equals the first."""
    if len(left) < 2:
        return left[0] if left else None
    shared = sorted(set.intersection(*(set(costs[i]) for i in left)))
    return min(left, key=lambda i: mean([costs[i][seed] for seed in shared]))


def _look(table: NDArray[np.float64], members: Sequence[int], configurations: int, level: float) -> Look:
    best = int(table.mean(axis=1).argmin())
    worse = [i for i, row in zip(members, table, strict=True) if _clearly_worse(table, row - table[best],
             configurations, level)]  # fmt: skip
    return Look(table.shape[1], level, tuple(members), members[best], tuple(worse))


def _clearly_worse(table: NDArray[np.float64], gaps: NDArray[np.float64], configurations: int, level: float) -> bool:
    gap, n = _gap(table, gaps), len(gaps)
    if gap <= 0 or n < 2 or len(table) < 2:
        return False
    return math.sqrt(2 * n) * gap > _critical(configurations, _df(table), level) * _scatter(table, gaps)


def _scatter(table: NDArray[np.float64], gaps: NDArray[np.float64]) -> float:
    """Return the standard deviation of the difference of two configurations: that of all pairs, or its own if larger.

    That of all pairs is sqrt(2 x the residual mean square of the block design).
    """
    residuals = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0) + table.mean()
    pooled = 2 * float((residuals**2).sum()) / _df(table)
    own = float(gaps.var(ddof=1))
    return _without_rounding(math.sqrt(max(pooled, own)), table)


def _gap(table: NDArray[np.float64], gaps: NDArray[np.float64]) -> float:
    return _without_rounding(float(gaps.mean()), table)


def _without_rounding(value: float, table: NDArray[np.float64]) -> float:
    """Return a value made of the costs of a table, and 0 where it is what rounding leaves of equal numbers."""
    return value if abs(value) > 1e-12 * float(np.abs(table).max()) else 0.0


def _df(table: NDArray[np.float64]) -> int:
    configurations, seeds = map(int, table.shape)
    return (configurations - 1) * (seeds - 1)


@lru_cache(maxsize=4096)
def _critical(configurations: int, df: int, level: float) -> float:
    return critical_range(configurations, df, level)


def _seeds_needed(gap: float, scatter: float, n: int, configurations: int, compared: int) -> int | None:
    """Return the least number of seeds, above n, whose last look finds the gap with a probability of POWER.

    Bonferroni's bound stands for Tukey's critical value, which takes a hundred times as long and is a few percent less.
    """
    from scipy.stats import nct, t

    def found(seeds: int) -> bool:
        level = list(looks(seeds))[-1][1]
        df = (compared - 1) * (seeds - 1)
        reach = t.isf(level / (configurations * (configurations - 1)), df)
        return bool(nct.sf(reach, df, math.sqrt(seeds) * abs(gap) / scatter) >= POWER)

    if gap == 0 or scatter == 0:
        return None
    low, high = n, n + 1
    while not found(high):
        if high >= MOST_SEEDS:
            return None
        low, high = high, min(2 * high, MOST_SEEDS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if found(middle) else (middle, high)
    return high
