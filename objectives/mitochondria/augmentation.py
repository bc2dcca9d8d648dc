"""Random flips, quarter turns and changes of grey level, for square patches of which no side is up.

Drawn from a generator of one's own, so that an epoch that is trained again sees the same patches."""

from __future__ import annotations

import torch
from torch import Tensor


def augment(
    images: Tensor, masks: Tensor, generator: torch.Generator, flip: bool, brightness: float, contrast: float
) -> tuple[Tensor, Tensor]:
    """images: (n, 1, P, P) float, of mean 0 and standard deviation 1 over the data set. masks: (n, 1, P, P).

    flip: each image and its mask get one of the eight symmetries of the square. brightness: the standard
    deviation of what is added to an image, contrast: the largest part by which it is stretched or
    compressed about its mean (0.2: a factor from 0.8 to 1.2)."""
    n, device = len(images), images.device

    def coin() -> Tensor:
        return (torch.rand(n, generator=generator) < 0.5).view(n, 1, 1, 1).to(device)

    if flip:
        for change in (lambda x: x.flip(-1), lambda x: x.flip(-2), lambda x: x.transpose(-1, -2)):
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
