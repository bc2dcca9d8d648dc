"""Tell what the focal loss did in one training: which samples its loss came from.

Beside them stand the samples that the loss of the plain cross-entropy would have come from.

It reads arrays of epochs.npz beside `epoch`, for train and, if they are there, for val; any objective may write them
(docs/report.md):

    train_focal_count, train_focal_ce, train_focal_loss   (epochs, 2, bins): how many samples, the sum of their
        cross-entropy and the sum of their focal loss, by class (negatives, positives) and by 1 - p_t in equal bins of
        0 to 1, a multiple of ten of them
    train_focal_gamma, train_focal_alpha                  (epochs,): of the loss; alpha NaN where it has none

p_t is the probability given to the true class. The sums are exact, so nothing here is approximated.

Source: Lin, Goyal, Girshick, He, Dollar, "Focal Loss for Dense Object Detection", ICCV 2017, eq. 5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpo.analysis.training.curves import best_epoch
from hpo.analysis.training.training_log import TrainingLog

Array = NDArray[np.float64]

EASY, HARD = 0.9, 0.5  # of p_t: above, and up to


@dataclass(frozen=True)
class Shares:
    """Parts of a whole, each 0 to 1: easy (p_t > 0.9), between, hard (p_t <= 0.5); and of the positives."""

    easy: float
    between: float
    hard: float
    positives: float


@dataclass(frozen=True)
class FocalEpoch:
    """One epoch of a training with the focal loss.

    Attributes:
        epoch: Number of the epoch.
        samples: Parts of the samples.
        plain: Parts of their cross-entropy.
        unweighted: Parts of the loss that gamma alone makes; None where it cannot be told (a class weighted by 0).
        focal: Parts of the focal loss.
        ce: Mean cross-entropy over samples.
        focal_mean: Mean focal loss over samples.
    """

    epoch: int
    samples: Shares
    plain: Shares
    unweighted: Shares | None
    focal: Shares
    ce: float
    focal_mean: float


@dataclass(frozen=True)
class FocalTraining:
    """A training with the focal loss.

    Attributes:
        gamma: Of the loss, as recorded in the last epoch.
        alpha: Of the loss, as recorded in the last epoch; None without one.
        train: Every recorded epoch that had a loss.
        val: The same of validation; empty if it was not recorded.
        best: The epoch in which the training's metric was best; None if nobody knows.
    """

    gamma: float
    alpha: float | None
    train: tuple[FocalEpoch, ...]
    val: tuple[FocalEpoch, ...]
    best: int | None

    @property
    def shown(self) -> FocalEpoch:
        """The best epoch of training, else the last."""
        return next((one for one in self.train if one.epoch == self.best), self.train[-1])


def focal_of(log: TrainingLog) -> FocalTraining | None:
    """Return what the focal loss did; None if the training recorded no such sums that can be read."""
    gamma = _last(log, "train_focal_gamma")
    if gamma is None or not math.isfinite(gamma):
        return None
    alpha = _last(log, "train_focal_alpha")
    alpha = None if alpha is None or math.isnan(alpha) else alpha
    train = _epochs(log, "train", alpha)
    if not train:
        return None
    return FocalTraining(gamma, alpha, train, _epochs(log, "val", alpha), best_epoch(log))


def weight(gamma: float, p_t: float) -> float:
    """Return the factor by which gamma multiplies the cross-entropy of a sample: (1 - p_t)^gamma."""
    return float((1 - p_t) ** gamma)


def _last(log: TrainingLog, name: str) -> float | None:
    found = log.epochs.get(name)
    return float(found[-1]) if found is not None and found.ndim == 1 and len(found) else None


def _epochs(log: TrainingLog, split: str, alpha: float | None) -> tuple[FocalEpoch, ...]:
    epochs = np.ravel(log.epochs.get("epoch", ()))
    sums = [log.epochs.get(f"{split}_focal_{kind}") for kind in ("count", "ce", "loss")]
    parts = [np.asarray(part, dtype=np.float64) for part in sums if part is not None]
    if len(parts) < 3 or any(part.shape != parts[0].shape for part in parts):
        return ()
    shape = parts[0].shape
    if len(shape) != 3 or shape[:2] != (len(epochs), 2) or shape[2] % 10 or not shape[2]:
        return ()
    found = (_epoch(int(epoch), n, ce, loss, alpha) for epoch, n, ce, loss in zip(epochs, *parts, strict=True))
    return tuple(one for one in found if one is not None)


def _epoch(epoch: int, count: Array, ce: Array, loss: Array, alpha: float | None) -> FocalEpoch | None:
    samples, plain, focal = (_shares(part) for part in (count, ce, loss))
    if samples is None or plain is None or focal is None:
        return None
    unweighted: Shares | None = focal
    if alpha is not None:
        # Eq. 5 multiplies each sample by the weight of its class, and by nothing else that gamma does not.
        unweighted = _shares(loss / np.array([[1 - alpha], [alpha]])) if 0 < alpha < 1 else None
    n = count.sum()
    return FocalEpoch(epoch, samples, plain, unweighted, focal, float(ce.sum() / n), float(loss.sum() / n))


def _shares(part: Array) -> Shares | None:
    """Return the parts of a sum of losses, (2, bins); None without a sum above 0, or with a negative part."""
    total = part.sum()
    if not math.isfinite(total) or total <= 0 or (part < 0).any():
        return None
    by_bin, bins = part.sum(axis=0), part.shape[1]
    easy = by_bin[: round(bins * (1 - EASY))].sum()
    hard = by_bin[round(bins * (1 - HARD)) :].sum()
    return Shares(*(float(one / total) for one in (easy, total - easy - hard, hard, part[1].sum())))
