"""Focal loss for two classes, from logits.

Source: Lin, Goyal, Girshick, He, Dollar, "Focal Loss for Dense Object Detection", ICCV 2017, eq. 5
(https://arxiv.org/abs/1708.02002)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from objectives.losses.common import check_reduction, classified, reduced


def binary_focal_loss(
    logits: Tensor,
    targets: Tensor,
    gamma: float,
    alpha: float | None = None,
    reduction: str = "mean",
    mask: Tensor | None = None,
) -> Tensor:
    """FL = -alpha_t (1 - p_t)^gamma log(p_t), with p_t the probability given to the true class.

    logits: any shape, before the sigmoid. targets: the same shape, 0 or 1 (hard labels only).
    gamma >= 0 turns down what is already classified well; 0 is cross-entropy.
    alpha in [0, 1] weights the positives, 1 - alpha the negatives; None weights neither.
    reduction: "mean", "sum" or "none" (then the result has the shape of logits).
    mask: bool, the same shape, False where an entry does not count. Where none counts, or there is none, the loss
    is 0 with slopes of 0. In float32 at least.

    Raises ValueError when shapes differ or an argument is out of its range."""
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
