"""Random flips, quarter turns and changes of grey level, for square patches of which no side is up.

Drawn from a generator of one's own, so that an epoch that is trained again sees the same patches.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def augment(
    images: Tensor, masks: Tensor, generator: torch.Generator, flip: bool, brightness: float, contrast: float
) -> tuple[Tensor, Tensor]:
    """Return changed images and their masks.

    Args:
        images: (n, 1, P, P) float, of mean 0 and standard deviation 1 over the data set.
        masks: (n, 1, P, P).
        generator: The source of all draws.
        flip: Give each image and its mask one of the eight symmetries of the square.
        brightness: The standard deviation of what is added to an image.
        contrast: The largest part by which an image is stretched or compressed about its mean (0.2: a factor from 0.8
            to 1.2).
    """
    n, device = len(images), images.device

    def coin() -> Tensor:
        return (torch.rand(n, generator=generator) < 0.5).view(n, 1, 1, 1).to(device)

    if flip:
        changes: tuple[Callable[[Tensor], Tensor], ...] = (
            lambda x: x.flip(-1),
            lambda x: x.flip(-2),
            lambda x: x.transpose(-1, -2),
        )
        for change in changes:
            chosen = coin()
            images = torch.where(chosen, change(images), images)
            masks = torch.where(chosen, change(masks), masks)
    if contrast:
        factors = 1 + contrast * (2 * torch.rand(n, generator=generator) - 1)
        means = images.mean((1, 2, 3), keepdim=True)
        images = means + (images - means) * factors.view(n, 1, 1, 1).to(device)
    if brightness:
        images = images + brightness * torch.randn(n, generator=generator).view(n, 1, 1, 1).to(device)
    return images, masks
