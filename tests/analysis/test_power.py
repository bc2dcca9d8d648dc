from __future__ import annotations

import pytest
from statsmodels.stats.power import FTestAnovaPower, TTestIndPower

from hpo.analysis.statistics.power import needed, needed_per_side, power_of, smallest_found


@pytest.mark.parametrize("groups", [2, 3, 6])
@pytest.mark.parametrize("n", [12, 40])
def test_the_power_of_one_factor_is_that_of_statsmodels(groups: int, n: int) -> None:
    # Cohen's f of a partial eta squared of 0.2 is sqrt(0.2 / 0.8) = 0.5.
    assert power_of(0.2, groups - 1, groups, n) == pytest.approx(FTestAnovaPower().power(0.5, n, 0.05, groups))


@pytest.mark.parametrize("groups", [2, 3, 6])
def test_as_many_trials_are_needed_as_statsmodels_says(groups: int) -> None:
    need = needed(groups - 1, groups)
    assert need.n - 1 < FTestAnovaPower().solve_power(effect_size=1.0, alpha=0.05, power=0.8, k_groups=groups) <= need.n
    assert need.power == power_of(0.5, groups - 1, groups, need.n)
    assert power_of(0.5, groups - 1, groups, need.n - 1) < 0.8


def test_coefficients_of_other_factors_cost_trials() -> None:
    assert needed(2, 3).n < needed(2, 8).n < needed(2, 20).n
    assert needed(1, 30).n > 30


@pytest.mark.parametrize("n", [5, 30, 10_000])
def test_the_smallest_effect_that_is_found_is_found_with_80_percent(n: int) -> None:
    effect = smallest_found(2, 3, n)
    assert power_of(effect, 2, 3, n) == pytest.approx(0.8, abs=0.005)


@pytest.mark.parametrize("effect", [0.8, 1.0, 2.0])
def test_trials_of_each_side_are_those_of_statsmodels(effect: float) -> None:
    n = needed_per_side(effect)
    assert n - 1 < TTestIndPower().solve_power(effect, alpha=0.05, power=0.8) <= n
