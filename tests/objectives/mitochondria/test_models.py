"""The three U-Nets: parameter counts added up by hand, shapes, and what a gate does."""

from __future__ import annotations

import itertools

import pytest
import torch

from objectives.mitochondria import models


def block(i: int, o: int) -> int:
    """Two 3x3 convolutions with biases, two normalisations with scale and shift."""
    return (9 * i * o + o) + (9 * o * o + o) + 2 * 2 * o


def plain(f: int) -> int:
    w = [f, 2 * f, 4 * f, 8 * f, 16 * f]
    down = block(1, w[0]) + sum(block(w[k], w[k + 1]) for k in range(4))
    up = sum(block(w[k] + w[k - 1], w[k - 1]) for k in (4, 3, 2, 1))
    return down + up + (f + 1)


def gates(f: int) -> int:
    total = 0
    for c in (f, 2 * f, 4 * f, 8 * f):  # the skip's channels; twice as many come from below
        signal = 2 * c * c + c + 2 * c
        joined = (4 * c * c + c) + (c * c + c) + (9 * c * c + c)
        total += signal + joined + (c + 1) + (c * c + c + 2 * c)
    return total


def shortcuts(f: int) -> int:
    w = [f, 2 * f, 4 * f, 8 * f, 16 * f]
    pairs = [(1, w[0]), *itertools.pairwise(w), *((w[k] + w[k - 1], w[k - 1]) for k in (4, 3, 2, 1))]
    return sum(i * o + o + 2 * o for i, o in pairs)


@pytest.mark.parametrize("width", [8, 64])
def test_parameters_by_hand(width: int) -> None:
    expected = {
        "unet": plain(width),
        "attention_unet": plain(width) + gates(width),
        "attention_resunet": plain(width) + gates(width) + shortcuts(width),
    }
    for name, count in expected.items():
        assert sum(p.numel() for p in models.build(name, width).parameters()) == count


@pytest.mark.parametrize(
    ("name", "published"), [("unet", 31.4e6), ("attention_unet", 37.3e6), ("attention_resunet", 39.1e6)]
)
def test_the_published_size(name: str, published: float) -> None:
    """Keras counts the running means and variances among the parameters."""
    network = models.build(name)
    running = sum(buffer.numel() for buffer in network.buffers() if buffer.ndim)
    assert sum(p.numel() for p in network.parameters()) + running == pytest.approx(published, abs=0.05e6)


@pytest.mark.parametrize("name", list(models.ARCHITECTURES))
def test_a_logit_for_every_pixel_and_a_gradient_for_every_weight(name: str) -> None:
    torch.manual_seed(0)
    network = models.build(name, 4)
    logits = network(torch.randn(2, 1, 32, 48))
    assert logits.shape == (2, 1, 32, 48)
    logits.square().mean().backward()
    for which, parameter in network.named_parameters():
        assert parameter.grad is not None, which
        assert torch.isfinite(parameter.grad).all(), which


@pytest.mark.parametrize("name", list(models.ARCHITECTURES))
def test_the_memory_format_changes_nothing_but_the_order_of_sums(name: str) -> None:
    torch.manual_seed(0)
    network = models.build(name, 4).double().eval()
    x = torch.randn(1, 1, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        rows = network(x)
        channels_last = network.to(memory_format=torch.channels_last)(x)
    torch.testing.assert_close(rows, channels_last)


def test_a_gate_multiplies_the_skip_by_a_factor_between_0_and_1() -> None:
    """With a closed psi nothing of the skip is left; with an open one all of it."""
    torch.manual_seed(0)
    gate = models.AttentionGate(skip=6, below=12).eval()
    skip, below = torch.randn(1, 6, 8, 8), torch.randn(1, 12, 4, 4)
    with torch.no_grad():
        gate.psi.weight.zero_()
        results = {}
        for bias in (-100.0, 0.0, 100.0):
            gate.psi.bias.fill_(bias)
            results[bias] = gate(skip, below)
        torch.testing.assert_close(results[-100.0], gate.out(torch.zeros_like(skip)))
        torch.testing.assert_close(results[0.0], gate.out(skip / 2))
        torch.testing.assert_close(results[100.0], gate.out(skip))


def test_an_unknown_architecture_is_refused() -> None:
    with pytest.raises(ValueError, match="architecture is 'unet3d'; expected one of unet, attention_unet"):
        models.build("unet3d")
