"""Weighted cross-entropy: numbers worked out by hand, and torch's own with pos_weight in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from objectives.losses.weighted_bce import weighted_bce_loss


def test_by_hand() -> None:
    # p = 1/2 for a positive and a negative, p = 3/4 for a positive: 8 log 2, log 2, -8 log(3/4).
    logits = torch.tensor([0.0, 0.0, math.log(3)], dtype=torch.float64)
    targets = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
    each = [8 * math.log(2), math.log(2), -8 * math.log(3 / 4)]
    assert weighted_bce_loss(logits, targets, 8.0, "none").tolist() == pytest.approx(each)
    # The mean is over samples, not over weights.
    assert weighted_bce_loss(logits, targets, 8.0).item() == pytest.approx(sum(each) / 3)


@pytest.mark.parametrize("positive_weight", [0.2, 1.0, 8.0, 50.0])
def test_as_the_formula_and_torch_have_it(positive_weight: float) -> None:
    draws = torch.Generator().manual_seed(0)
    logits = torch.randn(50, 4, generator=draws) * 4
    targets = (torch.rand(50, 4, generator=draws) < 0.2).float()
    p, t = torch.sigmoid(logits.double()), targets.double()
    formula = -(positive_weight * t * torch.log(p) + (1 - t) * torch.log(1 - p))
    found = weighted_bce_loss(logits, targets, positive_weight, "none")
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), formula, rtol=1e-5, atol=1e-7)
    torch_has = F.binary_cross_entropy_with_logits(
        logits.double(), t, pos_weight=torch.tensor(positive_weight, dtype=torch.float64)
    )
    torch.testing.assert_close(weighted_bce_loss(logits.double(), t, positive_weight), torch_has)


def test_a_weight_of_negatives_over_positives_balances_both() -> None:
    """With one positive among nine negatives, all at p = 1/2, both classes pull alike."""
    logits = torch.zeros(10, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([1.0] + [0.0] * 9, dtype=torch.float64)
    (slopes,) = torch.autograd.grad(weighted_bce_loss(logits, targets, 9.0, "sum"), logits)
    assert slopes.tolist() == pytest.approx([-4.5] + [0.5] * 9)


@pytest.mark.parametrize("weight", [0.0, -1.0, float("inf"), float("nan")])
def test_a_weight_that_is_none_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match=f"positive_weight is {weight}; expected more than 0"):
        weighted_bce_loss(torch.zeros(2), torch.zeros(2), weight)
