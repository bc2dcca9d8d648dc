"""One loss out of several, with weights that are given, or learned from how uncertain each task is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn


def weighted_sum(losses: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Return the sum of weights[name] x losses[name], 0-d.

    Args:
        losses: 0-d tensors by name, at least one.
        weights: Numbers from 0 under the same names. They need not sum to 1.

    Raises:
        ValueError: Names differ, a weight is negative or not finite, or a loss is not 0-d.
    """
    _check_losses(losses, weights, "weights")
    for name, weight in weights.items():
        if not 0 <= weight < math.inf:
            raise ValueError(f"the weight of '{name}' is {weight}; expected a number from 0")
    return torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()


class UncertaintyWeighting(nn.Module):
    """Weights learned as each task's noise, with s = log sigma^2 as the parameter.

    A regression, its loss a squared error, adds L / (2 sigma^2) + log sigma (eq. 7, Gaussian likelihood): exp(-s) L / 2
    + s / 2. A classification, its loss a cross-entropy, adds L / sigma^2 + log sigma (eq. 10, softmax scaled by 1 /
    sigma^2, with the approximation made there): exp(-s) L + s / 2. For other losses the likelihood is only a picture.
    The sum can be negative, since a loss near 0 makes s negative.

    Source: Kendall, Gal, Cipolla, "Multi-task learning using uncertainty to weigh losses for scene geometry and
        semantics",
    CVPR 2018.

    Attributes:
        log_variances: (names,), one s a name in the order given, 0 (sigma = 1) at the start. Give them no weight decay,
            which would pull every sigma towards 1.
    """

    scale: Tensor

    def __init__(self, names: Sequence[str], regression: Iterable[str] = ()) -> None:
        """Begin with a sigma of 1 for each loss.

        Args:
            names: The losses.
            regression: Those of them that are a regression's; the others are taken as a classification's.

        Raises:
            ValueError: There is no name, one is given twice, or a regression is no name.
        """
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
        """Return the factor of each loss, 1 / (2 sigma^2) or 1 / sigma^2, (names,)."""
        return self.scale * torch.exp(-self.log_variances)

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return the sum over names of weight x loss + s / 2, 0-d.

        Args:
            losses: 0-d tensors under the names of the constructor, in any order.

        Raises:
            ValueError: Names differ or a loss is not 0-d.
        """
        _check_losses(losses, self.names, "the weighting")
        stacked = torch.stack([losses[name] for name in self.names])
        return (self.weights() * stacked + self.log_variances / 2).sum()

    def extra_repr(self) -> str:
        """Return the settings, for `repr`."""
        return f"names={list(self.names)}, regression={list(self.regression)}"


def _check_losses(losses: Mapping[str, Tensor], expected: Iterable[str], where: str) -> None:
    if sorted(losses) != sorted(expected):
        raise ValueError(f"losses are {', '.join(losses) or 'none'}, but {where} has {', '.join(expected) or 'none'}")
    if not losses:
        raise ValueError("there is no loss to weigh; expected at least one")
    for name, loss in losses.items():
        if loss.ndim:
            raise ValueError(f"the loss '{name}' has shape {tuple(loss.shape)}; expected a single number")
