"""What every loss of a batch owes to a training loop, whichever it is: masks, empty batches, half precision, extreme
scores, and slopes that are those of the formula."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from objectives.losses.dice import bce_dice_loss, dice_loss
from objectives.losses.focal import binary_focal_loss
from objectives.losses.ghm import GHMC, GHMR
from objectives.losses.ghm_ranking import GHMRankingLoss, margin_ranking_loss
from objectives.losses.weighted_bce import weighted_bce_loss

Loss = Callable[[Tensor, Tensor, Tensor | None], Tensor]

# Scores are differences for the ranking losses, whose targets are signs.
LOSSES: dict[str, Loss] = {
    "focal": lambda x, t, mask: binary_focal_loss(x, t, 2.0, 0.75, mask=mask),
    "weighted_bce": lambda x, t, mask: weighted_bce_loss(x, t, 8.0, mask=mask),
    "dice": lambda x, t, mask: dice_loss(x, t, mask=mask),
    "bce_dice": lambda x, t, mask: bce_dice_loss(x, t, mask),
    "ghmc": lambda x, t, mask: GHMC(10, 0.5)(x, t, mask),
    "ghmr": lambda x, t, mask: GHMR(0.02, 10, 0.5)(x, t, mask),
    "margin_ranking": lambda x, t, mask: margin_ranking_loss(x, torch.zeros_like(x), 2 * t - 1, 1.0, mask=mask),
    "ghm_ranking": lambda x, t, mask: GHMRankingLoss(10, 0.75, 1.0, 0.5)(x, torch.zeros_like(x), 2 * t - 1, mask),
}
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


def batch(*shape: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(0)
    scores = torch.randn(*shape, generator=draws, dtype=torch.float64) * 3
    return scores.to(dtype).requires_grad_(), (torch.rand(*shape, generator=draws) < 0.3).to(dtype)


@every_loss
def test_an_empty_batch_is_no_loss_and_has_slopes(loss: Loss) -> None:
    scores, targets = batch(0)
    value = loss(scores, targets, None)
    assert value.shape == ()
    assert value.item() == 0
    value.backward()
    assert scores.grad is not None
    assert scores.grad.shape == (0,)


@every_loss
def test_a_batch_that_is_all_masked_is_no_loss_and_moves_nothing(loss: Loss) -> None:
    scores, targets = batch(4, 3)
    value = loss(scores, targets, torch.zeros(4, 3, dtype=torch.bool))
    assert value.item() == 0
    value.backward()
    assert torch.equal(scores.grad, torch.zeros(4, 3, dtype=torch.float64))


@every_loss
def test_what_is_masked_could_as_well_not_be_there(loss: Loss) -> None:
    scores, targets = batch(6, 5)
    mask = torch.rand(6, 5, generator=torch.Generator().manual_seed(1)) < 0.6
    value = loss(scores, targets, mask)
    assert value.item() == pytest.approx(loss(scores[mask], targets[mask], None).item(), rel=1e-12)
    assert torch.equal(loss(scores, targets, torch.ones(6, 5, dtype=torch.bool)), loss(scores, targets, None))


@every_loss
@pytest.mark.parametrize("garbage", [float("nan"), float("inf"), -7.0])
def test_nothing_leaks_from_under_a_mask(loss: Loss, garbage: float) -> None:
    scores, targets = batch(20)
    mask = torch.arange(20) % 3 > 0
    expected = loss(scores, targets, mask)
    (expected_slopes,) = torch.autograd.grad(expected, scores)
    spoilt = torch.where(mask, scores.detach(), garbage).requires_grad_()
    value = loss(spoilt, torch.where(mask, targets, garbage), mask)
    (slopes,) = torch.autograd.grad(value, spoilt)
    assert torch.equal(value, expected)
    assert torch.equal(slopes, expected_slopes)
    assert not slopes[~mask].any()


@every_loss
def test_its_slopes_are_those_of_its_formula(loss: Loss) -> None:
    """The weights of gradient harmonising are constants to the gradient; a step of gradcheck changes no bin here."""
    scores, targets = batch(12)
    mask = torch.arange(12) % 4 > 0
    assert torch.autograd.gradcheck(lambda x: loss(x, targets, None), (scores,))
    assert torch.autograd.gradcheck(lambda x: loss(x, targets, mask), (scores,))


@every_loss
def test_half_precision_is_widened_before_anything_is_lost(loss: Loss) -> None:
    """Bfloat16 has 8 bits: a mean over 4,000 entries in it would be off by per cents."""
    for half in (torch.bfloat16, torch.float16):
        scores, targets = batch(4000, dtype=half)
        value = loss(scores, targets, None)
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(loss(scores.double(), targets.double(), None).item(), rel=1e-4)
        value.backward()
        assert scores.grad.dtype == half
        assert torch.isfinite(scores.grad).all()


@every_loss
def test_under_autocast(loss: Loss) -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(8, 1)
    inputs, (_, targets) = torch.randn(64, 8), batch(64, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        scores = layer(inputs).squeeze(1)
        value = loss(scores, targets, None)
    assert scores.dtype == torch.bfloat16
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(loss(scores.double(), targets.double(), None).item(), rel=1e-4)
    value.backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in layer.parameters())


@every_loss
@pytest.mark.parametrize("size", [50.0, 1e4, 1e30])
def test_extreme_scores_give_finite_losses_and_slopes(loss: Loss, size: float) -> None:
    scores = torch.tensor([-size, 0.0, size, -size, 0.0, size], requires_grad=True)
    targets = torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0, 1.0])
    value = loss(scores, targets, None)
    (slopes,) = torch.autograd.grad(value, scores)
    assert torch.isfinite(value)
    assert torch.isfinite(slopes).all()
    assert slopes.any()


@pytest.mark.parametrize("name", LOSSES)
def test_nothing_is_read_back_from_a_device(name: str) -> None:
    """The host would wait for it at every step. A tensor on "meta" has no values, so that reading one raises."""
    with torch.device("meta"):  # where the modules make their buffers
        scores, targets = torch.zeros(6, requires_grad=True), torch.zeros(6)
        masks = [None] if "ghm" in name else [None, torch.zeros(6, dtype=torch.bool)]  # GHM picks its samples out
        for mask in masks:
            value = LOSSES[name](scores, targets, mask)
            value.backward()
            assert value.shape == ()
    assert scores.grad.device.type == "meta"


@every_loss
def test_a_nan_is_passed_on_for_the_training_to_see(loss: Loss) -> None:
    scores, targets = batch(5)
    assert torch.isnan(loss(scores + torch.tensor([0, 0, float("nan"), 0, 0]), targets, None))


@every_loss
def test_shapes_and_masks_that_do_not_fit_are_refused(loss: Loss) -> None:
    scores, targets = batch(4)
    with pytest.raises(ValueError, match=r"have shape \(4,\), (targets|sign) \(4, 1\); expected the same"):
        loss(scores, targets[:, None], None)
    with pytest.raises(ValueError, match=r"mask has shape \(3,\), \w+ \(4,\); expected the same"):
        loss(scores, targets, torch.ones(3, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"mask is torch\.float32; expected torch\.bool, True where a sample counts"):
        loss(scores, targets, torch.ones(4))


@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"ghmr"}))
def test_targets_that_are_no_labels_are_refused(name: str) -> None:
    """On the CPU, where looking at them is free."""
    expected = "expected -1 or 1" if "ranking" in name else "expected 0 or 1"
    for wrong in (0.7, 2.0, float("nan")):
        with pytest.raises(ValueError, match=expected):
            LOSSES[name](torch.zeros(3), torch.tensor([0.0, wrong, 1.0]), None)


@pytest.mark.parametrize("name", ["focal", "weighted_bce", "dice", "bce_dice", "ghmc"])
def test_labels_may_be_of_any_type(name: str) -> None:
    scores, targets = batch(9)
    values = {LOSSES[name](scores, targets.to(kind), None).item() for kind in (torch.float64, torch.bool, torch.int64)}
    assert len(values) == 1


@pytest.mark.parametrize("name", ["focal", "weighted_bce", "margin_ranking"])
def test_reductions_agree_with_one_another(name: str) -> None:
    scores, targets = batch(4, 3)
    mask = torch.arange(12).reshape(4, 3) % 3 > 0
    reduced = {
        "focal": lambda how, m: binary_focal_loss(scores, targets, 2.0, 0.75, how, m),
        "weighted_bce": lambda how, m: weighted_bce_loss(scores, targets, 8.0, how, m),
        "margin_ranking": lambda how, m: margin_ranking_loss(scores, 0 * scores, 2 * targets - 1, 1.0, how, m),
    }[name]
    for m, count in ((None, 12), (mask, 8)):
        each = reduced("none", m)
        assert each.shape == (4, 3)
        torch.testing.assert_close(reduced("sum", m), each.sum())
        torch.testing.assert_close(reduced("mean", m), each.sum() / count)
    assert not reduced("none", mask)[~mask].any()
    with pytest.raises(ValueError, match="reduction is 'avg'; expected 'mean', 'sum' or 'none'"):
        reduced("avg", None)
