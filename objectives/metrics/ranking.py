"""Metrics of scores that should be in the order of ranks.

rank and score are (n,), finite; a higher rank should have a higher score. A ValueError refuses other or empty input,
and equal ranks alone, which have no order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import kendalltau

from objectives.metrics.checks import finite, same_shape


def pair_accuracy(rank: ArrayLike, score: ArrayLike) -> float:
    """Return the share of pairs of unequal rank whose scores are in the right order; equal scores count half.

    Constant scores give 0.5. With two ranks it is the area under the ROC curve.
    """
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
    """Return Kendall's tau-b, -1 to 1; constant scores give 0.

    It is the concordant less the discordant pairs over the geometric mean of the pairs not tied in each (Kendall, "The
    treatment of ties in ranking problems", Biometrika 1945).
    """
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
