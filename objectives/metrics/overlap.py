"""How far a predicted mask and the true one overlap: Jaccard and Dice, over hard predictions.

Source: P. Jaccard, "The distribution of the flora in the alpine zone", 1912; L. R. Dice, "Measures of the
amount of ecologic association between species", 1945. An empty union counts as 1: both say "nothing here"."""

from __future__ import annotations

import torch
from torch import Tensor


class Overlap:
    """Counts over any number of batches; metrics are asked at the end.

    Takes booleans alone. A product of probabilities is not an intersection: with p = 0.5 everywhere it
    would call half of every object found."""

    def __init__(self) -> None:
        self._both: list[Tensor] = []
        self._either: list[Tensor] = []

    def add(self, predicted: Tensor, target: Tensor) -> None:
        """predicted, target: (n, ...) bool, on one device. Raises ValueError for anything else."""
        for name, mask in (("predicted", predicted), ("target", target)):
            if mask.dtype != torch.bool:
                raise ValueError(f"{name} is {mask.dtype}; expected torch.bool, such as probabilities > 0.5")
        if predicted.shape != target.shape:
            raise ValueError(f"predicted has shape {tuple(predicted.shape)}, target {tuple(target.shape)}")
        # Sums stay on their device: the host waits once, at the end.
        self._both.append((predicted & target).flatten(1).sum(1))
        self._either.append((predicted | target).flatten(1).sum(1))

    def jaccard(self) -> float:
        """|A and B| / |A or B|, pooled over all pixels of all images."""
        both, either = self._counts()
        return float(both.sum() / either.sum()) if either.sum() else 1.0

    def dice(self) -> float:
        """2 |A and B| / (|A| + |B|), pooled; |A| + |B| = |A or B| + |A and B|."""
        both, either = self._counts()
        return float(2 * both.sum() / (either.sum() + both.sum())) if either.sum() else 1.0

    def mean_image_jaccard(self) -> float:
        """The mean over images of each one's own Jaccard."""
        both, either = self._counts()
        return float(torch.where(either > 0, both / either.clamp(min=1), 1.0).mean())

    def _counts(self) -> tuple[Tensor, Tensor]:
        """Pixels of each image in the intersection and in the union, as float64 on the CPU."""
        if not self._both:
            raise ValueError("no image was added, so there is no overlap to measure")
        return torch.cat(self._both).double().cpu(), torch.cat(self._either).double().cpu()
