"""The hinge for ordered pairs, plain and reweighted by the density of gradient norms.

Of a pair (a, b) with sign y = +1 where a should score higher, else -1, z = y (score of a - score of b). The hinge is
max(0, margin - z) (Herbrich, Graepel, Obermayer, "Large margin rank boundaries for ordinal regression", 2000). The
density is that of GHM (see ghm.py), with an exponent that says how much of it is undone."""

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
    """max(0, margin - sign (scores_a - scores_b)), in float32 at least.

    scores_a, scores_b, sign: the same shape, any; sign 1 or -1. margin >= 0, in the unit of the scores. reduction:
    "mean", "sum" or "none" (then the result has the shape of the scores). mask: bool, the same shape, False where a
    pair does not count. Where none counts, or there is none, the loss is 0 with slopes of 0.

    Raises ValueError when shapes differ or an argument is out of its range."""
    _check(scores_a, scores_b, sign, margin, mask)
    check_reduction(reduction)
    a, b = blanked(widened(scores_a), mask), blanked(widened(scores_b), mask)
    # A masked pair may have any sign.
    y = sign if mask is None else torch.where(mask, sign, torch.ones_like(sign))
    check_values("the signs", y, (-1, 1))
    return reduced(F.margin_ranking_loss(a, b, y.to(a.dtype), margin=margin, reduction="none"), reduction, mask)


class GHMRankingLoss(GradientDensity):
    """The hinge with each pair weighted by max(count, 1)^(-alpha), count being that of its bin of
    g = sigmoid(margin - z), and the weights of a batch scaled to a mean of 1.

    Attributes after a call: those of `GradientDensity`, and original, 0-d: the plain hinge's mean, without a graph."""

    def __init__(self, bins: int = 10, alpha: float = 0.75, margin: float = 1.0, momentum: float = 0.0) -> None:
        """alpha >= 0: an exponent; 0 is the plain hinge, 1 lets every bin weigh the same. With a momentum the count
        is the moving average. Raises ValueError for an argument out of its range."""
        super().__init__(bins, momentum)
        if not 0 <= alpha < float("inf"):
            raise ValueError(f"alpha is {alpha}; expected at least 0")
        _check_margin(margin)
        self.alpha, self.margin = alpha, margin
        self.original = torch.zeros(())

    def forward(self, scores_a: Tensor, scores_b: Tensor, sign: Tensor, mask: Tensor | None = None) -> Tensor:
        """The mean over pairs of weight x hinge, 0-d; weights are constants to the gradient. Arguments and errors as
        for `margin_ranking_loss`."""
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
        return f"alpha={self.alpha}, margin={self.margin}, {super().extra_repr()}"


def _check(scores_a: Tensor, scores_b: Tensor, sign: Tensor, margin: float, mask: Tensor | None) -> None:
    check_shapes(scores_a=scores_a, scores_b=scores_b, sign=sign)
    check_mask(mask, "scores_a", scores_a)
    _check_margin(margin)


def _check_margin(margin: float) -> None:
    if not 0 <= margin < float("inf"):
        raise ValueError(f"margin is {margin}; expected at least 0")
