"""Pareto dominance: what is nowhere worse and somewhere better."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """Return True if `one` Pareto-dominates `other`: nowhere worse and somewhere better.

    Args:
        one: costs, lower is better.
        other: costs of the same metrics.
    """
    return tuple(one) != tuple(other) and all(a <= b for a, b in zip(one, other, strict=True))


def non_dominated(costs: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which rows no other one dominates, of shape (n,). Equal rows stay side by side.

    Args:
        costs: of shape (n, metrics), lower is better.
    """
    front = np.zeros(len(costs), bool)
    # Who dominates a row stands before it in this order, so the first one left is on the front.
    left = np.lexsort(costs.T[::-1])
    while left.size:
        first, left = left[0], left[1:]
        front[first] = True
        better = (costs[left] < costs[first]).any(axis=1)
        left = left[better | (costs[left] == costs[first]).all(axis=1)]
    return front
