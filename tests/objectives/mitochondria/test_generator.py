"""The made-up volume: the same for the same seed, sparse, continuous from slice to slice, not solved by a threshold."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from objectives.mitochondria.files import Slices
from objectives.mitochondria.generator import generate

SEEDS = range(4)

volume: Callable[[int], Slices] = cache(lambda seed: generate(8, 256, 256, seed))


def test_shapes_types_and_names() -> None:
    slices = generate(3, 64, 96, 0)
    assert slices.images.shape == slices.masks.shape == (3, 64, 96)
    assert slices.images.dtype == np.uint8
    assert slices.masks.dtype == bool
    assert slices.names == ("generated slice 1", "generated slice 2", "generated slice 3")


def test_the_seed_decides_every_byte() -> None:
    first, again, other = generate(2, 128, 128, 5), generate(2, 128, 128, 5), generate(2, 128, 128, 6)
    assert first.images.tobytes() == again.images.tobytes()
    assert first.masks.tobytes() == again.masks.tobytes()
    assert first.images.tobytes() != other.images.tobytes()
    assert first.masks.tobytes() != other.masks.tobytes()


@pytest.mark.parametrize("seed", SEEDS)
def test_mitochondria_are_few_and_in_every_slice(seed: int) -> None:
    masks = volume(seed).masks
    assert 0.04 <= masks.mean() <= 0.09
    assert masks.any(axis=(1, 2)).all()


def test_some_tiles_have_none() -> None:
    tiles = np.concatenate([volume(seed).masks.reshape(8, 2, 128, 2, 128).any(axis=(2, 4)).ravel() for seed in SEEDS])
    assert 0.03 <= 1 - tiles.mean() <= 0.5


@pytest.mark.parametrize("seed", SEEDS)
def test_mitochondria_run_through_several_slices_and_end(seed: int) -> None:
    masks = volume(seed).masks
    overlap = (masks[1:] & masks[:-1]).sum() / (masks[1:] | masks[:-1]).sum()
    assert 0.4 <= overlap <= 0.95  # neighbours are near-copies: which is why a split is by blocks of slices
    labels, count = ndimage.label(masks)
    depths = [part[0].stop - part[0].start for part in ndimage.find_objects(labels)]
    assert count >= 3
    assert max(depths) >= 4
    assert min(depths) < 8


def best_threshold_jaccard(images: NDArray[Any], masks: NDArray[Any]) -> float:
    """The best of all thresholds, with the dark or the light side as foreground."""
    positives = np.bincount(images[masks], minlength=256).cumsum()
    everything = np.bincount(images.ravel(), minlength=256).cumsum()
    below = positives / (masks.sum() + everything - positives)
    above = (masks.sum() - positives) / (masks.sum() + (images.size - everything) - (masks.sum() - positives))
    return float(max(below.max(), above.max()))


def test_the_measure_of_thresholds_finds_a_separable_image() -> None:
    masks = volume(0).masks
    assert best_threshold_jaccard(np.where(masks, 50, 90).astype(np.uint8), masks) == 1.0
    assert best_threshold_jaccard(np.where(masks, 90, 50).astype(np.uint8), masks) == 1.0


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("blur", [0, 2, 5], ids="blur {}".format)
def test_no_threshold_finds_them(seed: int, blur: float) -> None:
    images = ndimage.gaussian_filter(volume(seed).images, (0, blur, blur))  # noise is not what hides them
    assert best_threshold_jaccard(images, volume(seed).masks) < 0.45


@pytest.mark.parametrize("seed", SEEDS)
def test_grey_levels_are_those_of_a_micrograph(seed: int) -> None:
    images = volume(seed).images
    assert 90 < images.mean() < 150
    assert 35 < images.std() < 70
    assert (images == 0).mean() + (images == 255).mean() < 0.08  # little is lost at the ends of the scale
    assert np.ptp(images.mean(axis=(1, 2))) > 2  # slices differ in brightness


@pytest.mark.parametrize("shape", [(1, 32, 32), (2, 32, 200), (5, 48, 32)])
def test_the_smallest_volumes(shape: tuple[int, int, int]) -> None:
    slices = generate(*shape, seed=0)
    assert slices.images.shape == shape
    assert slices.masks.any()
    assert not slices.masks.all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 64, 64, 0), "slices is 0; expected a whole number of at least 1"),
        ((1, 31, 64, 0), "height is 31; expected a whole number of at least 32"),
        ((1, 64, -5, 0), "width is -5; expected a whole number of at least 32"),
        ((1, 64, 64.0, 0), "width is 64.0; expected a whole number of at least 32"),
        ((1, 64, 64, -1), "seed is -1; expected a whole number of at least 0"),
        (("16", 64, 64, 0), "slices is '16'; expected a whole number of at least 1"),
    ],
)
def test_arguments_out_of_range(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        generate(*arguments)
