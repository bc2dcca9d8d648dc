"""Find two modes in samples, such as trainings that either fail or succeed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# The share of the scatter within samples that one cut must take away. The best cut of normal samples takes 2 / pi of
# many values, and more of few: with these two numbers at most 4 of 100 normal samples are said to have two modes.
CLEAR = 0.95
LEAST_DF = 8  # values less samples
FEWEST_BESIDE = 2


@dataclass(frozen=True)
class Modes:
    """Two modes of some samples.

    Attributes:
        low: Median of the values below the cut.
        high: Median of the values above it.
        share: The share of the scatter within the samples that the cut explains.
    """

    low: float
    high: float
    share: float


def two_modes(samples: Sequence[NDArray[np.float64]]) -> Modes | None:
    """Return the modes if one cut through all values explains nearly all scatter within the samples.

    This is Otsu's criterion (IEEE Transactions on Systems, Man, and Cybernetics 9, 1979), within samples: differences
    between samples are none of modes. In the sample that it takes most of, FEWEST_BESIDE values
    or more lie on either side.
    """
    values = np.concatenate([np.asarray(sample, dtype=np.float64) for sample in samples])
    of = np.repeat(np.arange(len(samples)), [len(sample) for sample in samples])
    order = np.argsort(values, kind="stable")
    values, of = values[order], of[order]
    n = len(values)
    total = sum(float(((sample - sample.mean()) ** 2).sum()) for sample in samples)
    cuts = np.arange(FEWEST_BESIDE, n - FEWEST_BESIDE + 1)
    cuts = cuts[values[cuts - 1] < values[np.minimum(cuts, n - 1)]]
    if total <= 0 or not len(cuts) or n - len(samples) < LEAST_DF:
        return None
    between, largest, beside = np.zeros(len(cuts)), np.zeros(len(cuts)), np.zeros(len(cuts))
    for index in range(len(samples)):
        # The scatter between two parts of m and k values about their means: m k / (m + k) of the squared difference.
        inside = of == index
        sums, counts = np.cumsum(np.where(inside, values, 0.0)), np.cumsum(inside)
        below, above = counts[cuts - 1], counts[-1] - counts[cuts - 1]
        with np.errstate(invalid="ignore"):
            difference = sums[cuts - 1] / below - (sums[-1] - sums[cuts - 1]) / above
        cut_through = (below > 0) & (above > 0)
        taken = np.where(cut_through, below * above / (below + above) * difference**2, 0.0)
        beside = np.where(taken > largest, np.minimum(below, above), beside)
        largest = np.maximum(largest, taken)
        between += taken
    between[beside < FEWEST_BESIDE] = 0.0  # one value apart is no mode
    best = int(np.argmax(between))
    share = float(between[best] / total)
    if share < CLEAR:
        return None
    cut = int(cuts[best])
    return Modes(float(np.median(values[:cut])), float(np.median(values[cut:])), share)
