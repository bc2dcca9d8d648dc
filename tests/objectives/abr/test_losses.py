"""The components by hand, masks, units, weights."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor

from objectives.abr.losses import (
    TASKS,
    class_weights_of,
    components,
    total,
    uncertainty_of,
    unit_of,
    weights_of,
)

EVEN = {"weighting": "simplex", "loss_weights": dict.fromkeys(TASKS, 0.25)}


def found(n: int = 2) -> dict[str, Tensor]:
    return {"signal": torch.zeros(n, 1, 200), "class": torch.zeros(n, 5), "exists": torch.zeros(n),
            "latency": torch.full((n,), 5.0), "amplitude": torch.zeros(n), "threshold": torch.zeros(n)}  # fmt: skip


def targets(n: int = 2) -> dict[str, Tensor]:
    return {"target": torch.full((n, 1, 200), 2.0), "label": torch.tensor([0, 3])[:n], "exists": torch.tensor([True,
            False])[:n], "latency": torch.tensor([5.5, 0.0])[:n], "amplitude": torch.tensor([0.4, 9.9])[:n],
            "threshold": torch.tensor([10.0, 100.0])[:n]}  # fmt: skip


def values(parts: dict[str, Tensor]) -> dict[str, float]:
    assert all(part.ndim == 0 for part in parts.values())
    return {name: part.item() for name, part in parts.items()}


def test_components_by_hand() -> None:
    parts = values(components(found(), targets(), 1.0, torch.ones(5)))
    assert parts == pytest.approx({
        "signal": 4.0,
        "class": math.log(5),
        "peak_existence": math.log(2),
        "peak_latency": 0.25,  # of the one record with a peak: 0.5^2
        "peak_amplitude": 0.16,  # 0.4^2, and nothing of 9.9
        "peak": math.log(2) + 0.25 + 0.16,
        "threshold": (100 + 10_000) / 2,
    })  # fmt: skip


def test_raw_scales_differ_by_four_orders_of_magnitude() -> None:
    parts = values(components(found(), targets(), 1.0, torch.ones(5)))
    assert parts["threshold"] / parts["peak_amplitude"] > 1e4


def test_nanovolts() -> None:
    in_nanovolts = found() | {"amplitude": torch.tensor([100.0, 0.0])}
    parts = values(components(in_nanovolts, targets(), 1000.0, torch.ones(5)))
    assert parts["peak_amplitude"] == pytest.approx(300.0**2)
    with pytest.raises(ValueError, match="amplitude_unit is 'mV'; expected uV or nV"):
        unit_of("mV")
    assert (unit_of("uV"), unit_of("nV")) == (1.0, 1000.0)


def test_without_a_peak_there_is_nothing_to_regress_and_no_gradient() -> None:
    silent = targets() | {"exists": torch.zeros(2, dtype=torch.bool)}
    outputs = {name: value.requires_grad_() for name, value in found().items()}
    parts = components(outputs, silent, 1.0, torch.ones(5))
    assert parts["peak_latency"].item() == parts["peak_amplitude"].item() == 0.0
    parts["peak"].backward()
    assert outputs["latency"].grad is not None
    assert not outputs["latency"].grad.any()
    assert outputs["exists"].grad is not None
    assert outputs["exists"].grad.all()


def test_half_precision_outputs_are_scored_in_single_precision() -> None:
    half = {name: value.bfloat16() for name, value in found().items()}
    assert all(part.dtype == torch.float32 for part in components(half, targets(), 1.0, torch.ones(5)).values())


def test_class_weights() -> None:
    labels = torch.tensor([0] * 80 + [1] * 1 + [2] * 10 + [3] * 4 + [4] * 5)
    balanced = class_weights_of("balanced", labels, 5)
    expected = compute_class_weight("balanced", classes=np.arange(5), y=labels.numpy())
    np.testing.assert_allclose(balanced.numpy(), expected, rtol=1e-6)
    root = class_weights_of("root", labels, 5)
    assert (root[1] / root[0]).item() == pytest.approx(math.sqrt(80))
    for weights in (balanced, root, class_weights_of("none", labels, 5)):
        assert weights[labels].mean().item() == pytest.approx(1.0)
    assert class_weights_of("none", labels, 5).tolist() == pytest.approx([1.0] * 5)
    with pytest.raises(ValueError, match=r"class_weights is 'balance'; expected one of none, .* mean 'balanced'\?"):
        class_weights_of("balance", labels, 5)


def test_a_class_weighs_by_its_weight() -> None:
    weights = torch.tensor([2.0, 1, 1, 6, 1])
    parts = values(components(found(), targets(), 1.0, weights))
    assert parts["class"] == pytest.approx(4 * math.log(5))  # (2 + 6) / 2 records


def test_totals() -> None:
    parts = components(found(), targets(), 1.0, torch.ones(5))
    simplex = {"weighting": "simplex", "loss_weights": {"signal": 0.5, "class": 0.0, "peak": 0.0, "threshold": 0.5}}
    assert total(parts, simplex, None).item() == pytest.approx(0.5 * 4 + 0.5 * 5050)
    each: dict[str, Any] = {"weighting": "log_uniform", "weight_signal": 10.0}
    each |= {f"weight_{name}": 0.0 for name in TASKS[1:]}
    assert total(parts, each, None).item() == pytest.approx(40.0)
    with pytest.raises(ValueError, match="weighting is 'equal'; expected simplex, log_uniform, uncertainty"):
        weights_of({"weighting": "equal"})


def test_learned_weights() -> None:
    """Kendall et al.: a squared error L adds L / (2 sigma^2) + log sigma, a cross-entropy L / sigma^2 + log sigma."""
    assert uncertainty_of(EVEN) is None
    criterion = uncertainty_of({"weighting": "uncertainty"})
    assert criterion is not None
    parts = components(found(), targets(), 1.0, torch.ones(5))
    expected = sum((1.0 if name == "class" else 0.5) * parts[name].item() for name in TASKS)
    assert total(parts, {"weighting": "uncertainty"}, criterion).item() == pytest.approx(expected)
