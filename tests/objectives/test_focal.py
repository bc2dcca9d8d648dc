"""Binary focal loss against values worked out by hand and a plain float64 reference."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from objectives.losses.focal import binary_focal_loss, by_difficulty, focal_arrays


def reference(logits: torch.Tensor, targets: torch.Tensor, gamma: float, alpha: float | None) -> torch.Tensor:
    """Equation 5 as it is printed, in float64."""
    p = torch.sigmoid(logits.double())
    p_t = torch.where(targets > 0.5, p, 1 - p)
    y = targets.double()
    alpha_t = 1.0 if alpha is None else y * alpha + (1 - y) * (1 - alpha)
    return -alpha_t * (1 - p_t) ** gamma * torch.log(p_t)


@pytest.mark.parametrize(
    ("logit", "target", "gamma", "alpha", "expected"),
    [
        # A logit of 0 is p = 1/2, so FL = alpha_t * 2^-gamma * log 2.
        (0.0, 1.0, 0.0, None, math.log(2)),
        (0.0, 1.0, 2.0, None, math.log(2) / 4),
        (0.0, 1.0, 2.0, 0.25, math.log(2) / 16),
        (0.0, 0.0, 2.0, 0.25, 3 * math.log(2) / 16),
        # A logit of log 3 is p = 3/4: right with 1/4 to go, or wrong with 3/4 to go.
        (math.log(3), 1.0, 2.0, None, -math.log(3 / 4) / 16),
        (math.log(3), 0.0, 2.0, None, -9 / 16 * math.log(1 / 4)),
        (math.log(3), 1.0, 0.5, 0.9, -0.9 / 2 * math.log(3 / 4)),
    ],
)
def test_values_worked_out_by_hand(
    logit: float, target: float, gamma: float, alpha: float | None, expected: float
) -> None:
    loss = binary_focal_loss(
        torch.tensor([logit], dtype=torch.float64), torch.tensor([target], dtype=torch.float64), gamma, alpha
    )
    assert loss.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("alpha", [None, 0.05, 0.25, 1.0])
def test_float32_agrees_with_the_equation_in_float64(gamma: float, alpha: float | None) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(200, 3, generator=generator) * 4
    targets = (torch.rand(200, 3, generator=generator) < 0.2).float()
    loss = binary_focal_loss(logits, targets, gamma, alpha, reduction="none")
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), reference(logits, targets, gamma, alpha), rtol=2e-5, atol=1e-9)


def test_without_gamma_and_alpha_it_is_binary_cross_entropy() -> None:
    logits = torch.linspace(-30, 30, 101)
    targets = (torch.arange(101) % 2).float()
    for reduction in ("none", "mean", "sum"):
        torch.testing.assert_close(
            binary_focal_loss(logits, targets, 0.0, reduction=reduction),
            F.binary_cross_entropy_with_logits(logits, targets, reduction=reduction),
        )


def test_alpha_weights_the_positives() -> None:
    logits, targets = torch.zeros(2), torch.tensor([1.0, 0.0])
    positive, negative = binary_focal_loss(logits, targets, 1.0, alpha=0.9, reduction="none").tolist()
    assert positive / negative == pytest.approx(9, rel=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.1, 2.0])
def test_extreme_logits_give_finite_losses_and_slopes(gamma: float) -> None:
    logits = torch.tensor([-1e4, -100.0, 0.0, 100.0, 1e4], requires_grad=True)
    for targets in (torch.zeros(5), torch.ones(5)):
        loss = binary_focal_loss(logits, targets, gamma, 0.25)
        (slope,) = torch.autograd.grad(loss, logits)
        assert torch.isfinite(loss)
        assert torch.isfinite(slope).all()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_gradient(gamma: float) -> None:
    logits = torch.linspace(-6, 6, 9, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([0, 1, 0, 1, 1, 0, 0, 1, 1], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: binary_focal_loss(x, targets, gamma, 0.3, "none"), logits)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"targets": torch.zeros(3, 1)}, r"logits have shape \(3,\), targets \(3, 1\); expected the same"),
        ({"gamma": -1.0}, "gamma is -1.0; expected at least 0"),
        ({"gamma": float("nan")}, "gamma is nan; expected at least 0"),
        ({"targets": torch.tensor([0.0, 0.3, 1.0])}, r"targets hold 0\.3; expected 0 or 1"),
        ({"mask": torch.ones(3)}, r"mask is torch\.float32; expected torch\.bool"),
        ({"alpha": 1.5}, "alpha is 1.5; expected None or a number from 0 to 1"),
        ({"reduction": "avg"}, "reduction is 'avg'; expected 'mean', 'sum' or 'none'"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, object], message: str) -> None:
    given = {"logits": torch.zeros(3), "targets": torch.zeros(3), "gamma": 2.0, **arguments}
    with pytest.raises(ValueError, match=message):
        binary_focal_loss(**given)


def test_a_mask_takes_entries_out_of_the_mean() -> None:
    logits, targets = torch.tensor([0.0, 5.0, math.log(3)]), torch.tensor([1.0, 0.0, 1.0])
    mask = torch.tensor([True, False, True])
    each = [math.log(2) / 4, -math.log(3 / 4) / 16]
    assert binary_focal_loss(logits, targets, 2.0, mask=mask).item() == pytest.approx(sum(each) / 2)
    assert binary_focal_loss(logits, targets, 2.0, reduction="sum", mask=mask).item() == pytest.approx(sum(each))
    found = binary_focal_loss(logits, targets, 2.0, reduction="none", mask=mask)
    assert found.tolist() == pytest.approx([each[0], 0, each[1]])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_an_empty_batch(reduction: str) -> None:
    loss = binary_focal_loss(torch.zeros(0, 3), torch.zeros(0, 3), 2.0, reduction=reduction)
    assert loss.sum().item() == 0
    assert loss.shape == ((0, 3) if reduction == "none" else ())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
def test_where_the_loss_comes_from_is_counted_sample_by_sample(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(3)
    logits = (4 * torch.randn(3, 2, 40, generator=generator)).to(dtype)
    targets = (torch.rand(3, 2, 40, generator=generator) < 0.3).to(dtype)
    gamma, alpha = 1.5, 0.75
    rows = by_difficulty(logits, targets, gamma, alpha)
    assert rows.shape == (3, 3, 2, 50)
    expected = np.zeros((3, 3, 2, 50))
    for row in range(3):
        pairs = zip(logits[row].double().flatten().tolist(), targets[row].flatten().tolist(), strict=True)
        for x, t in pairs:
            z_t = x if t > 0.5 else -x
            hard = 1 / (1 + math.exp(z_t))
            ce = math.log1p(math.exp(-z_t))
            focal = (alpha if t > 0.5 else 1 - alpha) * hard**gamma * ce
            expected[row, :, int(t > 0.5), min(49, int(hard * 50))] += (1, ce, focal)
    np.testing.assert_allclose(rows.numpy(), expected, rtol=2e-4, atol=1e-6)

    kept = focal_arrays(rows, gamma, alpha)
    np.testing.assert_allclose(kept["focal_ce"], expected[:, 1].sum(0), rtol=2e-4, atol=1e-6)
    assert (kept["focal_count"].sum(), kept["focal_gamma"], kept["focal_alpha"]) == (240, 1.5, 0.75)
    total = binary_focal_loss(logits.double(), targets.double(), gamma, alpha, "sum").item()
    assert kept["focal_loss"].sum() == pytest.approx(total, rel=1e-5)
    assert np.isnan(focal_arrays(rows, gamma, None)["focal_alpha"])
