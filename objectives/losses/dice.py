"""Soft Dice loss, alone and with cross-entropy, from logits.

Source: Milletari, Navab, Ahmadi, "V-Net", 3DV 2016, with plain instead of squared terms in the denominator
(as Sudre et al., "Generalised Dice overlap as a deep learning loss function", 2017, eq. 1).
"""

from __future__ import annotations

from torch import Tensor

from objectives.losses.common import blanked, classified
from objectives.losses.weighted_bce import weighted_bce_loss


def dice_loss(logits: Tensor, targets: Tensor, smooth: float = 1.0, mask: Tensor | None = None) -> Tensor:
    """Return 1 - (2 sum(p t) + smooth) / (sum(p) + sum(t) + smooth), p = sigmoid(logits), in float32 at least.

    The sums run over the whole batch, so that an image without any positive adds what it has wrong and no more.

    Args:
        logits: Any shape.
        targets: The same shape, 0 or 1.
        smooth: In pixels; it makes an empty batch 0 where nothing is predicted.
        mask: bool, the same shape, False where an entry does not count. Where none counts, or there is none, the loss
            is 0 with slopes of 0.

    Raises:
        ValueError: Shapes differ, or smooth is not positive.
    """
    if not 0 < smooth < float("inf"):
        raise ValueError(f"smooth is {smooth}; expected more than 0")
    logits, targets = classified(logits, targets, mask)
    # Thousands of pixels are summed: half precision would round most of them away.
    p, t = blanked(logits.sigmoid(), mask), targets.to(logits.dtype)
    return 1 - (2 * (p * t).sum() + smooth) / (p.sum() + t.sum() + smooth)


def bce_dice_loss(logits: Tensor, targets: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the mean binary cross-entropy plus the Dice loss with smooth = 1.

    The first gives every pixel a slope, the second weighs a small object like a large one. Arguments and errors are
    those of `dice_loss`.
    """
    return weighted_bce_loss(logits, targets, 1.0, mask=mask) + dice_loss(logits, targets, mask=mask)
