"""One loss out of several: sums by hand, and uncertainty weighting against the paper's equations in sigma."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from objectives.losses.multitask import UncertaintyWeighting, weighted_sum


def number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


LOSSES = {"signal": number(2.0), "class": number(0.5), "peak": number(3000.0)}


def test_a_weighted_sum_by_hand() -> None:
    found = weighted_sum(LOSSES, {"class": 0.5, "peak": 0.001, "signal": 0.25})
    assert found.shape == ()
    assert found.item() == pytest.approx(0.25 * 2 + 0.5 * 0.5 + 0.001 * 3000)


def test_each_loss_moves_by_its_weight() -> None:
    x = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64, requires_grad=True)
    losses = dict(zip("abc", x * x, strict=True))
    weighted_sum(losses, {"a": 0.0, "b": 0.3, "c": 0.7}).backward()
    assert x.grad.tolist() == pytest.approx([0, 0.3 * 4, 0.7 * 6])


@pytest.mark.parametrize(
    ("losses", "weights", "message"),
    [
        (LOSSES, {"signal": 1.0, "class": 1.0}, "losses are signal, class, peak, but weights has signal, class"),
        ({}, {"signal": 1.0}, "losses are none, but weights has signal"),
        ({}, {}, "there is no loss to weigh"),
        ({"a": number(1)}, {"a": -0.1}, r"the weight of 'a' is -0\.1; expected a number from 0"),
        ({"a": number(1)}, {"a": float("nan")}, "the weight of 'a' is nan; expected a number from 0"),
        ({"a": torch.ones(3)}, {"a": 1.0}, r"the loss 'a' has shape \(3,\); expected a single number"),
    ],
)
def test_what_cannot_be_summed_is_refused(losses: dict[str, Tensor], weights: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        weighted_sum(losses, weights)


def test_uncertainty_starts_with_sigma_one() -> None:
    weighting = UncertaintyWeighting(["signal", "class", "peak"], regression=["signal", "peak"])
    assert weighting.weights().tolist() == [0.5, 1, 0.5]
    assert weighting(LOSSES).item() == pytest.approx(2 / 2 + 0.5 + 3000 / 2)
    assert UncertaintyWeighting(["a", "b"]).weights().tolist() == [1, 1]


def test_uncertainty_as_printed_in_the_paper() -> None:
    """Equation 7 for regressions, 10 for a classification, both in sigma."""
    weighting = UncertaintyWeighting(["signal", "class", "peak"], regression=["signal", "peak"]).double()
    sigma = {"signal": 0.7, "class": 1.9, "peak": 40.0}
    with torch.no_grad():
        weighting.log_variances.copy_(torch.tensor([math.log(value**2) for value in sigma.values()]))
    expected = (
        2.0 / (2 * sigma["signal"] ** 2)
        + 0.5 / sigma["class"] ** 2
        + 3000.0 / (2 * sigma["peak"] ** 2)
        + sum(math.log(value) for value in sigma.values())
    )
    assert weighting(LOSSES).item() == pytest.approx(expected, rel=1e-6)
    backwards = dict(reversed(LOSSES.items()))
    assert weighting(backwards) == weighting(LOSSES), "losses go by their names, not by their order"


def test_uncertainty_is_at_rest_where_the_variance_is_the_loss() -> None:
    """exp(-s) L / 2 + s / 2 is least at s = log L, exp(-s) L + s / 2 at s = log 2 L."""
    weighting = UncertaintyWeighting(["signal", "class", "peak"], regression=["signal", "peak"]).double()
    with torch.no_grad():
        weighting.log_variances.copy_(torch.tensor([2.0, 1.0, 3000.0], dtype=torch.float64).log())
    value = weighting(LOSSES)
    value.backward()
    assert weighting.log_variances.grad.tolist() == pytest.approx([0, 0, 0], abs=1e-12)
    assert value.item() == pytest.approx(3 * 0.5 + (math.log(2) + math.log(1) + math.log(3000)) / 2)


def test_slopes_of_losses_and_variances() -> None:
    weighting = UncertaintyWeighting(["a", "b"], regression=["b"]).double()
    with torch.no_grad():
        weighting.log_variances.copy_(torch.tensor([0.3, -1.2]))

    def total(losses: Tensor, log_variances: Tensor) -> Tensor:
        return torch.func.functional_call(
            weighting, {"log_variances": log_variances}, ({"a": losses[0], "b": losses[1]},)
        )

    losses = torch.tensor([0.4, 2.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(total, (losses, weighting.log_variances.detach().clone().requires_grad_()))


def test_under_autocast_nothing_is_rounded() -> None:
    weighting = UncertaintyWeighting(["a", "b"])
    losses = {"a": torch.tensor(1234.567), "b": torch.tensor(1e-4)}
    with torch.autocast("cpu", torch.bfloat16):
        value = weighting(losses)
        summed = weighted_sum(losses, {"a": 1.0, "b": 2.0})
    assert value.dtype == summed.dtype == torch.float32
    assert value.item() == pytest.approx(1234.5671, rel=1e-6)
    assert summed.item() == pytest.approx(1234.5672, rel=1e-6)


def test_what_is_learnt_survives_a_checkpoint() -> None:
    weighting, other = UncertaintyWeighting(["a", "b"]), UncertaintyWeighting(["a", "b"])
    with torch.no_grad():
        weighting.log_variances.copy_(torch.tensor([0.5, -2.0]))
    other.load_state_dict(weighting.state_dict())
    assert list(weighting.state_dict()) == ["log_variances"]
    assert torch.equal(other.weights(), weighting.weights())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: UncertaintyWeighting([]), r"names are \[\]; expected at least one, each once"),
        (lambda: UncertaintyWeighting(["a", "a"]), r"names are \['a', 'a'\]; expected at least one, each once"),
        (lambda: UncertaintyWeighting(["a", "b"], ["c"]), "regression has 'c'; expected some of a, b"),
        (lambda: UncertaintyWeighting(["a"])({"b": number(1)}), "losses are b, but the weighting has a"),
        (lambda: UncertaintyWeighting(["a"])({"a": torch.ones(2)}), r"the loss 'a' has shape \(2,\)"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(wrong: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wrong()
