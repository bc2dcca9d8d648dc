"""Count points in the cells of a grid: of very many trials a figure shows how many lie where, not a dot for each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from hpo.analysis.summary_statistics import ROOM, Range

# Of more than so many trials a figure shows their density: dots would lie on top of each other, and make the page slow.
MOST_DOTS = 2000


@dataclass(frozen=True)
class Density:
    """Counts of points.

    Attributes:
        x: Edges of the columns, ascending.
        y: Edges of the rows, ascending.
        counts: `counts[row][column]`.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]
    counts: tuple[tuple[int, ...], ...]

    @property
    def cells(self) -> tuple[tuple[float, float, float, float, int], ...]:
        """Cells that hold a point, as (left, right, lower and upper edge, count)."""
        return tuple(
            (self.x[column], self.x[column + 1], self.y[row], self.y[row + 1], count)
            for row, counts in enumerate(self.counts)
            for column, count in enumerate(counts)
            if count
        )


def density(points: Iterable[tuple[float, float]], x: Sequence[float], y: Sequence[float]) -> Density:
    """Count the points between the edges. On the last edge they belong to the last cell, beyond the edges to none."""
    pairs = np.array(list(points), dtype=float).reshape(-1, 2)
    counts = np.histogram2d(pairs[:, 1], pairs[:, 0], bins=(np.asarray(y), np.asarray(x)))[0]
    return Density(tuple(x), tuple(y), tuple(tuple(map(int, row)) for row in counts))


def edges(low: float, high: float, cells: int) -> tuple[float, ...]:
    """Return the edges of equal cells from `low` to `high`."""
    return tuple(np.linspace(low, high, cells + 1).tolist())


def edges_over(shown: Range, cells: int, share: float = ROOM) -> tuple[float, ...]:
    """Return the edges of equal cells over an axis with some room beyond a range; none of an empty range."""
    ends = shown.padded(share)
    if ends is None or shown.low is None or shown.high is None:
        return ()
    if math.isfinite(ends[1] - ends[0]):
        return edges(*ends, cells)
    return tuple(2 * edge for edge in edges(shown.low / 2, shown.high / 2, cells))  # a double has no room beyond it
