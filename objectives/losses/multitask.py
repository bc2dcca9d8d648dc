"""One loss out of several: with weights that are given, or learned from how uncertain each task is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn


def weighted_sum(losses: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """sum of weights[name] x losses[name], 0-d.

    losses: 0-d tensors by name, at least one. weights: numbers from 0 under the same names; that they sum to 1 (a
    simplex) or not is the caller's affair.

    Raises ValueError when names differ, a weight is negative or not finite, or a loss is not 0-d."""
    _check_losses(losses, weights, "weights")
    for name, weight in weights.items():
        if not 0 <= weight < math.inf:
            raise ValueError(f"the weight of '{name}' is {weight}; expected a number from 0")
    return torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()


class UncertaintyWeighting(nn.Module):
    """Weights learned as each task's noise, with s = log sigma^2 as the parameter.

    Source: Kendall, Gal, Cipolla, "Multi-task learning using uncertainty to weigh losses for scene geometry and
    semantics", CVPR 2018. A regression, its loss a squared error, adds L / (2 sigma^2) + log sigma (eq. 7, Gaussian
    likelihood): exp(-s) L / 2 + s / 2. A classification, its loss a cross-entropy, adds L / sigma^2 + log sigma
    (eq. 10, softmax scaled by 1 / sigma^2, with the approximation made there): exp(-s) L + s / 2. For other losses the
    likelihood is only a picture. The sum can be negative: s / 2 is where a loss near 0 sends it.

    log_variances: (names,), one s a name in the order given, 0 (sigma = 1) at the start. Give them no weight decay:
    it would pull every sigma towards 1."""

    scale: Tensor

    def __init__(self, names: Sequence[str], regression: Iterable[str] = ()) -> None:
        """names: of the losses. regression: those of them that are a regression's; the others are taken as a
        classification's. Raises ValueError for no name, one given twice, or a regression that is no name."""
        super().__init__()
        self.names, self.regression = tuple(names), tuple(regression)
        if not self.names or len(set(self.names)) < len(self.names):
            raise ValueError(f"names are {list(self.names)}; expected at least one, each once")
        for name in self.regression:
            if name not in self.names:
                raise ValueError(f"regression has '{name}'; expected some of {', '.join(self.names)}")
        self.log_variances = nn.Parameter(torch.zeros(len(self.names)))
        scale = [0.5 if name in self.regression else 1.0 for name in self.names]
        self.register_buffer("scale", torch.tensor(scale), persistent=False)

    def weights(self) -> Tensor:
        """(names,): what each loss is multiplied by, 1 / (2 sigma^2) or 1 / sigma^2."""
        return self.scale * torch.exp(-self.log_variances)

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """sum over names of weight x loss + s / 2, 0-d. losses: 0-d tensors under the names of the constructor, in
        any order. Raises ValueError when names differ or a loss is not 0-d."""
        _check_losses(losses, self.names, "the weighting")
        stacked = torch.stack([losses[name] for name in self.names])
        return (self.weights() * stacked + self.log_variances / 2).sum()

    def extra_repr(self) -> str:
        return f"names={list(self.names)}, regression={list(self.regression)}"


def _check_losses(losses: Mapping[str, Tensor], expected: Iterable[str], where: str) -> None:
    if sorted(losses) != sorted(expected):
        raise ValueError(f"losses are {', '.join(losses) or 'none'}, but {where} has {', '.join(expected) or 'none'}")
    if not losses:
        raise ValueError("there is no loss to weigh; expected at least one")
    for name, loss in losses.items():
        if loss.ndim:
            raise ValueError(f"the loss '{name}' has shape {tuple(loss.shape)}; expected a single number")
