"""Scores of an order: the pairs that are in it, and Kendall's tau."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

MOST_ITEMS = 2000  # whose pairs are all held at once

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Ranking:
    """Ranks of items, and scores that should rise with them; both (rows,)."""

    rank: Floats
    score: Floats

    @cached_property
    def _pairs(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Agreement of each pair of items (1, -1, or 0 for a tie), and whether it differs in rank and in score."""
        ranks, scores = (np.sign(one[:, None] - one[None]).astype(np.float32) for one in (self.rank, self.score))
        return ranks * scores, np.abs(ranks), np.abs(scores)

    def measure(self, weights: Floats | None = None) -> dict[str, float]:
        """Return pair_accuracy, equal scores counting half, and kendall_tau (tau-b), of all pairs of items.

        An item of weight 2 is there twice, its copies equal in rank and score.
        """
        w = np.ones(len(self.rank)) if weights is None else weights
        agreement, by_rank, by_score = (float(w @ (pairs @ w.astype(np.float32))) for pairs in self._pairs)
        if not by_rank:
            return {"pair_accuracy": math.nan, "kendall_tau": math.nan}
        tau = agreement / math.sqrt(by_rank * by_score) if by_score else math.nan
        return {"pair_accuracy": 0.5 + 0.5 * agreement / by_rank, "kendall_tau": tau}
