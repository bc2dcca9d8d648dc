"""How well scores put things in the order of their ranks.

rank, score: (n,), finite; a higher rank should have a higher score. Both raise ValueError for other or empty input
and when all ranks are equal: there is no order to be right about."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import kendalltau

from objectives.metrics.checks import finite, same_shape


def pair_accuracy(rank: ArrayLike, score: ArrayLike) -> float:
    """The share of pairs of unequal rank whose scores are in the right order; equal scores count half.

    Constant scores give 0.5. With two ranks it is the area under the ROC curve."""
    ranks, scores = _ordered(rank, score)
    right, pairs = 0.0, 0
    lower = np.empty(0)  # the scores of all lower ranks, sorted
    for level in np.unique(ranks):
        own = scores[ranks == level]
        below = np.searchsorted(lower, own, "left").sum() + np.searchsorted(lower, own, "right").sum()
        right += below / 2
        pairs += len(own) * len(lower)
        lower = np.sort(np.concatenate([lower, own]), kind="stable")
    return float(right / pairs)


def kendall_tau(rank: ArrayLike, score: ArrayLike) -> float:
    """Kendall's tau-b, -1 to 1: concordant less discordant pairs over the geometric mean of the pairs not tied in
    each (Kendall, "The treatment of ties in ranking problems", Biometrika 1945). Constant scores give 0."""
    ranks, scores = _ordered(rank, score)
    if (scores == scores[0]).all():
        return 0.0
    return float(kendalltau(ranks, scores).statistic)


def _ordered(rank: ArrayLike, score: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    ranks, scores = finite("rank", rank), finite("score", score)
    same_shape(rank=ranks, score=scores)
    if (ranks == ranks[0]).all():
        raise ValueError(f"rank is {ranks[0]:g} for all, so no pair has an order; expected two ranks at least")
    return ranks, scores
