"""The network: its size, its outputs, what the statics change, and that each head learns from its own loss."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from objectives.abr.models import ARCHITECTURES, ABRNet, Film, build


def count(width: int) -> int:
    """By hand, for a width f: convolutions with biases, normalisations with scale and shift, FiLM, heads."""
    f = width
    w = [f, 2 * f, 4 * f, 8 * f, 16 * f]
    condition = 4 * f

    def block(i: int, o: int) -> int:
        return (3 * i * o + o) + 2 * o + (3 * o * o + o) + 2 * o + (condition * 2 * o + 2 * o)

    down = block(1, w[0]) + sum(block(w[k], w[k + 1]) for k in range(4))
    up = sum(block(w[k] + w[k - 1], w[k - 1]) for k in (4, 3, 2, 1))
    embedding = (4 * condition + condition) + (condition * condition + condition)
    seen, shared, hidden = 32 * f + f + 4 * f + 1, 16 * f, 4 * f
    heads = (seen * shared + shared) + (shared * hidden + hidden) + (hidden * 5 + 5)
    heads += ((shared + 5) * hidden + hidden) + (hidden * 3 + 3)
    heads += ((shared + 5 + hidden) * hidden + hidden) + (hidden + 1)
    return down + up + embedding + 2 * (f + 1) + heads


@pytest.mark.parametrize(("name", "published"), [("small", 1e6), ("full", 80e6)])
def test_the_published_sizes(name: str, published: float) -> None:
    with torch.device("meta"):  # 80 M numbers need not be drawn to be counted
        network = build(name)
    found = sum(parameter.numel() for parameter in network.parameters())
    assert found == count(ARCHITECTURES[name])
    assert found == pytest.approx(published, rel=0.05)


def inputs(n: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, 1, 200, generator=generator), torch.randn(n, 4, generator=generator)


def test_shapes_and_a_gradient_for_every_weight() -> None:
    torch.manual_seed(0)
    network = ABRNet(4)
    for module in network.modules():
        if isinstance(module, Film):  # zero at the start, so that what is before it would get no gradient
            torch.nn.init.normal_(module.linear.weight, std=0.1)
    found = network(*inputs())
    assert {name: tuple(value.shape) for name, value in found.items()} == {
        "signal": (3, 1, 200), "class": (3, 5), "exists": (3,), "latency": (3,), "amplitude": (3,), "threshold": (3,),
    }  # fmt: skip
    sum(value.square().mean() for value in found.values()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), name


@pytest.mark.parametrize(
    ("output", "others"),
    [("signal", ["shared", "classes", "peak", "threshold"]), ("class", ["peak", "threshold"]),
     ("latency", ["threshold"]), ("threshold", [])],
)  # fmt: skip
def test_the_hierarchy(output: str, others: list[str]) -> None:
    """Signal, class, peak, threshold: each head trains what it builds on, and nothing of those after it."""
    torch.manual_seed(0)
    network = ABRNet(4)
    network(*inputs())[output].square().mean().backward()
    for name in ("down", "up"):
        assert any(p.grad is not None and p.grad.any() for p in getattr(network, name).parameters()), name
    heads = ["shared", "classes", "peak", "threshold"]
    for name in heads:
        trained = any(p.grad is not None and p.grad.any() for p in getattr(network, name).parameters())
        assert trained == (name not in others), name


def test_film() -> None:
    layer = Film(2, 3)
    x, condition = torch.ones(1, 2, 5), torch.tensor([[1.0, 2.0, 3.0]])
    assert torch.equal(layer(x, condition), x)
    with torch.no_grad():
        layer.linear.weight[0] = torch.tensor([1.0, 0.0, 0.0])  # gamma of channel 0: 1
        layer.linear.bias[3] = 7.0  # beta of channel 1
    assert layer(x, condition)[0, :, 0].tolist() == [2.0, 8.0]


def test_statics_reach_every_level() -> None:
    torch.manual_seed(0)
    network = ABRNet(4).eval()
    signal, statics = inputs(2)
    blocks = [*network.down, *network.up]
    for block in blocks:
        torch.nn.init.normal_(block.film.linear.weight)
    outputs: list[list[Tensor]] = []
    for given in (statics, statics + 1):
        outputs.append([])
        hooks = [block.register_forward_hook(lambda m, i, o: outputs[-1].append(o)) for block in blocks]
        network(signal, given)
        for hook in hooks:
            hook.remove()
    assert len(outputs[0]) == 9
    assert [tuple(one.shape[1:]) for one in outputs[0]] == [
        (4, 200), (8, 100), (16, 50), (32, 25), (64, 12), (32, 25), (16, 50), (8, 100), (4, 200),
    ]  # fmt: skip
    for one, other in zip(*outputs, strict=True):
        assert not torch.equal(one, other)


def test_the_latency_is_where_the_network_looks() -> None:
    torch.manual_seed(0)
    network = ABRNet(4).eval()
    with torch.no_grad():
        network.peak_out.weight.zero_()
        network.peak_out.bias.zero_()
        network.attention.weight.zero_()
        found = network(*inputs())["latency"]
        # Of equal attention: the mean of 0, 0.05, ..., 9.95 ms.
        torch.testing.assert_close(found, torch.full((3,), 4.975))
        network.peak_out.bias[1] = 0.5
        torch.testing.assert_close(network(*inputs())["latency"], found + 0.5)


def test_an_unknown_architecture_is_refused() -> None:
    with pytest.raises(ValueError, match=r"architecture is 'smal'; expected one of tiny, small, full. .* 'small'\?"):
        build("smal")
