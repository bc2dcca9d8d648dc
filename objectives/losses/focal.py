"""Focal loss for two classes, from logits.

Source: Lin, Goyal, Girshick, He, Dollar, "Focal Loss for Dense Object Detection", ICCV 2017, eq. 5
(https://arxiv.org/abs/1708.02002).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from objectives.losses.common import check_reduction, classified, reduced
from objectives.losses.ghm import histogram
from objectives.losses.weighted_bce import weighted_bce_loss

DIFFICULTIES = 50  # bins of 1 - p_t


def binary_focal_loss(
    logits: Tensor,
    targets: Tensor,
    gamma: float,
    alpha: float | None = None,
    reduction: str = "mean",
    mask: Tensor | None = None,
) -> Tensor:
    """Return -alpha_t (1 - p_t)^gamma log(p_t), p_t the probability of the true class, in float32 at least.

    Args:
        logits: Any shape, before the sigmoid.
        targets: The same shape, 0 or 1 (hard labels only).
        gamma: At least 0. It turns down what is already classified well; 0 is cross-entropy.
        alpha: From 0 to 1, the weight of the positives, 1 - alpha that of the negatives; None weights neither.
        reduction: "mean", "sum" or "none" (then the result has the shape of the logits).
        mask: bool, the same shape, False where an entry does not count. Where none counts, or there is none, the loss
            is 0 with slopes of 0.

    Raises:
        ValueError: Shapes differ or an argument is out of its range.
    """
    check_reduction(reduction)
    if not 0 <= gamma < float("inf"):
        raise ValueError(f"gamma is {gamma}; expected at least 0")
    if alpha is not None and not 0 <= alpha <= 1:
        raise ValueError(f"alpha is {alpha}; expected None or a number from 0 to 1")
    logits, targets = classified(logits, targets, mask)

    # p_t = sigmoid(z_t). Both factors stay in log space: (1 - p_t)^gamma taken as a power has an
    # infinite slope at p_t = 1 for gamma < 1, and log(p_t) underflows for a confident mistake.
    positive = targets > 0.5
    z_t = torch.where(positive, logits, -logits)
    loss = -torch.exp(gamma * F.logsigmoid(-z_t)) * F.logsigmoid(z_t)
    if alpha is not None:
        loss = torch.where(positive, alpha * loss, (1 - alpha) * loss)
    return reduced(loss, reduction, mask)


def by_difficulty(logits: Tensor, targets: Tensor, gamma: float, alpha: float | None) -> Tensor:
    """Return the sources of the loss of each row, (n, 3, 2, 50), in float32 at least, without a graph.

    They are the number of entries, the sum of their cross-entropy and the sum of their focal loss, by class (negatives
    first) and by 1 - p_t in fiftieths of 0 to 1. Logits and targets are (n, ...); errors are those of
    `binary_focal_loss`.
    """
    logits, targets = logits.detach().flatten(1), targets.flatten(1)
    focal = binary_focal_loss(logits, targets, gamma, alpha, "none")
    plain = weighted_bce_loss(logits, targets, 1.0, "none").to(focal.dtype)
    positive = targets > 0.5
    difficulty = torch.where(positive, -logits, logits).to(focal.dtype).sigmoid()
    bins = histogram(difficulty.flatten(), DIFFICULTIES)[0].view_as(positive)
    # One histogram for each row and class.
    places = (2 * torch.arange(len(logits), device=logits.device)[:, None] + positive) * DIFFICULTIES + bins
    kinds = (torch.ones_like(focal), plain, focal)
    empty = focal.new_zeros(len(logits) * 2 * DIFFICULTIES)
    sums = [empty.scatter_add(0, places.flatten(), kind.flatten()) for kind in kinds]
    return torch.stack(sums).view(3, len(logits), 2, DIFFICULTIES).transpose(0, 1)


def focal_arrays(rows: Tensor, gamma: float, alpha: float | None) -> dict[str, NDArray[np.float64]]:
    """Return what is kept of an epoch, from the rows of `by_difficulty`.

    It is focal_count, focal_ce and focal_loss, (2, 50), and the gamma and alpha (NaN for None) they were computed with,
    0-d.
    """
    count, plain, focal = rows.sum(0, dtype=torch.float64).cpu().numpy()
    settings = {"focal_gamma": np.array(float(gamma)), "focal_alpha": np.array(np.nan if alpha is None else alpha)}
    return {"focal_count": count, "focal_ce": plain, "focal_loss": focal, **settings}
