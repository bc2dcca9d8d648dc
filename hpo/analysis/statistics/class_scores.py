"""Scores of several classes, and of each of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Classes:
    """Classes of items and those that were predicted.

    Attributes:
        names: The classes in their order.
        target: (rows,), the index of the class.
        predicted: (rows,), likewise.
        counts: (rows,), how many items each row stands for.
    """

    names: tuple[str, ...]
    target: NDArray[np.intp]
    predicted: NDArray[np.intp]
    counts: Floats

    def confusion(self, weights: Floats | None = None) -> Floats:
        """Return how many items of each class (row) were given each class (column)."""
        k = len(self.names)
        total = self.counts if weights is None else weights * self.counts
        cells: Floats = np.bincount(self.target * k + self.predicted, total, minlength=k * k).astype(np.float64)
        return cells.reshape(k, k)

    def measure(self, weights: Floats | None = None) -> dict[str, float]:
        """Return accuracy, balanced_accuracy, macro_f1, and recall_<class> of the classes that are there.

        As scikit-learn's: a class that neither is there nor is predicted has no F1.
        """
        table = self.confusion(weights)
        right, there, given = np.diag(table), table.sum(1), table.sum(0)
        recalls = [float(right[k] / there[k]) if there[k] else math.nan for k in range(len(self.names))]
        f1 = [2 * right[k] / (there[k] + given[k]) for k in range(len(self.names)) if there[k] + given[k]]
        return {
            "accuracy": float(right.sum() / table.sum()),
            "balanced_accuracy": float(np.nanmean(recalls)),
            "macro_f1": float(np.mean(f1)),
            **{f"recall_{name.lower()}": recall for name, recall in zip(self.names, recalls, strict=True)},
        }
