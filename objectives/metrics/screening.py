"""Metrics of a score that finds few positives among many negatives, above all at high specificity.

y_true is (n,) of 0 and 1. Those that need both classes raise ValueError when one is missing: there is no curve then,
and any value would look like a result.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import precision_score, recall_score, roc_auc_score, roc_curve

from objectives.metrics.checks import binary, finite, same_shape


def auc(y_true: ArrayLike, score: ArrayLike) -> float:
    """Return the area under the ROC curve: the chance that a positive scores above a negative, ties counting half.

    Args:
        y_true: (n,) of 0 and 1.
        score: (n,), finite, larger for positives.

    Raises:
        ValueError: Other input, or one class only.
    """
    return float(roc_auc_score(*_both_classes(y_true, score)))


def partial_auc(y_true: ArrayLike, score: ArrayLike, min_specificity: float = 0.9) -> float:
    """Return the area under the ROC curve where specificity is at least min_specificity, standardised.

    Constant scores give 0.5 and perfect ones 1; the worst give less than 0.5 (0.4737 at a min_specificity of 0.9). With
    m = 1 - min_specificity and A the area over false-positive rates 0 to m (linear between points) it is (1 + (A - m^2
    / 2) / (m - m^2 / 2)) / 2, as in `sklearn.metrics.roc_auc_score(max_fpr=m)`.

    Source: McClish, "Analyzing a portion of the ROC curve", Medical Decision Making 1989.

    Args:
        y_true: (n,) of 0 and 1.
        score: (n,), finite, larger for positives.
        min_specificity: At least 0 (then it is the plain area) and less than 1.

    Raises:
        ValueError: An argument is out of its range, or there is one class only.
    """
    if not 0 <= min_specificity < 1:
        raise ValueError(f"min_specificity is {min_specificity}; expected at least 0 and less than 1")
    return float(roc_auc_score(*_both_classes(y_true, score), max_fpr=1 - min_specificity))


def partial_auc_normalised(y_true: ArrayLike, score: ArrayLike, min_specificity: float = 0.9) -> float:
    """Return the same area A over its width m: the mean sensitivity over false-positive rates 0 to m.

    Constant scores give m / 2 (0.05 at a min_specificity of 0.9), perfect ones 1, the worst 0: another scale than
    that of `partial_auc`, never to be compared with it. Arguments and errors as there.
    """
    standardised = partial_auc(y_true, score, min_specificity)
    chance = (1 - min_specificity) / 2
    return chance + (2 * standardised - 1) * (1 - chance)


def sensitivity_at_specificity(y_true: ArrayLike, score: ArrayLike, specificity: float = 0.95) -> float:
    """Return the largest sensitivity among the points of the ROC curve with at least that specificity.

    It is not interpolated, but one that some threshold really has; 0 where only "no positives" is specific enough, as
    with constant scores.

    Args:
        y_true: (n,) of 0 and 1.
        score: (n,), finite, larger for positives.
        specificity: From 0 to 1.

    Raises:
        ValueError: An argument is out of its range, or there is one class only.
    """
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
    """Return the share of true positives among those predicted positive; 0 when none is.

    Args:
        y_true: (n,) of 0 and 1.
        predicted: (n,) of 0 and 1, such as probabilities > 0.5.

    Raises:
        ValueError: Other or empty input.
    """
    return float(precision_score(*_labels(y_true, predicted), zero_division=0))


def recall(y_true: ArrayLike, predicted: ArrayLike) -> float:
    """Return the share of the positives that are predicted positive.

    Args:
        y_true: (n,) of 0 and 1.
        predicted: (n,) of 0 and 1.

    Raises:
        ValueError: Other or empty input, or no positive.
    """
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
