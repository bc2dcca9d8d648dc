"""Overlap of a predicted mask and the true one: Jaccard and Dice, over hard predictions.

All take booleans alone. A product of probabilities is not an intersection: with p = 0.5 everywhere it would call half
of every object found. An empty union counts as 1: both say "nothing here".

Source: P. Jaccard, "The distribution of the flora in the alpine zone", 1912; L. R. Dice, "Measures of the amount of
ecologic association between species", 1945.
"""

from __future__ import annotations

import torch
from torch import Tensor


def jaccard(predicted: Tensor, target: Tensor) -> float:
    """Return |A and B| / |A or B|, pooled over all pixels of all images.

    Args:
        predicted: (n, ...) bool.
        target: The same shape, on the same device.

    Raises:
        ValueError: Another type, shapes that differ, or no image.
    """
    both, either = _areas(predicted, target)
    return float(both.sum() / either.sum()) if either.sum() else 1.0


def dice(predicted: Tensor, target: Tensor) -> float:
    """Return 2 |A and B| / (|A| + |B|), pooled over all pixels of all images; see `jaccard`."""
    both, either = _areas(predicted, target)
    # |A| + |B| = |A or B| + |A and B|
    return float(2 * both.sum() / (either.sum() + both.sum())) if either.sum() else 1.0


def mean_image_jaccard(predicted: Tensor, target: Tensor) -> float:
    """Return the mean over images of each one's own Jaccard; see `jaccard`."""
    both, either = _areas(predicted, target)
    return float(torch.where(either > 0, both / either.clamp(min=1), 1.0).mean())


def _areas(predicted: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the pixels of each image in the intersection and in the union, (n,) float64 each, on the CPU."""
    for name, mask in (("predicted", predicted), ("target", target)):
        if mask.dtype != torch.bool:
            raise ValueError(f"{name} is {mask.dtype}; expected torch.bool, such as probabilities > 0.5")
    if predicted.shape != target.shape:
        raise ValueError(f"predicted has shape {tuple(predicted.shape)}, target {tuple(target.shape)}")
    if not len(predicted):
        raise ValueError("no image was given, so there is no overlap to measure")
    areas = ((predicted & target).flatten(1).sum(1), (predicted | target).flatten(1).sum(1))
    return areas[0].double().cpu(), areas[1].double().cpu()
