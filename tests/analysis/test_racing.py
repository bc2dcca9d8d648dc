"""Racing of configurations over seeds: by hand, and against SciPy and statsmodels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import kstat, studentized_range, t, ttest_rel
from statsmodels.stats.power import TTestPower

from hpo.analysis.statistics.heats import Results, course
from hpo.analysis.statistics.pairwise import critical_range
from hpo.analysis.statistics.racing import common_skewness, compare, interval, looks, race
from hpo.spec.racing import CHOOSE, ESTIMATE, Race, Training


def costs_of(*rows: list[float]) -> list[dict[int, float]]:
    return [dict(enumerate(row)) for row in rows]


def plan(trials: int = 2, heats: tuple[tuple[int, ...], ...] | None = None, seeds: int = 3) -> Race:
    return Race("s", "k", tuple(range(trials)), heats or (tuple(range(trials)),), seeds, False)


def test_looks_and_their_levels() -> None:
    assert [(n, round(0.05 / level)) for n, level in looks(12)] == [(3, 2), (5, 6), (8, 12), (12, 20)]
    assert [n for n, _ in looks(2)] == [2]
    assert [n for n, _ in looks(4)] == [3, 4]
    assert [n for n, _ in looks(3)] == [2, 3]  # after all three it would be over
    assert math.isclose(sum(level for _, level in looks(1000)), 0.05, rel_tol=0.1)
    assert sum(level for _, level in looks(1000)) < 0.05


@pytest.mark.parametrize("k", [2, 3, 6])
@pytest.mark.parametrize("df", [2, 5, 20])
@pytest.mark.parametrize("level", [0.05, 0.025, 0.001])
def test_critical_range_is_the_inverse_of_scipys(k: int, df: int, level: float) -> None:
    assert studentized_range.sf(critical_range(k, df, level), k, df) == pytest.approx(level, rel=1e-4)


def test_the_first_seeds_are_due_of_all_and_then_of_those_that_are_left() -> None:
    assert race([{}, {}], 5).due == ((0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2))
    assert race([{0: 1.0}, {}], 5).due == ((1, 0), (0, 1), (1, 1), (0, 2), (1, 2))
    tied = costs_of([1.0, 2.0, 1.5], [1.1, 1.8, 1.6], [9.0, 9.1, 9.2])
    found = race(tied, 5)
    assert (found.worse, found.left, found.winner) == ((2,), (0, 1), None)
    assert found.due == ((0, 3), (1, 3), (0, 4), (1, 4))


def test_a_race_with_one_left_is_decided() -> None:
    found = race(costs_of([1.0, 2.0, 1.5], [11.0, 12.1, 11.5]), 5)
    assert (found.due, found.worse, found.winner) == ((), (1,), 0)


def test_one_whose_training_failed_is_out_and_has_nothing_due() -> None:
    found = race([{0: 1.0, 1: 1.1, 2: 1.2}, {0: math.nan}], 5)
    assert (found.failed, found.left, found.due, found.winner) == ((1,), (0,), (), 0)
    assert race([{0: math.nan}, {1: math.nan}], 5).winner is None


def test_costs_without_any_scatter() -> None:
    assert race(costs_of([1.0] * 3, [1.0] * 3), 3).left == (0, 1)
    assert race(costs_of([1.0] * 3, [1.1] * 3), 3).left == (0,)
    assert race(costs_of([0.1] * 3, [0.3] * 3, [0.1 + 1e-17] * 3), 3).left == (0, 2)


def test_two_configurations_are_compared_by_the_paired_t_test() -> None:
    a, b = [1.0, 2.0, 4.0, 3.0, 5.0], [1.5, 2.2, 4.9, 3.1, 6.0]
    found = race(costs_of(a, b), 5)
    one = compare(costs_of(a, b), found, 1, 0)
    assert one is not None
    test = ttest_rel(b, a)
    # The second of the looks, at 3 and at 5 seeds, has a sixth of the level.
    assert one.p == pytest.approx(min(1, 6 * test.pvalue))
    low, high = test.confidence_interval(1 - 0.05 / 6)
    assert (one.n, one.mean, one.low, one.high) == (5, pytest.approx(0.54), pytest.approx(low), pytest.approx(high))
    d = 0.54 / np.std(np.subtract(b, a), ddof=1)
    assert one.effect == pytest.approx(d * 0.7979, rel=1e-3)  # Hedges' correction at 4 degrees of freedom


def test_the_scatter_is_that_of_all_pairs_or_that_of_the_pair_if_it_is_larger() -> None:
    rows = [[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [2.0, 5.0, -1.0]]
    found = race(costs_of(*rows), 3)
    # Residual mean square 9 / 3: the pair (2, 0) scatters with a variance of 9, all pairs with one of 6.
    calm, wild = (compare(costs_of(*rows), found, other, 0) for other in (1, 2))
    assert calm is not None
    assert wild is not None
    reach = critical_range(3, 4, 0.05 / 6) / math.sqrt(2)  # the second look
    table = np.array(rows)
    residual = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0) + table.mean()
    pooled = 2 * (residual**2).sum() / 4
    assert calm.high - calm.mean == pytest.approx(reach * math.sqrt(pooled / 3))
    assert wild.high - wild.mean == pytest.approx(reach * math.sqrt(9 / 3))
    assert pooled < 9


def test_the_number_of_seeds_that_would_tell_two_apart_has_the_power_that_it_promises() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(0, 1, 5)
    b = a + np.array([0.2, 1.4, -0.3, 0.9, 0.8])
    found = race(costs_of(list(a), list(b)), 5)
    one = compare(costs_of(list(a), list(b)), found, 1, 0)
    assert one is not None
    assert one.seeds is not None
    assert one.seeds > 5
    d = 0.6 / np.std(b - a, ddof=1)

    def power(n: int) -> float:
        return float(TTestPower().power(d, n, list(looks(n))[-1][1], alternative="two-sided"))

    assert power(one.seeds) >= 0.8 - 1e-3
    assert power(one.seeds - 1) < 0.8


def test_a_tie_that_no_seeds_tell_apart() -> None:
    rows = [0.0, 1.0, -1.0, 2.0, 0.0], [0.001, 0.8, -0.8, 2.3, -0.3]
    one = compare(costs_of(*rows), race(costs_of(*rows), 5), 1, 0)
    assert one is not None
    assert one.seeds is None


def test_the_interval_is_students() -> None:
    values = [0.81, 0.84, 0.79, 0.86, 0.83]
    assert interval(values) == pytest.approx(
        t.interval(0.95, 4, loc=np.mean(values), scale=np.std(values, ddof=1) / 5**0.5)
    )
    assert interval([1.0]) is None


def test_the_interval_is_corrected_for_skewness() -> None:
    values = [0.81, 0.84, 0.79, 0.86, 0.83]
    low, high = interval(values, 1.5)
    scale, a = np.std(values, ddof=1) / 5**0.5, 1.5 / 5**0.5
    for end, quantile in ((low, 0.975), (high, 0.025)):  # Hall's T of both ends is Student's
        one = (np.mean(values) - end) / scale
        assert one + a * one**2 / 3 + a**2 * one**3 / 27 + a / 6 == pytest.approx(t.ppf(quantile, 4))
    assert low - np.mean(values) > -scale * t.ppf(0.975, 4)  # what ends far off lies above the mean
    mirrored = interval([-value for value in values], -1.5)
    assert mirrored == pytest.approx((-high, -low))


def test_the_common_skewness_is_that_of_k_statistics() -> None:
    skewed = np.random.default_rng(0).exponential(size=50)
    g = kstat(skewed, 3) / kstat(skewed, 2) ** 1.5
    assert common_skewness([skewed]) == pytest.approx(g * (1 - 6 / 49 / g**2))
    twice = common_skewness([skewed, skewed + 7.0])  # other means, and as many again that say the same
    assert twice == pytest.approx(g * (1 - 6 / 98 / g**2))


def test_a_skewness_that_chance_makes_is_none() -> None:
    assert common_skewness([[1.0, 2.0, 4.0], [0.0, 1.0, 3.0]]) == 0.0
    assert common_skewness([[1.0, 2.0], [3.0]]) == common_skewness([[1.0, 1.0, 1.0]]) == common_skewness([]) == 0.0


# --- the course of a confirmation


def results(choosing: list[dict[int, float]], estimating: dict[int, list[float]] | None = None) -> Results:
    found = Results()
    for part, rows in ((CHOOSE, dict(enumerate(choosing))), (ESTIMATE, estimating or {})):
        for configuration, row in rows.items():
            for index, cost in row.items() if isinstance(row, dict) else enumerate(row):
                found.add(Training(configuration, part, index), cost)
    return found


def test_the_winner_alone_goes_on_where_the_reference_is_left_behind() -> None:
    now = course(plan(), results(costs_of([11.0, 12.1, 11.5], [1.0, 2.0, 1.5])))
    assert (now.winner, now.due) == (1, tuple(Training(1, ESTIMATE, k) for k in range(3)))


def test_the_winner_goes_on_beside_a_reference_that_is_not_told_apart() -> None:
    now = course(plan(), results(costs_of([1.2, 1.9, 1.6], [1.0, 2.0, 1.5])))
    assert [(one.configuration, one.index) for one in now.due] == [(1, 0), (0, 0), (1, 1), (0, 1), (1, 2), (0, 2)]
    done = results(costs_of([1.2, 1.9, 1.6], [1.0, 2.0, 1.5]), {0: [1.0] * 3, 1: [2.0] * 3})
    # What the further seeds say never changes the winner.
    assert (course(plan(), done).due, course(plan(), done).winner) == ((), 1)


def test_a_study_of_one_configuration_has_nothing_to_choose() -> None:
    now = course(plan(1), Results())
    assert (now.winner, {one.part for one in now.due}, len(now.due)) == (0, {ESTIMATE}, 3)


def test_each_group_has_a_winner_of_its_own() -> None:
    choosing = costs_of([1.0, 1.2, 1.1], [5.0, 5.2, 5.1], [3.0, 3.1, 3.3])
    now = course(plan(3, ((0, 1), (2,))), results(choosing))
    assert (now.winners, now.winner) == ((0, 2), 0)
    assert {one.configuration for one in now.due} == {0, 2}


def test_nothing_is_due_when_every_configuration_has_failed() -> None:
    now = course(plan(), results([{0: math.nan}, {0: math.nan}]))
    assert (now.due, now.winner) == ((), None)


def test_a_race_never_takes_more_than_it_says() -> None:
    rng = np.random.default_rng(1)
    for trials, heats in ((1, None), (2, None), (6, None), (5, ((0, 1, 2), (3, 4))), (3, ((0,), (1,), (2,)))):
        made, design = Results(), plan(trials, heats, 5)
        taken = 0
        while due := course(design, made).due:
            for one in due:
                made.add(one, float(rng.normal(one.configuration, 1)))
                taken += 1
        assert taken <= design.most
