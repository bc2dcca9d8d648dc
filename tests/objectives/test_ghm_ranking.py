"""The hinge and its reweighting: numbers worked out by hand, torch's own hinge, and the formula as a loop."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from objectives.losses.ghm import gradient_statistics
from objectives.losses.ghm_ranking import GHMRankingLoss, margin_ranking_loss


def tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def pairs(n: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    draws = torch.Generator().manual_seed(seed)
    a, b = torch.randn(2, n, generator=draws, dtype=torch.float64) * 2
    return a, b, (torch.rand(n, generator=draws) < 0.5).double() * 2 - 1


# Three pairs with z = 0 (hinge 1, g = sigmoid(1) = 0.731) and one with z = -1 (hinge 2, g = sigmoid(2) = 0.881).
A, B, SIGN = tensor(0, 5, 1, 2), tensor(0, 5, 1, 3), tensor(1, -1, 1, 1)


def test_the_hinge_by_hand() -> None:
    each = margin_ranking_loss(tensor(2, 0, 1), tensor(0, 2, 0.5), tensor(1, 1, -1), 1.0, "none")
    assert each.tolist() == [0, 3, 1.5]


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("margin", [0.0, 1.0, 10.0])
def test_the_hinge_as_torch_has_it(reduction: str, margin: float) -> None:
    a, b, sign = pairs(200)
    expected = F.margin_ranking_loss(a, b, sign, margin=margin, reduction=reduction)
    torch.testing.assert_close(margin_ranking_loss(a, b, sign, margin, reduction), expected)


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [
        # Weights count^-alpha over their mean: 3^-alpha three times and 1.
        (0.0, 5 / 4),
        (0.5, (math.sqrt(3) + 2) / (math.sqrt(3) + 1)),
        (1.0, (1 + 2) / (1 + 1)),
        (2.0, (1 / 3 + 2) / (1 / 3 + 1)),
    ],
)
def test_the_reweighted_hinge_by_hand(alpha: float, expected: float) -> None:
    loss = GHMRankingLoss(bins=10, alpha=alpha, margin=1.0)
    assert loss(A, B, SIGN).item() == pytest.approx(expected, rel=1e-12)
    assert loss.original.item() == pytest.approx(5 / 4)
    assert loss.counts.tolist() == [0, 0, 0, 0, 0, 0, 0, 3, 1, 0]
    g1, g2 = 1 / (1 + math.exp(-1)), 1 / (1 + math.exp(-2))
    assert loss.gradient_norms.tolist() == pytest.approx([g1, g1, g1, g2])
    mean = (3 * 3**-alpha + 1) / 4
    assert loss.weights.tolist() == pytest.approx([3**-alpha / mean] * 3 + [1 / mean])


def test_the_norm_is_the_sigmoid_of_what_is_missing() -> None:
    # z = y (a - b) = 3, -1, 2 under a margin of 2: sigmoid(-1), sigmoid(3), sigmoid(0).
    loss = GHMRankingLoss(margin=2.0)
    loss(tensor(3, 0, 0), tensor(0, 1, 2), tensor(1, 1, -1))
    assert loss.gradient_norms.tolist() == pytest.approx([1 / (1 + math.e), 1 / (1 + math.exp(-3)), 0.5])


def test_without_an_exponent_it_is_the_plain_hinge() -> None:
    a, b, sign = pairs(100)
    loss = GHMRankingLoss(bins=10, alpha=0.0, margin=1.0)
    plain = F.margin_ranking_loss(a, b, sign, margin=1.0)
    torch.testing.assert_close(loss(a, b, sign), plain)
    torch.testing.assert_close(loss.original, plain)
    assert loss.weights.tolist() == pytest.approx([1] * 100)


@pytest.mark.parametrize("bins", [1, 10, 30])
@pytest.mark.parametrize("momentum", [0.0, 0.75])
def test_as_the_formula_says_pair_by_pair(bins: int, momentum: float) -> None:
    loss, averages = GHMRankingLoss(bins, 0.75, 2.0, momentum), [0.0] * bins
    for seed in range(3):
        a, b, sign = pairs(40, seed)
        z = [(y * (p - q)).item() for p, q, y in zip(a, b, sign, strict=True)]
        index = [min(math.floor(bins / (1 + math.exp(value - 2.0))), bins - 1) for value in z]
        for i in set(index):
            averages[i] = momentum * averages[i] + (1 - momentum) * index.count(i)
        weights = [max(averages[i], 1) ** -0.75 for i in index]
        mean = sum(weights) / len(weights)
        hinge = [max(0.0, 2.0 - value) for value in z]
        expected = sum(w / mean * h for w, h in zip(weights, hinge, strict=True)) / len(z)
        assert loss(a, b, sign).item() == pytest.approx(expected, rel=1e-12)
        assert loss.accumulated.tolist() == pytest.approx(averages)
        assert loss.weights.mean().item() == pytest.approx(1)


def test_a_count_below_one_weighs_as_one() -> None:
    """At momentum 0.75 the first averages are 0.75 and 0.25, so that all pairs weigh the same."""
    loss = GHMRankingLoss(bins=10, alpha=1.0, margin=1.0, momentum=0.75)
    assert loss(A, B, SIGN).item() == pytest.approx(5 / 4)
    assert loss.weights.tolist() == pytest.approx([1] * 4)
    assert loss.accumulated.tolist() == [0, 0, 0, 0, 0, 0, 0, 0.75, 0.25, 0]


def test_what_a_pair_is_called_does_not_matter() -> None:
    a, b, sign = pairs(50)
    torch.testing.assert_close(GHMRankingLoss()(a, b, sign), GHMRankingLoss()(b, a, -sign))
    torch.testing.assert_close(GHMRankingLoss()(a, b, sign), GHMRankingLoss()(a + 7, b + 7, sign))


def test_a_margin_of_ten_makes_it_inert() -> None:
    """Scores that are close to one another leave all pairs in the last bin, and the loss is the plain hinge."""
    a, b, sign = pairs(64)
    loss = GHMRankingLoss(bins=10, alpha=0.75, margin=10.0)
    value = loss(a, b, sign)
    assert gradient_statistics(loss.gradient_norms, 10)["inert"] == 1
    torch.testing.assert_close(value, loss.original)
    narrow = GHMRankingLoss(bins=10, alpha=0.75, margin=1.0)
    narrow(a, b, sign)
    assert gradient_statistics(narrow.gradient_norms, 10)["inert"] == 0


def test_a_large_exponent_leaves_the_rarest_pairs() -> None:
    loss = GHMRankingLoss(bins=10, alpha=1000.0, margin=1.0)
    assert loss(A, B, SIGN).item() == pytest.approx(2)
    assert loss.weights.tolist() == pytest.approx([0, 0, 0, 4])
    common = GHMRankingLoss(bins=1, alpha=1000.0)
    assert common(*pairs(1000)).item() == pytest.approx(common.original.item())


def test_weights_and_the_original_have_no_graph() -> None:
    a, b, sign = pairs(20)
    loss = GHMRankingLoss()
    value = loss(a.requires_grad_(), b.requires_grad_(), sign)
    assert value.requires_grad
    assert not any(kept.requires_grad for kept in (loss.original, loss.weights, loss.gradient_norms))
    value.backward()
    missing = (1 - sign * (a - b)).detach() > 0
    torch.testing.assert_close(a.grad, torch.where(missing, -sign * loss.weights / 20, 0.0))
    torch.testing.assert_close(b.grad, -a.grad)


def test_evaluation_and_empty_batches_leave_the_average_alone() -> None:
    a, b, sign = pairs(30)
    loss = GHMRankingLoss(momentum=0.5)
    loss(a, b, sign)
    kept = loss.accumulated.clone()
    loss(a[:0], b[:0], sign[:0])
    assert (loss.original.item(), len(loss.weights)) == (0, 0)
    loss.eval()
    loss(b, a, sign)
    assert torch.equal(loss.accumulated, kept)
    assert loss.counts.sum() == 30


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: GHMRankingLoss(bins=0), "bins is 0; expected a whole number from 1"),
        (lambda: GHMRankingLoss(alpha=-1.0), r"alpha is -1\.0; expected at least 0"),
        (lambda: GHMRankingLoss(margin=-1.0), r"margin is -1\.0; expected at least 0"),
        (lambda: GHMRankingLoss(momentum=1.0), r"momentum is 1\.0; expected at least 0 and less than 1"),
        (lambda: margin_ranking_loss(A, B, SIGN, float("nan")), "margin is nan; expected at least 0"),
        (lambda: margin_ranking_loss(A, B[:3], SIGN, 1.0), r"scores_a have shape \(4,\), scores_b \(3,\); expected"),
        (lambda: GHMRankingLoss()(A, B, 0 * SIGN), "the signs hold 0; expected -1 or 1"),
    ],
)
def test_arguments_out_of_range_are_refused(wrong: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wrong()


def test_it_says_what_it_is() -> None:
    assert repr(GHMRankingLoss()) == "GHMRankingLoss(alpha=0.75, margin=1.0, bins=10, momentum=0.0)"
