"""Random rotations, shifts, brightness and mirroring of photographs.

Drawn from a generator of one's own, so that an epoch that is trained again sees the same images.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def augment(
    images: Tensor, generator: torch.Generator, rotation: float, shift: float, brightness: float, flip: bool
) -> Tensor:
    """Return changed images, (n, c, S, S) from 0 to 1. What comes in from outside repeats the border.

    Args:
        images: (n, c, S, S) float from 0 to 1.
        generator: The source of all draws.
        rotation: The largest angle, in degrees, either way.
        shift: The largest way up, down and sideways, as a part of the side.
        brightness: The largest part by which an image becomes darker or brighter (0.3: a factor from 0.7 to 1.3).
        flip: Mirror half of the images, left to right.
    """
    n = len(images)

    def uniform(limit: float) -> Tensor:
        return limit * (2 * torch.rand(n, generator=generator) - 1)

    # All are drawn whatever is asked, so that one setting does not change the draws of another.
    angles, down, right = uniform(math.radians(rotation)), uniform(shift), uniform(shift)
    factors, mirrored = 1 + uniform(brightness), torch.rand(n, generator=generator) < 0.5
    if rotation or shift or flip:
        images = warp(images, angles, down, right, mirrored & flip)
    if brightness:
        images = (images * factors.view(n, 1, 1, 1).to(images.device)).clamp(0, 1)
    return images


def warp(images: Tensor, angles: Tensor, down: Tensor, right: Tensor, mirrored: Tensor) -> Tensor:
    """Mirror, turn and shift images, (n, c, S, S), by bilinear interpolation.

    Args:
        images: The images.
        angles: (n,) on the CPU, radians, anticlockwise.
        down: (n,) on the CPU, parts of the side.
        right: (n,) on the CPU, parts of the side.
        mirrored: (n,) bool on the CPU, mirrored left to right before all else.
    """
    cos, sin, sign = angles.cos(), angles.sin(), torch.where(mirrored, -1.0, 1.0)
    # Where a pixel of the result comes from, in coordinates (x, y) from -1 to 1, y downwards: undone from the last.
    x, y = -2 * right, -2 * down
    rows = [sign * cos, sign * -sin, sign * (cos * x - sin * y), sin, cos, sin * x + cos * y]
    theta = torch.stack(rows, dim=1).view(-1, 2, 3).to(images)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
