from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import SCORE, study, trial
from scipy import stats

from hpo.analysis.records import StudyRecord
from hpo.analysis.statistics.pairwise import (
    GAMES_HOWELL,
    MOST_GROUPS,
    TUKEY_KRAMER,
    hedges_g,
    levene,
    pairwise,
    scaled,
    small_sample,
)


def compared(*groups: list[float]) -> StudyRecord:
    names = [f"net{index}" for index in range(len(groups))]
    finals = [(name, value) for name, values in zip(names, groups, strict=True) for value in values]
    trials = [trial(number, {"architecture": name}, value) for number, (name, value) in enumerate(finals)]
    return study(trials, space={"architecture": {"choices": [*names, "never"]}})


def drawn(*sizes: int, sd: tuple[float, ...] = ()) -> list[list[float]]:
    rng = np.random.default_rng(5)
    return [rng.normal(0.1 * k, sd[k] if sd else 0.1, size).tolist() for k, size in enumerate(sizes)]


@pytest.mark.parametrize(
    ("groups", "method"),
    [
        (drawn(6, 6, 6), TUKEY_KRAMER),
        (drawn(3, 9, 5, 4), TUKEY_KRAMER),
        (drawn(9, 14, 12, sd=(0.01, 0.3, 0.1)), GAMES_HOWELL),
    ],
)
def test_pairs_are_those_of_scipy(groups: list[list[float]], method: str) -> None:
    found = pairwise(compared(*groups), SCORE)
    assert found.method == method
    theirs = stats.tukey_hsd(*groups, equal_var=method == TUKEY_KRAMER)
    interval = theirs.confidence_interval()
    pairs = [(i, j) for i in range(len(groups)) for j in range(i + 1, len(groups))]
    assert [(pair.a, pair.b) for pair in found.pairs] == [(f"net{i}", f"net{j}") for i, j in pairs]
    for pair, (i, j) in zip(found.pairs, pairs, strict=True):
        assert pair.difference == pytest.approx(np.mean(groups[i]) - np.mean(groups[j]))
        assert pair.p == pytest.approx(theirs.pvalue[i, j], abs=1e-9)
        assert (pair.low, pair.high) == pytest.approx((interval.low[i, j], interval.high[i, j]), abs=1e-6)


def test_two_groups_of_tukey_are_students_t_test() -> None:
    a, b = drawn(5, 8)
    (pair,) = pairwise(compared(a, b), SCORE).pairs
    assert pair.p == pytest.approx(stats.ttest_ind(a, b).pvalue, abs=1e-9)


def test_a_pair_by_hand() -> None:
    # Means 2 and 5; both variances 1, so that the pooled deviation is 1 and d = -3.
    # J(4) = gamma(2) / (sqrt(2) gamma(1.5)).
    (pair,) = pairwise(compared([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]), SCORE).pairs
    assert (pair.n_a, pair.n_b, pair.difference) == (3, 3, -3.0)
    assert pair.g == pytest.approx(-3 / (math.sqrt(2) * math.gamma(1.5)))
    # The half width is t(0.975, 4) sqrt(1/3 + 1/3) = 2.776445 x 0.8164966.
    assert (pair.low, pair.high) == pytest.approx((-3 - 2.266958, -3 + 2.266958), abs=1e-5)


def test_the_correction_for_small_samples() -> None:
    assert small_sample(4) == pytest.approx(0.797885, abs=1e-6)
    assert small_sample(50) == pytest.approx(1 - 3 / (4 * 50 - 1), abs=1e-4)


def test_levene_is_scipys_about_the_median() -> None:
    samples = [np.array(values) for values in drawn(6, 9, 4, sd=(0.1, 0.4, 0.2))]
    found = levene(samples)
    assert found is not None
    assert (found.w, found.p) == pytest.approx(tuple(stats.levene(*samples, center="median")))
    assert found.groups == 3
    # Two values are equally far from their median: they say nothing of spread.
    assert levene([np.array([1.0, 2.0]), np.array([1.0, 2.0, 4.0])]) is None


def test_a_group_of_two_trials_is_named_and_in_no_pair() -> None:
    found = pairwise(compared([0.1, 0.2, 0.2], [0.3, 0.4], [0.4, 0.5, 0.6]), SCORE)
    assert [(pair.a, pair.b) for pair in found.pairs] == [("net0", "net2")]
    assert found.left_out == (("net1", 2), ("never", 0))


@pytest.mark.parametrize(
    ("groups", "why_not"),
    [
        ([[0.1, 0.2, 0.3], [0.3, 0.4]], "fewer than two groups have the 3 complete trials that are needed"),
        ([[0.1] * 3, [0.3] * 3], "no group has two complete trials with different values"),
        ([[0.1, 0.2, 0.3]] * (MOST_GROUPS + 1), "13 groups, at most 12 are compared pair by pair"),
    ],
)
def test_what_cannot_be_compared_says_why(groups: list[list[float]], why_not: str) -> None:
    found = pairwise(compared(*groups), SCORE)
    assert found.pairs == ()
    assert found.why_not.startswith(why_not)


def test_two_groups_without_any_scatter_are_compared_by_the_scatter_of_the_others() -> None:
    found = pairwise(compared([0.1] * 5, [0.3] * 5, [0.2, 0.9, 0.1, 0.8, 0.4, 0.7]), SCORE)
    assert found.method == TUKEY_KRAMER
    assert found.pairs[0].g is None
    assert 0 < found.pairs[0].p < 1


values = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.lists(values, max_size=5), min_size=1, max_size=3))
def test_any_values_give_pairs_or_a_reason(groups: list[list[float]]) -> None:
    found = pairwise(compared(*groups), SCORE)
    assert bool(found.pairs) != bool(found.why_not)
    for pair in found.pairs:
        assert 0 <= pair.p <= 1
        assert pair.low <= pair.difference <= pair.high


@given(st.lists(values, min_size=1, max_size=6))
def test_scaled_values_fit_and_go_back(given_: list[float]) -> None:
    y, scale = scaled(given_)
    assert np.all(np.abs(y) <= 4)
    assert scale > 0


def test_hedges_g_needs_scatter() -> None:
    assert hedges_g(np.array([1.0, 1.0]), np.array([2.0, 2.0])) is None
