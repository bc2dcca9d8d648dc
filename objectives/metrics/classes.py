"""Metrics of several classes of very different size, in which each class counts the same.

y_true and predicted are (n,) of whole numbers from 0 to classes - 1. A ValueError refuses other or empty input. A
constant answer gives a balanced accuracy of 1 / (number of classes there are), however common the class.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import f1_score, recall_score

from objectives.metrics.checks import finite, same_shape


def macro_f1(y_true: ArrayLike, predicted: ArrayLike, classes: int) -> float:
    """Return the mean over classes of F1 = 2 TP / (2 TP + FP + FN).

    A class that neither is there nor is predicted has no F1 and is left out; one that is only predicted, or never
    predicted, has 0.
    """
    y, labels = _labels(y_true, predicted, classes)
    return float(f1_score(y, labels, average="macro", zero_division=0))


def balanced_accuracy(y_true: ArrayLike, predicted: ArrayLike, classes: int) -> float:
    """Return the mean of the recalls of the classes that are there (Brodersen et al., ICPR 2010)."""
    y, labels = _labels(y_true, predicted, classes)
    return float(recall_score(y, labels, labels=np.unique(y), average="macro", zero_division=0))


def _labels(y_true: ArrayLike, predicted: ArrayLike, classes: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if not isinstance(classes, int) or classes < 2:
        raise ValueError(f"classes is {classes!r}; expected how many there are, a whole number from 2")
    pair = {"y_true": finite("y_true", y_true), "predicted": finite("predicted", predicted)}
    same_shape(**pair)
    for name, labels in pair.items():
        wrong = labels[(labels != np.rint(labels)) | (labels < 0) | (labels >= classes)]
        if len(wrong):
            raise ValueError(f"{name} holds {wrong[0]:g}; expected whole numbers from 0 to {classes - 1}")
    return pair["y_true"].astype(np.int64), pair["predicted"].astype(np.int64)
