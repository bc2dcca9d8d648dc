"""Pairs of clips of which one ranks higher.

A pair is first, second (p,) int64, and sign (p,) float32, 1 where the first ranks higher, else -1. Clips of equal rank
make no pair.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Pairs = tuple[Tensor, Tensor, Tensor]


def draw_pairs(ranks: NDArray[np.float64], count: int, seed: int, epoch: int) -> Pairs:
    """Return `count` pairs, each drawn from all ordered ones with the same chance, by seed and epoch alone.

    Raises:
        ValueError: All ranks are equal.
    """
    if not np.ptp(ranks):
        raise ValueError(f"all {len(ranks)} clips have rank {ranks[0]:g}; expected two ranks at least to make pairs")
    rng = np.random.default_rng([seed, epoch])
    kept: list[NDArray[np.int64]] = []
    while sum(map(len, kept)) < count:
        drawn = rng.integers(0, len(ranks), (2 * count, 2))
        kept.append(drawn[ranks[drawn[:, 0]] != ranks[drawn[:, 1]]])
    first, second = np.concatenate(kept)[:count].T
    return _signed(ranks, first, second)


def all_pairs(ranks: NDArray[np.float64], limit: int | None = None, seed: int = 0) -> Pairs:
    """Return each pair once, the clip that comes first in `ranks` first.

    Args:
        ranks: (n,).
        limit: The most pairs, drawn from `seed`; None: all.
        seed: See `limit`.

    Raises:
        ValueError: There is no pair.
    """
    first, second = np.triu_indices(len(ranks), 1)
    unequal = np.flatnonzero(ranks[first] != ranks[second])
    if not len(unequal):
        raise ValueError(f"{len(ranks)} clips make no pair; expected two ranks at least")
    if limit is not None and limit < len(unequal):
        unequal = np.sort(np.random.default_rng(seed).choice(unequal, limit, replace=False))
    return _signed(ranks, first[unequal], second[unequal])


def _signed(ranks: NDArray[np.float64], first: NDArray[np.int64], second: NDArray[np.int64]) -> Pairs:
    sign = np.sign(ranks[first] - ranks[second]).astype(np.float32)
    return torch.tensor(first), torch.tensor(second), torch.from_numpy(sign)
