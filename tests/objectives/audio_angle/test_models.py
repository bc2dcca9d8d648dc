"""Shapes, parameters counted by hand, and how the weights begin."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from objectives.audio_angle.models import ARCHITECTURES, build


def block(inputs: int, outputs: int, shortcut: bool) -> int:
    """Parameters of two 3x3 convolutions without bias, of their normalisation, and of a normalised 1x1 one."""
    return 9 * inputs * outputs + 9 * outputs * outputs + 4 * outputs + shortcut * (inputs * outputs + 2 * outputs)


def counted(width: int, blocks: int) -> int:
    total = 25 * width + 2 * width + 8 * 4 * width  # stem of 5x5, head over eight bands
    total += blocks * block(width, width, False)
    for outputs in (2 * width, 4 * width):
        total += block(outputs // 2, outputs, True) + (blocks - 1) * block(outputs, outputs, False)
    return total


@pytest.mark.parametrize(
    ("architecture", "width", "parameters"),
    [
        ("resnet_small", 16, 77_872),
        ("resnet_deep", 16, 272_304),
        ("resnet_wide", 16, 308_320),
        ("resnet_small", 8, 19_864),
    ],
)
def test_parameters(architecture: str, width: int, parameters: int) -> None:
    model = build(architecture, width)
    blocks, times = ARCHITECTURES[architecture]
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters == counted(width * times, blocks)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("shape", [(1025, 32), (64, 26), (33, 7), (9, 1)])
def test_one_score_a_clip_of_any_size(architecture: str, shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = build(architecture, 4).eval()
    clips = torch.randn(3, 1, *shape)
    scores = model(clips)
    assert scores.shape == (3,)
    assert len(scores.unique()) == 3
    torch.testing.assert_close(scores[1:2], model(clips[1:2]))


def test_convolutions_begin_as_he_et_al_say() -> None:
    torch.manual_seed(0)
    for module in build("resnet_small", 32).modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] * module.kernel_size[1]
            assert module.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.1)


def test_where_in_the_spectrum_matters() -> None:
    """A notch that moves changes the score: frequencies are not averaged away."""
    torch.manual_seed(0)
    model = build("resnet_small", 8).eval()
    low, high = torch.zeros(1, 1, 64, 32), torch.zeros(1, 1, 64, 32)
    low[:, :, 16:20], high[:, :, 40:44] = 1, 1
    assert (model(low) - model(high)).abs() > 1e-3


def test_a_name_that_is_none() -> None:
    with pytest.raises(ValueError, match="architecture is 'resnet'; expected one of resnet_small, resnet_deep, resnet"):
        build("resnet")
