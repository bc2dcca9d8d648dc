"""Binary cross-entropy in which a positive counts more than a negative, from logits."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from objectives.losses.common import check_reduction, classified, reduced


def weighted_bce_loss(
    logits: Tensor, targets: Tensor, positive_weight: float, reduction: str = "mean", mask: Tensor | None = None
) -> Tensor:
    """Return w_t CE: -w log(p) for a positive, -log(1 - p) for a negative, p = sigmoid(logit).

    The mean is over samples. It is not divided by the weights, so a larger w is a larger loss. In float32 at least.

    Args:
        logits: Any shape.
        targets: The same shape, 0 or 1.
        positive_weight: w > 0; about negatives / positives lets both classes weigh the same.
        reduction: "mean", "sum" or "none" (then the result has the shape of the logits).
        mask: bool, the same shape, False where an entry does not count. Where none counts, or there is none, the loss
            is 0 with slopes of 0.

    Raises:
        ValueError: Shapes differ or an argument is out of its range.
    """
    check_reduction(reduction)
    if not 0 < positive_weight < float("inf"):
        raise ValueError(f"positive_weight is {positive_weight}; expected more than 0")
    logits, targets = classified(logits, targets, mask)
    # Not binary_cross_entropy_with_logits: it adds a logit and takes it away again, so that in float32 the loss of a
    # sample that is classified well is mostly rounding.
    positive = targets > 0.5
    loss = -F.logsigmoid(torch.where(positive, logits, -logits))
    loss = torch.where(positive, positive_weight * loss, loss)
    return reduced(loss, reduction, mask)
