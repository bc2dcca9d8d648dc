"""Scores, curves, threshold and calibration of positives among negatives.

An item is called positive where its score is above the threshold. A row may stand for many items of one score, as the
pixels of a slice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

MOST_POINTS = 200  # of a curve that is kept
BINS = 10  # of the calibration
PARTIAL = 0.1  # the largest false-positive rate of the partial area

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Binary:
    """Scores of items of two classes.

    Attributes:
        positive: (rows,) bool.
        score: (rows,).
        counts: (rows,), how many items each row stands for.
        threshold: See the module.
    """

    positive: NDArray[np.bool_]
    score: Floats
    counts: Floats
    threshold: float

    @cached_property
    def is_probability(self) -> bool:
        """Return True if all scores are from 0 to 1."""
        return bool(((self.score >= 0) & (self.score <= 1)).all())

    @cached_property
    def _levels(self) -> tuple[Floats, NDArray[np.intp]]:
        """Distinct scores, descending, and the place of each row among them."""
        levels, place = np.unique(-self.score, return_inverse=True)
        return -levels, place

    def _cumulated(self, weights: Floats) -> tuple[Floats, Floats]:
        """Return true and false positives where everything from each distinct score on is called positive."""
        levels, place = self._levels
        total = weights * self.counts
        tp = np.bincount(place, total * self.positive, minlength=len(levels)).cumsum()
        fp = np.bincount(place, total * ~self.positive, minlength=len(levels)).cumsum()
        return tp, fp

    def measure(self, weights: Floats | None = None) -> dict[str, float]:
        """Return all scores of the rows by how often each counts, those without a value as NaN.

        auc, pauc (McClish-standardised over false-positive rates up to 0.1, as scikit-learn's `max_fpr`) and
        pauc_normalised (that area / 0.1), average_precision, sens_at_95spec; at the threshold recall, specificity,
        precision, f1 and dice (equal), jaccard, accuracy; brier and ece where scores are probabilities.
        """
        weights = np.ones(len(self.score)) if weights is None else weights
        tp, fp = self._cumulated(weights)
        found = self.rates(weights, self.threshold)
        if tp[-1] > 0 and fp[-1] > 0:
            tpr, fpr = np.append(0, tp / tp[-1]), np.append(0, fp / fp[-1])
            partial = _area_up_to(fpr, tpr, PARTIAL)
            least = PARTIAL**2 / 2
            precision = np.divide(tp, tp + fp, out=np.zeros_like(tp), where=tp + fp > 0)
            found |= {
                "auc": float(np.trapezoid(tpr, fpr)),
                "pauc": (1 + (partial - least) / (PARTIAL - least)) / 2,
                "pauc_normalised": partial / PARTIAL,
                "average_precision": float((np.diff(tpr) * precision).sum()),
                "sens_at_95spec": float(tpr[fpr <= 0.05 + 1e-12].max()),
            }
        else:
            names = ("auc", "pauc", "pauc_normalised", "average_precision", "sens_at_95spec")
            found |= dict.fromkeys(names, math.nan)
        if self.is_probability:
            total = weights * self.counts
            found["brier"] = float((total * (self.score - self.positive) ** 2).sum() / total.sum())
            found["ece"] = self.expected_calibration_error(weights)
        return found

    def confusion(self, weights: Floats, threshold: float) -> tuple[float, float, float, float]:
        """Return true negatives, false positives, false negatives and true positives."""
        total, called = weights * self.counts, self.score > threshold
        return (
            float(total[~self.positive & ~called].sum()),
            float(total[~self.positive & called].sum()),
            float(total[self.positive & ~called].sum()),
            float(total[self.positive & called].sum()),
        )

    def rates(self, weights: Floats, threshold: float) -> dict[str, float]:
        """Return the scores at a threshold."""
        tn, fp, fn, tp = self.confusion(weights, threshold)
        f1 = _ratio(2 * tp, 2 * tp + fp + fn)
        return {
            "recall": _ratio(tp, tp + fn),
            "specificity": _ratio(tn, tn + fp),
            "precision": _ratio(tp, tp + fp),
            "f1": f1,
            "dice": f1,
            "jaccard": _ratio(tp, tp + fp + fn),
            "accuracy": _ratio(tp + tn, tn + fp + fn + tp),
        }

    def roc(self) -> list[tuple[float, float]]:
        """Return (false-positive rate, sensitivity), from (0, 0) to (1, 1)."""
        tp, fp = self._cumulated(np.ones(len(self.score)))
        return _thinned(np.append(0, fp / fp[-1]), np.append(0, tp / tp[-1]))

    def precision_recall(self) -> list[tuple[float, float]]:
        """Return (recall, precision) with recall rising."""
        tp, fp = self._cumulated(np.ones(len(self.score)))
        return _thinned(tp / tp[-1], tp / (tp + fp))

    def threshold_for(self, specificity: float) -> float:
        """Return the lowest score as a threshold above which at most 1 - specificity of the negatives lie."""
        levels, _ = self._levels
        _, fp = self._cumulated(np.ones(len(self.score)))
        negatives = fp[-1]
        # Above levels[k] are the negatives of all higher levels.
        above = np.append(0, fp[:-1])
        allowed = np.flatnonzero(above <= (1 - specificity) * negatives + 1e-9 * negatives)
        return float(levels[allowed[-1]])

    def calibration(self, weights: Floats | None = None) -> list[tuple[float, float, float]]:
        """Return (items, mean score, share of positives) of each of BINS equal bins of 0 to 1, the last one closed."""
        total = self.counts if weights is None else weights * self.counts
        place = np.minimum((self.score * BINS).astype(int), BINS - 1)
        items, scores, positives = (
            np.bincount(place, total * part, minlength=BINS) for part in (1.0, self.score, self.positive)
        )
        with np.errstate(invalid="ignore"):
            return list(zip(items.tolist(), (scores / items).tolist(), (positives / items).tolist(), strict=True))

    def expected_calibration_error(self, weights: Floats | None = None) -> float:
        """Return the mean over items of |mean score - share of positives| of the bin (Naeini et al., AAAI 2015)."""
        bins = [one for one in self.calibration(weights) if one[0] > 0]
        return sum(n * abs(score - rate) for n, score, rate in bins) / sum(n for n, _, _ in bins)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else math.nan


def _area_up_to(fpr: Floats, tpr: Floats, most: float) -> float:
    stop = int(np.searchsorted(fpr, most, "right"))
    last = float(np.interp(most, fpr[stop - 1 : stop + 1], tpr[stop - 1 : stop + 1]))
    return float(np.trapezoid(np.append(tpr[:stop], last), np.append(fpr[:stop], most)))


def _thinned(x: Floats, y: Floats) -> list[tuple[float, float]]:
    """Return at most MOST_POINTS points of a curve, its ends among them, evenly along its length."""
    if len(x) > MOST_POINTS:
        along = np.append(0, np.cumsum(np.hypot(np.diff(x), np.diff(y))))
        chosen = np.unique(np.searchsorted(along, np.linspace(0, along[-1], MOST_POINTS)).clip(max=len(x) - 1))
        x, y = x[chosen], y[chosen]
    return list(zip(x.round(6).tolist(), y.round(6).tolist(), strict=True))
