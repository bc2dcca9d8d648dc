"""Whole slices as patches of the size that a network was trained on, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Places = list[tuple[int, int]]


def tiled(image: NDArray[np.uint8], size: int) -> tuple[Tensor, Places]:
    """Return patches that cover a slice, and the upper left corner of each.

    The last ones of a row or column overlap those before. A slice that is smaller than a patch is mirrored at its
    lower and right edges.

    Args:
        image: (H, W).
        size: Pixels of a patch.

    Returns:
        (n, 1, size, size) uint8, and n corners.
    """
    height, width = image.shape
    padded = np.pad(image, ((0, max(0, size - height)), (0, max(0, size - width))), mode="symmetric")
    places = [(top, left) for top in _starts(height, size) for left in _starts(width, size)]
    tiles = np.stack([padded[top : top + size, left : left + size] for top, left in places])
    return torch.from_numpy(tiles)[:, None], places


def joined(tiles: Tensor, places: Places, shape: Sequence[int]) -> NDArray[Any]:
    """Return the slice, (H, W), that `tiles`, (n, size, size), are of; where they overlap the later one counts."""
    height, width = shape
    whole = np.empty((height, width), tiles.numpy().dtype)
    for tile, (top, left) in zip(tiles.numpy(), places, strict=True):
        place = whole[top : top + tile.shape[0], left : left + tile.shape[1]]
        place[:] = tile[: place.shape[0], : place.shape[1]]
    return whole


def _starts(length: int, size: int) -> list[int]:
    return sorted({*range(0, length - size + 1, size), max(0, length - size)})
