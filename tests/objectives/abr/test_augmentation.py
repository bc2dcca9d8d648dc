"""What augmentation may change, and what it must not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from objectives.abr.augmentation import augment


def draws(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(n: int = 400) -> dict[str, Tensor]:
    ramp = torch.arange(200.0).repeat(n, 1, 1)
    return {"signal": ramp, "target": ramp + 1000, "latency": torch.full((n,), 5.0), "label": torch.arange(n)}


def test_a_shift_moves_signal_target_and_latency_together() -> None:
    changed = augment(batch(), draws(0), 0.0, 2)
    # Sample k of a ramp moved by d samples is k - d, held at both ends; 0.05 ms a sample.
    by = 100 - changed["signal"][:, 0, 100]
    assert set(by.tolist()) == {-2.0, -1.0, 0.0, 1.0, 2.0}
    torch.testing.assert_close(changed["latency"], 5.0 + 0.05 * by)
    assert torch.equal(changed["target"], changed["signal"] + 1000)
    ends = changed["signal"][by == 2][0, 0]
    assert ends[:4].tolist() == [0, 0, 0, 1]
    assert changed["signal"][by == -2][0, 0, -4:].tolist() == [198, 199, 199, 199]
    assert torch.equal(changed["label"], torch.arange(400))


def test_noise_is_added_to_the_signal_alone() -> None:
    given = batch()
    changed = augment(given, draws(0), 0.3, 0)
    added = changed["signal"] - given["signal"]
    assert added.std().item() == pytest.approx(0.3, rel=0.02)
    assert torch.equal(changed["target"], given["target"])
    assert torch.equal(changed["latency"], given["latency"])


def test_nothing_is_drawn_where_nothing_is_asked_and_the_same_draws_give_the_same() -> None:
    given = batch(5)
    assert all(torch.equal(given[name], one) for name, one in augment(given, draws(0), 0.0, 0).items())
    first, again, other = (augment(given, draws(seed), 0.1, 1)["signal"] for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise": -0.1, "shift": 0}, r"augmentation.noise is -0.1; expected a number from 0"),
        ({"noise": 0.0, "shift": 0.5}, r"augmentation.shift is 0.5; expected a whole number of samples from 0"),
        ({"noise": 0.0, "shift": -1}, r"augmentation.shift is -1; expected a whole number"),
    ],
)
def test_arguments_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        augment(batch(2), draws(0), **options)
