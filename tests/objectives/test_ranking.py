"""Order of scores: by hand, against a loop over all pairs, SciPy and scikit-learn."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau
from sklearn.metrics import roc_auc_score

from objectives.metrics.ranking import kendall_tau, pair_accuracy

# Ranks and scores with ties in either, and at least two ranks.
ranked = st.lists(st.tuples(st.integers(0, 5), st.integers(-4, 4)), min_size=2, max_size=30).filter(
    lambda pairs: len({rank for rank, _ in pairs}) > 1
)


def compared(rank: list[int], score: list[int]) -> list[tuple[int, int]]:
    """The sign of each pair's difference in rank and in score."""
    signs = zip(combinations(rank, 2), combinations(score, 2), strict=True)
    return [((p > q) - (p < q), (s > t) - (s < t)) for (p, q), (s, t) in signs]


def test_pairs_by_hand() -> None:
    # Ranks 0, 1, 1, 2. Pairs that count: all but the second with the third. Right: 0-1 (1 < 3), 0-2 by half (a tie),
    # 0-3, 2-3; wrong: 1-3.
    assert pair_accuracy([0, 1, 1, 2], [1.0, 3.0, 1.0, 2.0]) == pytest.approx(3.5 / 5)
    assert pair_accuracy([1, 2, 3], [0.1, 0.2, 0.3]) == 1
    assert pair_accuracy([1, 2, 3], [0.3, 0.2, 0.1]) == 0
    assert pair_accuracy([1, 2, 3], [0.2, 0.2, 0.2]) == 0.5


def test_tau_by_hand() -> None:
    # As above: 3 concordant, 1 discordant, 5 pairs not tied in rank, 5 not tied in score.
    assert kendall_tau([0, 1, 1, 2], [1.0, 3.0, 1.0, 2.0]) == pytest.approx((3 - 1) / math.sqrt(5 * 5))
    assert kendall_tau([1, 2, 3], [0.1, 0.2, 0.3]) == pytest.approx(1)
    assert kendall_tau([1, 2, 3], [0.3, 0.2, 0.1]) == pytest.approx(-1)
    assert kendall_tau([1, 2], [7, 8]) == pytest.approx(1)
    assert kendall_tau([1, 2, 3], [0.2, 0.2, 0.2]) == 0


@settings(max_examples=60, deadline=None)
@given(ranked)
def test_as_a_loop_over_all_pairs(pairs: list[tuple[int, int]]) -> None:
    rank, score = map(list, zip(*pairs, strict=True))
    signs = compared(rank, score)
    counted = [(r, s) for r, s in signs if r]
    right = sum(1.0 if r == s else 0.5 if s == 0 else 0.0 for r, s in counted)
    assert pair_accuracy(rank, score) == pytest.approx(right / len(counted))
    if len(set(score)) > 1:
        balance = sum(r * s for r, s in signs)
        untied = len(counted) * sum(s != 0 for _, s in signs)
        assert kendall_tau(rank, score) == pytest.approx(balance / math.sqrt(untied), abs=1e-12)
        assert kendall_tau(rank, score) == pytest.approx(kendalltau(rank, score).statistic)


@settings(max_examples=60, deadline=None)
@given(ranked)
def test_only_the_order_matters(pairs: list[tuple[int, int]]) -> None:
    rank, score = np.array(pairs).T
    for metric, opposite in ((pair_accuracy, lambda value: 1 - value), (kendall_tau, lambda value: -value)):
        found = metric(rank, score)
        assert metric(10.0**rank, np.exp(score / 2)) == pytest.approx(found, abs=1e-12)
        assert metric(rank, -score) == pytest.approx(opposite(found), abs=1e-12)
        assert metric(-rank, -score) == pytest.approx(found, abs=1e-12)
        assert metric(rank[::-1], score[::-1]) == pytest.approx(found, abs=1e-12)


def test_with_two_ranks_it_is_the_area_under_the_roc_curve() -> None:
    rng = np.random.default_rng(0)
    rank = rng.integers(0, 2, 300)
    score = np.round(rng.normal(size=300) + rank, 1)
    assert pair_accuracy(rank, score) == pytest.approx(roc_auc_score(rank, score))


def test_without_ties_tau_is_the_accuracy_on_another_scale() -> None:
    rng = np.random.default_rng(1)
    rank, score = rng.permutation(500), rng.normal(size=500)
    assert kendall_tau(rank, score) == pytest.approx(2 * pair_accuracy(rank, score) - 1)


@pytest.mark.parametrize("metric", [pair_accuracy, kendall_tau])
def test_what_has_no_order_is_refused(metric: object) -> None:
    with pytest.raises(ValueError, match="rank is empty; there is nothing to measure"):
        metric([], [])
    with pytest.raises(ValueError, match="rank is 3 for all, so no pair has an order; expected two ranks at least"):
        metric([3, 3], [0.1, 0.2])
    with pytest.raises(ValueError, match="rank is 3 for all"):
        metric([3], [0.1])
    with pytest.raises(ValueError, match="score has nan in 1 of 2 places; expected finite numbers"):
        metric([1, 2], [float("nan"), 0.1])
    with pytest.raises(ValueError, match=r"rank has shape \(2,\), score \(1,\); expected the same"):
        metric([1, 2], [0.1])
