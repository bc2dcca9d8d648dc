"""Percentile intervals of scores by the bootstrap, of whole groups where items of one group are alike.

Source: Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13; Field & Welsh, "Bootstrapping
clustered data", JRSS B 2007, for groups.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

REPLICATES = 1000
LEVEL = 0.95
SEED = 0
FEWEST_UNITS = 2
# Below so many units percentile intervals are known to be too narrow.
FEW_UNITS = 20
_DEFINED = 0.9  # the least part of the replicates in which a score must have a value

Measure = Callable[[NDArray[np.float64]], Mapping[str, float]]


def intervals(measure: Measure, units: NDArray[np.intp]) -> dict[str, tuple[float, float]]:
    """Return the 95 % interval of each score.

    Args:
        measure: Returns the scores of the rows by their weights, (rows,): how often each row counts. NaN where a score
            has no value, as an AUC of one class.
        units: (rows,), the number of the unit of each row. Units are drawn, as many as there are, with replacement.

    Returns:
        (low, high) of each score; without those that have no value in a tenth of the replicates. Nothing for fewer than
        two units.
    """
    n = int(units.max()) + 1 if len(units) else 0
    if n < FEWEST_UNITS:
        return {}
    rng = np.random.default_rng(SEED)
    found: dict[str, list[float]] = defaultdict(list)
    for _ in range(REPLICATES):
        drawn = np.bincount(rng.integers(0, n, n), minlength=n).astype(np.float64)
        for name, value in measure(drawn[units]).items():
            if np.isfinite(value):
                found[name].append(value)
    tail = 100 * (1 - LEVEL) / 2
    return {
        name: (float(np.percentile(values, tail)), float(np.percentile(values, 100 - tail)))
        for name, values in found.items()
        if len(values) >= _DEFINED * REPLICATES
    }
