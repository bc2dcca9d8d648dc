"""How well a score finds few positives among many negatives, above all where hardly a negative may be called one.

In all of them y_true is (n,) of 0 and 1. What needs both classes raises ValueError when one is missing: there is no
curve then, and any value would look like a result."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import precision_score, recall_score, roc_auc_score, roc_curve

from objectives.metrics.checks import binary, finite, same_shape


def auc(y_true: ArrayLike, score: ArrayLike) -> float:
    """The area under the ROC curve: the chance that a positive scores above a negative, ties counting half.

    score: (n,), finite, larger for positives. Raises ValueError for other input or one class only."""
    return float(roc_auc_score(*_both_classes(y_true, score)))


def partial_auc(y_true: ArrayLike, score: ArrayLike, min_specificity: float = 0.9) -> float:
    """The area under the ROC curve where specificity is at least min_specificity, standardised so that constant
    scores give 0.5 and perfect ones 1; the worst give less than 0.5 (0.4737 at a min_specificity of 0.9).

    Source: McClish, "Analyzing a portion of the ROC curve", Medical Decision Making 1989. With m = 1 -
    min_specificity and A the area over false-positive rates 0 to m (linear between points):
    (1 + (A - m^2 / 2) / (m - m^2 / 2)) / 2. It is `sklearn.metrics.roc_auc_score(max_fpr=m)`.

    min_specificity: at least 0 (then it is the plain area) and less than 1. Raises ValueError as `auc` does."""
    if not 0 <= min_specificity < 1:
        raise ValueError(f"min_specificity is {min_specificity}; expected at least 0 and less than 1")
    return float(roc_auc_score(*_both_classes(y_true, score), max_fpr=1 - min_specificity))


def partial_auc_normalised(y_true: ArrayLike, score: ArrayLike, min_specificity: float = 0.9) -> float:
    """The same area A over its width m: the mean sensitivity over false-positive rates 0 to m.

    Constant scores give m / 2 (0.05 at a min_specificity of 0.9), perfect ones 1, the worst 0: another scale than
    that of `partial_auc`, never to be compared with it. Arguments and errors as there."""
    standardised = partial_auc(y_true, score, min_specificity)
    chance = (1 - min_specificity) / 2
    return chance + (2 * standardised - 1) * (1 - chance)


def sensitivity_at_specificity(y_true: ArrayLike, score: ArrayLike, specificity: float = 0.95) -> float:
    """The largest sensitivity among the points of the ROC curve with at least that specificity, not interpolated: one
    that some threshold really has. 0 where only "no positives" is specific enough, as with constant scores.

    specificity: from 0 to 1. Raises ValueError as `auc` does."""
    if not 0 <= specificity <= 1:
        raise ValueError(f"specificity is {specificity}; expected a number from 0 to 1")
    y, scores = _both_classes(y_true, score)
    # All points: one that lies on the line between its neighbours can be the best that is specific enough.
    false_rate, true_rate, _ = roc_curve(y, scores, drop_intermediate=False)
    # Back to whole numbers: 1 - false_rate may miss 0.95 by a rounding.
    negatives = np.sum(y == 0)
    reached = (negatives - np.rint(false_rate * negatives)) / negatives >= specificity
    return float(true_rate[reached].max())


def precision(y_true: ArrayLike, predicted: ArrayLike) -> float:
    """The share of true positives among those predicted positive; 0 when none is.

    predicted: (n,) of 0 and 1, such as probabilities > 0.5. Raises ValueError for other or empty input."""
    return float(precision_score(*_labels(y_true, predicted), zero_division=0))


def recall(y_true: ArrayLike, predicted: ArrayLike) -> float:
    """The share of the positives that are predicted positive.

    predicted: (n,) of 0 and 1. Raises ValueError for other or empty input, and when there is no positive."""
    y, labels = _labels(y_true, predicted)
    if not y.any():
        raise ValueError("y_true has no positive, so recall is not defined; expected both classes")
    return float(recall_score(y, labels, zero_division=0))


def _both_classes(y_true: ArrayLike, score: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    y, scores = binary("y_true", y_true), finite("score", score)
    same_shape(y_true=y, score=scores)
    if y.all() or not y.any():
        only = "positives" if y.all() else "negatives"
        raise ValueError(f"y_true has only {only}, so there is no ROC curve; expected both classes")
    return y, scores


def _labels(y_true: ArrayLike, predicted: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    y, labels = binary("y_true", y_true), binary("predicted", predicted)
    same_shape(y_true=y, predicted=labels)
    return y, labels
