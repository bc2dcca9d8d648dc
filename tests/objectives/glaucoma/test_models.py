"""The classifiers: parameter counts added up by hand, layers in their order, initialisation, weights of others."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from objectives.glaucoma import models

WIDTH = 8


def basic(f: int) -> int:
    """ResNet-18 without its classifier: convolutions without biases, normalisations with scale and shift."""
    total, inputs = 3 * f * 49 + 2 * f, f
    for width in (f, 2 * f, 4 * f, 8 * f):
        total += 9 * inputs * width + 3 * 9 * width * width + 4 * 2 * width
        if inputs != width:
            total += inputs * width + 2 * width
        inputs = width
    return total


def bottlenecks(f: int) -> int:
    total, inputs = 3 * f * 49 + 2 * f, f
    for width, depth in ((f, 3), (2 * f, 4), (4 * f, 6), (8 * f, 3)):
        for index in range(depth):
            total += inputs * width + 9 * width * width + 4 * width * width + 2 * (width + width + 4 * width)
            if not index:
                total += inputs * 4 * width + 2 * 4 * width
            inputs = 4 * width
    return total


def plain(f: int) -> int:
    return 9 * (3 * f + 2 * f * f + 8 * f * f + 32 * f * f) + 2 * 15 * f


def of_head(features: int, f: int) -> int:
    return features * 8 * f + 2 * 8 * f + 8 * f * 4 * f + 2 * 4 * f + 4 * f + 1


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("width", [8, 64])
def test_parameters_by_hand(width: int) -> None:
    for name, backbone, features in (
        ("cnn", plain(width), 8 * width),
        ("resnet18", basic(width), 8 * width),
        ("resnet50", bottlenecks(width), 32 * width),
    ):
        model = models.build(name, width)
        assert count(model.backbone) == backbone, name
        assert count(model.head) == of_head(features, width), name


def test_the_published_size() -> None:
    """11,689,512 and 25,557,032 with a classifier of 1000 classes."""
    assert basic(64) == 11_689_512 - 513_000
    assert bottlenecks(64) == 25_557_032 - 2_049_000


def test_the_small_stem_has_a_kernel_of_3() -> None:
    small, standard = (models.build("resnet18", 8, stem=stem).backbone for stem in ("small", "standard"))
    assert count(standard) - count(small) == 3 * 8 * (49 - 9)
    images = torch.zeros(1, 3, 32, 32)
    assert small.eval()(images).shape == (1, 64, 4, 4)
    assert standard.eval()(images).shape == (1, 64, 1, 1)


@pytest.mark.parametrize("name", models.ARCHITECTURES)
def test_a_logit_for_every_image_and_a_gradient_for_every_weight(name: str) -> None:
    torch.manual_seed(0)
    model = models.build(name, 4, stem="small")
    logits = model(torch.randn(4, 3, 28, 28))
    assert logits.shape == (4,)
    logits.square().mean().backward()
    for which, parameter in model.named_parameters():
        assert parameter.grad is not None, which
        assert torch.isfinite(parameter.grad).all(), which


@pytest.mark.parametrize(("name", "layers"), [("cnn", 8), ("resnet18", 40), ("resnet50", 106)])
def test_layers_are_in_the_order_of_the_forward_pass(name: str, layers: int) -> None:
    model = models.build(name, 2).eval()
    assert len(model.layers()) == layers
    called: list[nn.Module] = []
    for layer in model.layers():
        layer.register_forward_hook(lambda module, *_: called.append(module))
    model(torch.randn(1, 3, 64, 64))
    assert all(first is second for first, second in zip(called, model.layers(), strict=True))
    assert {id(p) for layer in called for p in layer.parameters()} == {id(p) for p in model.backbone.parameters()}


def test_the_head_is_the_one_described() -> None:
    head = models.build("cnn", 8, dropouts=(0.5, 0.4, 0.1)).head
    kinds = [type(module).__name__ for module in head]
    assert kinds == ["Dropout", "Linear", "BatchNorm1d", "ReLU"] * 2 + ["Dropout", "Linear"]
    assert [module.p for module in head if isinstance(module, nn.Dropout)] == [0.5, 0.4, 0.1]


def test_the_penalty_is_over_the_kernels_of_the_head() -> None:
    model = models.build("cnn", 2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0.5)
    kernels = 16 * 16 + 16 * 8 + 8 * 1
    assert model.penalty().item() == pytest.approx(0.25 * kernels)
    model.penalty().backward()
    assert all(parameter.grad is None for parameter in model.backbone.parameters())


@pytest.mark.parametrize(
    ("how", "conv", "dense"),
    [
        ("he", 2 / (9 * 128), 2 / 512),
        ("glorot", 2 / (9 * 128 + 9 * 256), 2 / (512 + 256)),
    ],
)
def test_initialisation_has_the_published_variance(how: str, conv: float, dense: float) -> None:
    model = models.build("resnet18", 64, initialisation=how, seed=1)
    kernel = model.backbone.layer3[0].conv1.weight  # 128 channels to 256
    assert kernel.var().item() == pytest.approx(conv, rel=0.02)
    assert model.head.dense_2.weight.var().item() == pytest.approx(dense, rel=0.02)
    limit = math.sqrt(3 * conv)
    assert (kernel.abs().max().item() <= limit) == (how == "glorot")
    assert model.head.dense_3.bias.item() == 0


def test_the_seed_alone_decides_the_weights() -> None:
    torch.manual_seed(1)
    first = models.build("resnet18", 4, seed=3).state_dict()
    torch.manual_seed(2)
    again, other = models.build("resnet18", 4, seed=3).state_dict(), models.build("resnet18", 4, seed=4).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["backbone.conv1.weight"], other["backbone.conv1.weight"])


def published(name: str) -> dict[str, torch.Tensor]:
    """A state_dict as it is usual, with a classifier and drawn anew."""
    torch.manual_seed(7)
    state = {key: torch.rand_like(value.float()).to(value.dtype) for key, value in
             models.build(name, WIDTH).backbone.state_dict().items()}  # fmt: skip
    return state | {"fc.weight": torch.rand(1000, 8 * WIDTH), "fc.bias": torch.rand(1000)}


def test_names_and_shapes_are_the_usual_ones() -> None:
    shapes = {name: tuple(value.shape) for name, value in models.build("resnet50").backbone.state_dict().items()}
    assert len(shapes) == 318
    assert shapes["conv1.weight"] == (64, 3, 7, 7)
    assert shapes["bn1.running_mean"] == (64,)
    assert shapes["layer1.0.conv3.weight"] == (256, 64, 1, 1)
    assert shapes["layer2.0.downsample.0.weight"] == (512, 256, 1, 1)
    assert shapes["layer2.0.downsample.1.num_batches_tracked"] == ()
    assert shapes["layer4.2.bn3.bias"] == (2048,)
    shapes = {name: tuple(value.shape) for name, value in models.build("resnet18").backbone.state_dict().items()}
    assert len(shapes) == 120
    assert shapes["layer2.0.downsample.0.weight"] == (128, 64, 1, 1)
    assert shapes["layer4.1.conv2.weight"] == (512, 512, 3, 3)
    assert not any(name.startswith("layer1.0.downsample") for name in shapes)


@pytest.mark.parametrize("batches_counted", [True, False])
def test_weights_of_others_load(tmp_path: Path, batches_counted: bool) -> None:
    state = published("resnet18")
    if not batches_counted:  # as files of before 2018
        state = {name: value for name, value in state.items() if "num_batches" not in name}
    torch.save(state, tmp_path / "resnet18.pth")
    backbone = models.build("resnet18", WIDTH).backbone
    models.load_backbone(backbone, tmp_path / "resnet18.pth")
    loaded = backbone.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in state.items() if not name.startswith("fc."))


def without(name: str) -> Any:
    return lambda state: {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("layer3.1.bn2.weight"), r"they are without layer3.1.bn2.weight; expected"),
        (lambda state: state | {"layer5.0.conv1.weight": torch.zeros(1)}, r"with an unknown layer5.0.conv1.weight;"),
        (
            lambda state: state | {"conv1.weight": torch.zeros(8, 1, 7, 7)},
            r"with another shape of conv1.weight \(8 x 1 x 7 x 7 in place of 8 x 3 x 7 x 7\)",
        ),
        (
            lambda state: {f"module.{name}": value for name, value in state.items()},
            r"without conv1.weight, bn1.weight, bn1.bias and 97 more, with an unknown module.conv1.weight, .* more",
        ),
        (lambda state: {"epoch": 3, "state_dict": state}, r"are not a state_dict; expected a mapping of names"),
        (lambda state: [1, 2], r"are not a state_dict"),
    ],
)
def test_weights_that_do_not_fit(tmp_path: Path, change: Any, message: str) -> None:
    torch.save(change(published("resnet18")), tmp_path / "other.pth")
    with pytest.raises(ValueError, match=rf"the weights \S+other.pth .*{message}"):
        models.load_backbone(models.build("resnet18", WIDTH).backbone, tmp_path / "other.pth")


class Anything:
    """An object that only an unsafe load would build."""


def test_files_that_are_no_weights(tmp_path: Path) -> None:
    backbone = models.build("cnn", 2).backbone
    with pytest.raises(ValueError, match=r"weights \S+none.pth do not exist; expected a file with a state_dict"):
        models.load_backbone(backbone, tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("hello")
    (tmp_path / "object.pth").write_bytes(pickle.dumps(Anything()))
    torch.save(published("resnet18"), tmp_path / "short.pth")
    (tmp_path / "short.pth").write_bytes((tmp_path / "short.pth").read_bytes()[:1000])
    for name in ("text", "object", "short"):
        with pytest.raises(ValueError, match=rf"weights \S+{name}.pth cannot be read \(.*\); expected a state_dict"):
            models.load_backbone(backbone, tmp_path / f"{name}.pth")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"architecture": "resnet34"}, "architecture is 'resnet34'; expected one of cnn, resnet18, resnet50"),
        ({"initialisation": "xavier"}, "initialisation is 'xavier'; expected one of he, glorot"),
        ({"stem": "tiny"}, "stem is 'tiny'; expected one of small, standard"),
        ({"base_width": 0}, "base_width is 0; expected a whole number of at least 1"),
        ({"dropouts": (0.1, 1.0, 0.1)}, "dropout_2 is 1.0; expected a number from 0 to below 1"),
    ],
)
def test_arguments_out_of_range(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        models.build(**{"architecture": "cnn", **arguments})
