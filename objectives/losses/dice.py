"""Soft Dice loss, from logits.

Source: Milletari, Navab, Ahmadi, "V-Net", 3DV 2016, with plain instead of squared terms in the denominator
(as Sudre et al., "Generalised Dice overlap as a deep learning loss function", 2017, eq. 1)."""

from __future__ import annotations

from torch import Tensor


def dice_loss(logits: Tensor, targets: Tensor, smooth: float = 1.0) -> Tensor:
    """1 - (2 sum(p t) + smooth) / (sum(p) + sum(t) + smooth), p = sigmoid(logits), in float32 at least.

    logits, targets: the same shape, targets 0 or 1. The sums run over the whole batch, so that an image
    without any positive adds what it has wrong and no more. `smooth` (in pixels) makes an empty batch 0
    where nothing is predicted. Raises ValueError when shapes differ or smooth is not positive."""
    if logits.shape != targets.shape:
        raise ValueError(f"logits have shape {tuple(logits.shape)}, targets {tuple(targets.shape)}; expected the same")
    if smooth <= 0:
        raise ValueError(f"smooth is {smooth}; expected more than 0")
    # Thousands of pixels are summed: half precision would round most of them away.
    wide = logits if logits.dtype.itemsize >= 4 else logits.float()
    p, t = wide.sigmoid(), targets.to(wide.dtype)
    return 1 - (2 * (p * t).sum() + smooth) / (p.sum() + t.sum() + smooth)
