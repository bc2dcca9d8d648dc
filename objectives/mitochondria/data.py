"""Slices with masks as square patches on the CPU: the user's own files, or a made-up volume without any.

Neighbouring slices show nearly the same, so slices are split into contiguous blocks and patches never are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from objectives.fingerprint import Fingerprint, fingerprint
from objectives.mitochondria.files import SPLIT_LIST, Slices, listed_splits, read_split, splits_in
from objectives.mitochondria.generator import generate
from objectives.splits import SPLITS, TEST_SEED_OFFSET

POOLING = 16  # the networks halve a patch four times


@dataclass(frozen=True)
class Patches:
    """Square patches of slices.

    Attributes:
        images: (n, 1, P, P) uint8.
        masks: (n, 1, P, P) bool.
        slice_of: (n,) int64, the slice each was cut from.
    """

    images: Tensor
    masks: Tensor
    slice_of: Tensor


@dataclass(frozen=True)
class Segmentation:
    """The splits of a study's data.

    Attributes:
        train: The patches that train.
        val: The patches that validate.
        test: The patches of the test, if there are any.
        mean: Of the training patches' grey levels on the scale 0 to 1.
        std: Likewise.
        summary: What there is and what was left out, one line.
        fingerprints: Of "train" and "val".
    """

    train: Patches
    val: Patches
    test: Patches | None
    mean: float
    std: float
    summary: str
    fingerprints: dict[str, Fingerprint]


@lru_cache(maxsize=2)  # once a worker process, not once a trial
def load(
    root: Path | None = None,
    patch_size: int = 256,
    val_fraction: float = 0.2,
    test_fraction: float = 0.0,
    seed: int = 0,
    slices: int = 16,
    height: int = 256,
    width: int = 256,
    mask_threshold: float | None = None,
) -> Segmentation:
    """Return the splits of the user's folder, or of a made-up volume.

    Files of a split of their own (train_images, val_images, test_images) are that split, and so are slices that
    split.csv lists. What they leave open is cut from the training slices: first a block to train on, then one of
    `val_fraction` to validate on, then one of `test_fraction` to test on. Without `root`, a test volume is made up from
    another seed.

    Args:
        root: The folder (its layouts: `objectives.mitochondria.files`); None: slices are made up.
        patch_size: Pixels, a multiple of POOLING.
        val_fraction: See above.
        test_fraction: See above; of made-up slices 0 means as many as validate.
        seed: Of made-up slices.
        slices: How many are made up to train and validate on.
        height: Of made-up slices, pixels.
        width: Likewise.
        mask_threshold: See `files.read_split`.

    Raises:
        ValueError: An argument is out of its range, files are wrong in any way, there are fewer slices than splits, or
            a split has no mitochondria, on which an overlap means nothing.
    """
    _check_patch_size(patch_size)
    _check_fractions(val_fraction, test_fraction)
    if root is None:
        if not val_fraction:
            raise ValueError("val_fraction is 0; expected more for generated slices: trials are compared on validation")
        volume = generate(slices, height, width, seed)
        n_train, n_val, _ = split_counts(slices, val_fraction, 0.0)
        n_test = max(1, round(slices * test_fraction)) if test_fraction else n_val
        test = generate(n_test, height, width, seed + TEST_SEED_OFFSET)
        blocks = {"train": _block(volume, 0, n_train), "val": _block(volume, n_train, slices), "test": test}
        origin, unused = "generated slices", ""
    else:
        blocks, unused = _from_files(root, val_fraction, test_fraction, mask_threshold)
        origin = str(root)

    patches = {split: cut(block, patch_size, f"{origin}, {split}") for split, block in blocks.items()}
    mean, std = _grey_levels(patches["train"].images)
    if not std:
        raise ValueError(f"{origin}: the train patches are of one grey level; expected images with something to see")
    parts = "; ".join(_described(split, blocks[split], patches[split]) for split in patches)
    fingerprints = {
        split: fingerprint(len(patches[split].images), (blocks[split].images, blocks[split].masks))
        for split in ("train", "val")
    }
    return Segmentation(
        patches["train"], patches["val"], patches.get("test"), mean, std, f"{origin}: {parts}{unused}", fingerprints
    )


def load_folder(root: Path, patch_size: int, mask_threshold: float | None = None) -> Patches:
    """Return the patches of a held-out folder: its test split, or else its images and masks of no split.

    Raises:
        ValueError: Files that are wrong in any way, and for a folder that has neither.
    """
    _check_patch_size(patch_size)
    for split in ("test", ""):
        if (held_out := read_split(root, split, mask_threshold)) is not None:
            listed = listed_splits(root, held_out.names) if not split else None
            if listed is not None:
                held_out = held_out.of(listed == "test")
                if not held_out.names:
                    break
            return cut(held_out, patch_size, f"{root}, {split or 'no split'}")
    raise ValueError(
        f"{root} has train or val images only; expected test_images with test_masks, or images with masks: what was "
        "trained on is not held out"
    )


def patches_per_slice(height: int, width: int, patch_size: int) -> int:
    """Return how many aligned patches a slice gives: 768 x 1024 in patches of 256 are 12."""
    return (height // patch_size) * (width // patch_size)


def split_counts(slices: int, val_fraction: float, test_fraction: float) -> tuple[int, int, int]:
    """Return how many slices train, validate and test: at least one each where the fraction is above 0.

    Raises:
        ValueError: Nothing would be left to train on.
    """
    n_val, n_test = (max(1, round(slices * part)) if part else 0 for part in (val_fraction, test_fraction))
    if slices - n_val - n_test < 1:
        raise ValueError(
            f"{slices} slices cannot be split: val_fraction {val_fraction} takes {n_val} and test_fraction "
            f"{test_fraction} takes {n_test}, which leaves none to train on; expected more slices or smaller fractions"
        )
    return slices - n_val - n_test, n_val, n_test


def cut(slices: Slices, patch_size: int, where: str) -> Patches:
    """Return aligned patches from the top left, row by row, slice after slice.

    What is left at the right and at the bottom belongs to none.

    Args:
        slices: The slices.
        patch_size: Pixels.
        where: The beginning of messages.

    Raises:
        ValueError: Slices are smaller than a patch, or no patch has a mitochondrion.
    """
    n, height, width = slices.images.shape
    rows, columns = height // patch_size, width // patch_size
    if not rows or not columns:
        largest = min(height, width) // POOLING * POOLING
        expected = f"patch_size at most {largest}" if largest else f"at least {POOLING} pixels each way"
        raise ValueError(
            f"{where}: slices are {height} x {width} pixels, smaller than a patch of {patch_size} x {patch_size}; "
            f"expected {expected}"
        )

    def tiles(volume: NDArray[Any]) -> Tensor:
        whole = volume[:, : rows * patch_size, : columns * patch_size]
        grid = whole.reshape(n, rows, patch_size, columns, patch_size).transpose(0, 1, 3, 2, 4)
        return torch.from_numpy(np.ascontiguousarray(grid).reshape(-1, 1, patch_size, patch_size))

    images, masks = tiles(slices.images), tiles(slices.masks)
    if not masks.any():
        raise ValueError(
            f"{where}: none of the {len(masks)} patches of {n} slices shows a mitochondrion, so that nothing could be "
            "learnt or measured; expected some in each split (more slices, or other fractions)"
        )
    return Patches(images, masks, slice_of=torch.arange(n).repeat_interleave(rows * columns))


def _from_files(
    root: Path, val_fraction: float, test_fraction: float, mask_threshold: float | None
) -> tuple[dict[str, Slices], str]:
    """Return the slices of each split that there is, and a note on files that are not used."""
    there = splits_in(root)
    if not {"", "train"} & set(there):
        raise ValueError(f"{root} has {' and '.join(there)} images only; expected train_images or images to train on")
    source = "train" if "train" in there else ""
    blocks = {"train": _split_of(root, source, mask_threshold)}
    blocks |= {split: _split_of(root, split, mask_threshold) for split in ("val", "test") if split in there}
    if (listed := listed_splits(root, blocks["train"].names)) is not None:
        if len(there) > 1 or source:
            raise ValueError(f"{root} has {SPLIT_LIST} and files of splits; expected one of them")
        whole = blocks["train"]
        blocks = {split: whole.of(listed == split) for split in SPLITS if (listed == split).any()}
        there = tuple(blocks)
        if "train" not in blocks:
            raise ValueError(f"{root / SPLIT_LIST} has no slice of split train; expected some to train on")
    if "val" not in there and not val_fraction:
        raise ValueError(f"val_fraction is 0 and {root} has no val_images; expected one of them, to compare trials by")

    whole = blocks["train"]
    fractions = [0.0 if split in there else part for split, part in (("val", val_fraction), ("test", test_fraction))]
    n_train, n_val, n_test = split_counts(len(whole.names), *fractions)
    blocks["train"] = _block(whole, 0, n_train)
    if n_val:
        blocks["val"] = _block(whole, n_train, n_train + n_val)
    if n_test:
        blocks["test"] = _block(whole, n_train + n_val, len(whole.names))
    unused = "; images and masks of no split were not used" if source and "" in there else ""
    return {split: blocks[split] for split in ("train", "val", "test") if split in blocks}, unused


def _split_of(root: Path, split: str, mask_threshold: float | None) -> Slices:
    slices = read_split(root, split, mask_threshold)
    if slices is None:
        raise ValueError(f"the {split} images of {root} went away while they were read")
    return slices


def _block(slices: Slices, first: int, end: int) -> Slices:
    return slices.of(np.arange(len(slices.names))[first:end])


def _grey_levels(images: Tensor) -> tuple[float, float]:
    """Return mean and standard deviation of uint8 pixels on the scale 0 to 1, exact: from their 256 counts."""
    counts = np.bincount(images.numpy().ravel(), minlength=256)
    levels = np.arange(256) / 255
    mean = float(counts @ levels / counts.sum())
    return mean, float(np.sqrt(counts @ (levels - mean) ** 2 / counts.sum()))


def _described(split: str, slices: Slices, patches: Patches) -> str:
    n, height, width = slices.images.shape
    size = patches.images.shape[-1]
    empty = int((~patches.masks.flatten(1).any(1)).sum())
    text = (
        f"{split} {n} slice{'s' if n > 1 else ''} of {height} x {width}, "
        f"{len(patches.images):,} patches of {size} x {size}, "
        f"{patches.masks.float().mean():.2%} mitochondria, {empty:,} patches without"
    )
    rows, columns = height % size, width % size
    if rows or columns:
        text += f" (left out of each slice: the last {rows} rows and {columns} columns)"
    return text


def _check_patch_size(patch_size: int) -> None:
    if not isinstance(patch_size, int):
        raise ValueError(f"patch_size is {patch_size!r}; expected a whole number, a multiple of {POOLING}")
    if patch_size < POOLING or patch_size % POOLING:
        near = max(POOLING, round(patch_size / POOLING) * POOLING)
        raise ValueError(
            f"patch_size is {patch_size}; expected a multiple of {POOLING}, since the networks halve a patch four "
            f"times. Did you mean {near}?"
        )


def _check_fractions(val_fraction: float, test_fraction: float) -> None:
    for name, fraction in (("val_fraction", val_fraction), ("test_fraction", test_fraction)):
        if not isinstance(fraction, int | float) or not 0 <= fraction < 1:
            raise ValueError(f"{name} is {fraction!r}; expected a number from 0 to below 1")
    if val_fraction + test_fraction >= 1:
        raise ValueError(
            f"val_fraction {val_fraction} and test_fraction {test_fraction} leave nothing to train on; expected a sum "
            "below 1"
        )
