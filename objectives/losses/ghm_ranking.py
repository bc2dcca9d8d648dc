"""The hinge for ordered pairs, plain and reweighted by the density of gradient norms.

A pair (a, b) has a sign y, +1 where a should score higher, else -1, and z = y (score of a - score of b). The hinge is
max(0, margin - z) (Herbrich, Graepel, Obermayer, "Large margin rank boundaries for ordinal regression", 2000). The
density is that of GHM (see ghm.py), with an exponent that says how much of it is undone.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from objectives.losses.common import (
    blanked,
    check_mask,
    check_reduction,
    check_shapes,
    check_values,
    reduced,
    selected,
    widened,
)
from objectives.losses.ghm import GradientDensity


def margin_ranking_loss(
    scores_a: Tensor,
    scores_b: Tensor,
    sign: Tensor,
    margin: float,
    reduction: str = "mean",
    mask: Tensor | None = None,
) -> Tensor:
    """Return max(0, margin - sign (scores_a - scores_b)), in float32 at least.

    Args:
        scores_a: Any shape.
        scores_b: The same shape.
        sign: The same shape, 1 or -1.
        margin: At least 0, in the unit of the scores.
        reduction: "mean", "sum" or "none" (then the result has the shape of the scores).
        mask: bool, the same shape, False where an entry does not count. Where none counts, or there is none, the loss
            is 0 with slopes of 0.

    Raises:
        ValueError: Shapes differ or an argument is out of its range.
    """
    _check(scores_a, scores_b, sign, margin, mask)
    check_reduction(reduction)
    a, b = blanked(widened(scores_a), mask), blanked(widened(scores_b), mask)
    # A masked pair may have any sign.
    y = sign if mask is None else torch.where(mask, sign, torch.ones_like(sign))
    check_values("the signs", y, (-1, 1))
    return reduced(F.margin_ranking_loss(a, b, y.to(a.dtype), margin=margin, reduction="none"), reduction, mask)


class GHMRankingLoss(GradientDensity):
    """The hinge with each pair weighted by max(count, 1)^(-alpha), scaled to a mean weight of 1 in a batch.

    The count is that of the pair's bin of g = sigmoid(margin - z).

    Attributes:
        original: After a call, the plain hinge's mean, 0-d, without a graph; besides the attributes of
            `GradientDensity`.
    """

    def __init__(self, bins: int = 10, alpha: float = 0.75, margin: float = 1.0, momentum: float = 0.0) -> None:
        """Set the weighting.

        Args:
            bins: Number of equal bins over [0, 1].
            alpha: An exponent of at least 0; 0 is the plain hinge, 1 lets every bin weigh the same.
            margin: At least 0.
            momentum: In [0, 1); above 0 the count is the moving average.

        Raises:
            ValueError: An argument is out of its range.
        """
        super().__init__(bins, momentum)
        if not 0 <= alpha < float("inf"):
            raise ValueError(f"alpha is {alpha}; expected at least 0")
        _check_margin(margin)
        self.alpha, self.margin = alpha, margin
        self.original = torch.zeros(())

    def forward(self, scores_a: Tensor, scores_b: Tensor, sign: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the mean over pairs of weight x hinge, 0-d; weights are constants to the gradient.

        Arguments and errors are those of `margin_ranking_loss`.
        """
        _check(scores_a, scores_b, sign, self.margin, mask)
        a, b, y = (widened(selected(each, mask)) for each in (scores_a, scores_b, sign))
        hinge = margin_ranking_loss(a, b, y, self.margin, "none")
        density = self.density(torch.sigmoid(self.margin - y * (a - b).detach()))
        # n softmax(-alpha log count) is count^(-alpha) over its mean, and cannot underflow.
        weights = len(hinge) * torch.softmax(-self.alpha * density.clamp(min=1).log(), 0)
        self.weights = weights.to(hinge.dtype)
        self.original = reduced(hinge.detach(), "mean")
        return reduced(self.weights * hinge, "mean")

    def extra_repr(self) -> str:
        """Return the settings, for `repr`."""
        return f"alpha={self.alpha}, margin={self.margin}, {super().extra_repr()}"


def _check(scores_a: Tensor, scores_b: Tensor, sign: Tensor, margin: float, mask: Tensor | None) -> None:
    check_shapes(scores_a=scores_a, scores_b=scores_b, sign=sign)
    check_mask(mask, "scores_a", scores_a)
    _check_margin(margin)


def _check_margin(margin: float) -> None:
    if not 0 <= margin < float("inf"):
        raise ValueError(f"margin is {margin}; expected at least 0")
