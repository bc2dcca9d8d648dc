"""Gradient harmonizing: samples whose gradients have the same norm share one weight, however many they are.

Source: Li, Liu, Wang, "Gradient Harmonized Single-stage Detector", AAAI 2019 (https://arxiv.org/abs/1811.05181), the
sections "GHM-C Loss" and "GHM-R Loss", with the histogram of "Unit Region Approximation" and the moving average of
"EMA". As in the authors' code, bins that are empty neither count among the unit regions nor change their average.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from objectives.losses.common import check_mask, check_shapes, selected, widened
from objectives.losses.weighted_bce import weighted_bce_loss

# A histogram with a larger share than this in one bin gives nearly all samples one weight: it changes nothing.
INERT_SHARE = 90.0


class GradientDensity(nn.Module):
    """The histogram behind the losses of this family, and what they keep of their last call.

    With a momentum m, a = m a + (1 - m) count, from a = 0 and only for bins that are not empty: the histogram is a
    moving average over batches. Nothing corrects for the start at 0. A bin first seen counts 1 - m of what is in it, so
    the first loss is 1 / (1 - m) times that of m = 0. In eval mode the batch is averaged in the same way, but the
    average is not kept. An empty batch, or one that is all masked, changes no average.

    Attributes:
        bins: Number of equal bins over [0, 1].
        momentum: m in [0, 1); 0 counts the batch alone.
        gradient_norms: (n,) of the samples that counted in the last call, without a graph.
        weights: (n,) of the same samples.
        counts: (bins,) int64, of the last batch.
        accumulated: (bins,) float64, a buffer: the moving average.
    """

    accumulated: Tensor

    def __init__(self, bins: int, momentum: float) -> None:
        super().__init__()
        if not isinstance(bins, int) or bins < 1:
            raise ValueError(f"bins is {bins!r}; expected a whole number from 1")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum is {momentum}; expected at least 0 and less than 1")
        self.bins, self.momentum = bins, momentum
        self.register_buffer("accumulated", torch.zeros(bins, dtype=torch.float64))
        self.gradient_norms, self.weights = torch.zeros(0), torch.zeros(0)
        self.counts = torch.zeros(bins, dtype=torch.int64)

    def density(self, norms: Tensor) -> Tensor:
        """Return how many samples are in the bin of each norm, averaged over batches, (n,) float64.

        Args:
            norms: (n,) in [0, 1], without a graph.
        """
        index, self.counts = histogram(norms, self.bins)
        average = self.momentum * self.accumulated + (1 - self.momentum) * self.counts.double()
        average = torch.where(self.counts > 0, average, self.accumulated)
        if self.training:
            self.accumulated.copy_(average)
        self.gradient_norms = norms
        return average[index]

    def harmonized_mean(self, loss: Tensor, norms: Tensor) -> Tensor:
        """Return sum(weight loss) / N, or 0 if N = 0.

        The weight is N / count of the bin / number of bins that are not empty.
        """
        density = self.density(norms)
        self.weights = (len(norms) / density / (self.counts > 0).sum()).to(loss.dtype)
        return (self.weights * loss).sum() / max(len(norms), 1)

    def extra_repr(self) -> str:
        """Return the settings, for `repr`."""
        return f"bins={self.bins}, momentum={self.momentum}"


class GHMC(GradientDensity):
    """GHM-C, for classification: binary cross-entropy with g = |sigmoid(x) - t|."""

    def __init__(self, bins: int = 10, momentum: float = 0.0) -> None:
        """Set the bins and the momentum of `GradientDensity`; raise ValueError for one out of its range."""
        super().__init__(bins, momentum)

    def forward(self, logits: Tensor, targets: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the mean over samples of weight x BCE, 0-d, in float32 at least; weights have no gradient.

        Args:
            logits: Any shape.
            targets: The same shape, 0 or 1.
            mask: bool, the same shape, False where a sample does not count (its target may be NaN). Where none counts
                the loss is 0 with slopes of 0.

        Raises:
            ValueError: Shapes differ or a target is neither 0 nor 1.
        """
        check_shapes(logits=logits, targets=targets)
        check_mask(mask, "logits", logits)
        x, t = widened(selected(logits, mask)), selected(targets, mask)
        loss = weighted_bce_loss(x, t, 1.0, "none")
        return self.harmonized_mean(loss, (x.detach().sigmoid() - t.to(x.dtype)).abs())


class GHMR(GradientDensity):
    """GHM-R, for regression: l = sqrt(d^2 + mu^2) - mu with g = |d| / sqrt(d^2 + mu^2), d = predicted - target."""

    def __init__(self, mu: float = 0.02, bins: int = 10, momentum: float = 0.0) -> None:
        """Set the scale, and the bins and the momentum of `GradientDensity`.

        Args:
            mu: More than 0, in the unit of the targets. Far below it the loss is a parabola, far above it |d| - mu.
            bins: At least 1.
            momentum: In [0, 1).

        Raises:
            ValueError: An argument is out of its range.
        """
        super().__init__(bins, momentum)
        if not 0 < mu < float("inf"):
            raise ValueError(f"mu is {mu}; expected more than 0")
        self.mu = mu

    def forward(self, predicted: Tensor, targets: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the mean over samples of weight x l, 0-d, in float32 at least; weights have no gradient.

        Args:
            predicted: Any shape.
            targets: The same shape.
            mask: bool, the same shape, False where a sample does not count (its target may be NaN). Where none counts
                the loss is 0 with slopes of 0.

        Raises:
            ValueError: Shapes differ.
        """
        check_shapes(predicted=predicted, targets=targets)
        check_mask(mask, "predicted", predicted)
        d = widened(selected(predicted, mask)) - selected(targets, mask)
        root = torch.hypot(d, d.new_tensor(self.mu))  # d * d would overflow
        # sqrt(d^2 + mu^2) - mu, which for a small d would lose all its digits.
        loss = d * (d / (root + self.mu))
        # At most 1, which the rounding of hypot need not keep to.
        return self.harmonized_mean(loss, (d.abs() / root).detach().clamp(max=1))

    def extra_repr(self) -> str:
        """Return the settings, for `repr`."""
        return f"mu={self.mu}, {super().extra_repr()}"


def histogram(norms: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """Return the bin of each norm, (n,), and how many are in each bin, (bins,), both int64.

    Bin i is [i / bins, (i + 1) / bins), the last one closed: a norm of 1 is counted.
    """
    edges = torch.arange(1, bins, dtype=norms.dtype, device=norms.device) / bins
    index = torch.bucketize(norms, edges, right=True)
    # Not bincount: on a GPU the host would wait for its result.
    counts = torch.zeros(bins, dtype=torch.int64, device=norms.device)
    return index, counts.scatter_add_(0, index, torch.ones_like(index))


def gradient_statistics(norms: Tensor | NDArray[np.floating], bins: int) -> dict[str, float | NDArray[np.float64]]:
    """Describe the gradient norms of an epoch, or of one batch of it.

    Args:
        norms: (n,) in [0, 1].
        bins: Number of equal bins.

    Returns:
        number; mean, median, min, max, std (population) of the norms; shares (bins,): percent of the norms in each bin;
        most_populated and least_populated: the index of the bin, the lowest among equals; evenness: the population
        standard deviation of the shares (0: all alike; 30 for ten bins: all in one); inert: 1 if over 90 % are in one
        bin, where reweighting by density changes nothing, else 0.

    Raises:
        ValueError: There is none, or one is outside [0, 1] or NaN.
    """
    given = torch.as_tensor(norms).detach().cpu().flatten()
    if not len(given):
        raise ValueError("there is no gradient norm to describe; expected one a sample")
    values = given.double().numpy()
    wrong = values[~((values >= 0) & (values <= 1))]
    if len(wrong):
        raise ValueError(f"a gradient norm is {wrong[0]:g}; expected a number from 0 to 1")
    shares = histogram(given, bins)[1].numpy() * 100 / len(values)
    return {
        "number": float(len(values)),
        "mean": float(values.mean()),
        "median": float(np.median(values)),
        "min": float(values.min()),
        "max": float(values.max()),
        "std": float(values.std()),
        "shares": shares,
        "most_populated": float(shares.argmax()),
        "least_populated": float(shares.argmin()),
        "evenness": float(shares.std()),
        "inert": float(shares.max() > INERT_SHARE),
    }
