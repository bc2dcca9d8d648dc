"""The Dice loss held to numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from objectives.losses.dice import bce_dice_loss, dice_loss


def logit(p: float) -> float:
    return float(torch.logit(torch.tensor(p, dtype=torch.float64)))


def test_by_hand() -> None:
    # p = 0.8, 0.4, 0.2 against 1, 1, 0: overlap 1.2, sums 1.4 and 2.
    logits = torch.tensor([logit(0.8), logit(0.4), logit(0.2)], dtype=torch.float64)
    targets = torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64)
    assert dice_loss(logits, targets, smooth=1.0).item() == pytest.approx(1 - (2.4 + 1) / (1.4 + 2 + 1))
    assert dice_loss(logits, targets, smooth=0.5).item() == pytest.approx(1 - (2.4 + 0.5) / (1.4 + 2 + 0.5))


def test_the_sums_run_over_the_whole_batch() -> None:
    """An image without positives must not pull the loss of a batch towards its own."""
    found = torch.tensor([[20.0, 20.0], [-20.0, -20.0]], dtype=torch.float64)
    targets = torch.tensor([[1.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
    assert dice_loss(found, targets).item() == pytest.approx(0, abs=1e-8)


def test_nothing_there_and_nothing_said_is_no_loss() -> None:
    logits = torch.full((4,), -40.0, dtype=torch.float64)
    assert dice_loss(logits, torch.zeros(4, dtype=torch.float64)).item() == pytest.approx(0, abs=1e-12)


def test_its_gradient_is_that_of_the_formula() -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    targets = (torch.rand(3, 5) < 0.3).double()
    assert torch.autograd.gradcheck(lambda x: dice_loss(x, targets), (logits,))


def test_half_precision_is_summed_in_float32() -> None:
    logits = torch.zeros(300_000, dtype=torch.bfloat16)
    targets = torch.ones(300_000)
    loss = dice_loss(logits, targets)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(1 - (300_000 + 1) / (150_000 + 300_000 + 1), rel=1e-5)


def test_masked_pixels_are_in_no_sum() -> None:
    # As by hand above, with a masked pixel between the others.
    logits = torch.tensor([logit(0.8), 30.0, logit(0.4), logit(0.2)], dtype=torch.float64)
    targets = torch.tensor([1.0, 1.0, 1.0, 0.0], dtype=torch.float64)
    mask = torch.tensor([True, False, True, True])
    assert dice_loss(logits, targets, mask=mask).item() == pytest.approx(1 - (2.4 + 1) / (1.4 + 2 + 1))


def test_with_cross_entropy_it_is_the_sum_of_both() -> None:
    logits = torch.tensor([logit(0.8), logit(0.4), logit(0.2)], dtype=torch.float64)
    targets = torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64)
    by_hand = -(math.log(0.8) + math.log(0.4) + math.log(0.8)) / 3 + 1 - 3.4 / 4.4
    assert bce_dice_loss(logits, targets).item() == pytest.approx(by_hand)
    both = F.binary_cross_entropy_with_logits(logits, targets) + dice_loss(logits, targets)
    torch.testing.assert_close(bce_dice_loss(logits, targets), both)


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match=r"logits have shape \(2,\), targets \(3,\)"):
        dice_loss(torch.zeros(2), torch.zeros(3))
    with pytest.raises(ValueError, match="smooth is 0; expected more than 0"):
        dice_loss(torch.zeros(2), torch.zeros(2), smooth=0)
