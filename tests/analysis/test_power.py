from __future__ import annotations

import pytest
from statsmodels.stats.power import FTestAnovaPower, TTestIndPower

from hpo.analysis.statistics.power import power_of, smallest_difference_found, smallest_found


@pytest.mark.parametrize("groups", [2, 3, 6])
@pytest.mark.parametrize("n", [12, 40])
def test_the_power_of_one_factor_is_that_of_statsmodels(groups: int, n: int) -> None:
    # Cohen's f of a partial eta squared of 0.2 is sqrt(0.2 / 0.8) = 0.5.
    assert power_of(0.2, groups - 1, groups, n) == pytest.approx(FTestAnovaPower().power(0.5, n, 0.05, groups))


@pytest.mark.parametrize("n", [5, 30, 10_000])
def test_the_smallest_effect_that_is_found_is_found_with_80_percent(n: int) -> None:
    effect = smallest_found(2, 3, n)
    assert power_of(effect, 2, 3, n) == pytest.approx(0.8, abs=0.005)


@pytest.mark.parametrize(("df", "n"), [(8, 65_000), (4, 63_000), (2, 1_000_000)])
def test_very_many_trials_find_an_effect_that_is_very_small(df: int, n: int) -> None:
    """SciPy has no value for some of the powers that are asked for on the way."""
    effect = smallest_found(df, 20, n)
    assert 0 < effect < 20 / n
    assert power_of(effect, df, 20, n) == pytest.approx(0.8, abs=0.005)


@pytest.mark.parametrize(("n", "m"), [(3, 3), (6, 6), (3, 40), (500, 20), (1100, 1100), (100_000, 90_000)])
def test_the_smallest_difference_that_is_found_is_that_of_statsmodels(n: int, m: int) -> None:
    effect = smallest_difference_found(n, m)
    assert TTestIndPower().power(effect, n, 0.05, ratio=m / n) == pytest.approx(0.8, abs=1e-4)
