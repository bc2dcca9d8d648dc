"""Photographs with classes as tensors on the CPU: the user's own files, or made-up ones without any.

All splits are rows of one tensor, since a hundred thousand images are in memory once.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from objectives.fingerprint import Fingerprint, fingerprint
from objectives.glaucoma.files import Photographs, decoded, image_files, read
from objectives.glaucoma.generator import SMALLEST, generate
from objectives.splits import SPLITS, TEST_SEED_OFFSET, assign, check_classes

CLASSES = ("RG", "NRG")


@dataclass(frozen=True)
class Screening:
    """The splits of a study's data, as rows of one tensor.

    Attributes:
        images: (n, 3, S, S) uint8, RGB.
        labels: (n,) float32, 1 for referable glaucoma.
        train: The rows that train, int64.
        val: The rows that validate.
        test: The rows of the test, if there are any.
        mean: (3,) float32, of the training images' colours on the scale 0 to 1.
        std: (3,), likewise.
        patients: (n,), or None where they are not known.
        summary: What there is and what was left out, one line.
        fingerprints: Of "train" and "val".
    """

    images: Tensor
    labels: Tensor
    train: Tensor
    val: Tensor
    test: Tensor | None
    mean: Tensor
    std: Tensor
    patients: NDArray[np.str_] | None
    summary: str
    fingerprints: dict[str, Fingerprint]


@lru_cache(maxsize=2)  # once a worker process, not once a trial
def load(
    root: Path | None = None,
    image_size: int = 64,
    val_fraction: float = 0.2,
    test_fraction: float = 0.0,
    labels: str | None = None,
    columns: tuple[tuple[str, str | None], ...] = (),
    ignore_extra: bool = False,
    seed: int = 0,
    images: int = 2000,
    prevalence: float = 0.03,
) -> Screening:
    """Return the splits of the user's folder, or of made-up photographs.

    A column of splits wins. What it leaves open is cut from its training images, with the same share of both classes,
    and all images of a patient on one side. Without `root`, the test photographs are made up from another seed.

    Args:
        root: The folder (`objectives.glaucoma.files`); None: photographs are made up.
        image_size: Pixels.
        val_fraction: The part of the images that validates.
        test_fraction: The part of the images for a test; of made-up ones 0 means as many as validate.
        labels: See `files.read`.
        columns: See `files.read`; its items.
        ignore_extra: See `files.read`.
        seed: Of the splits and of made-up photographs.
        images: How many are made up to train and validate on.
        prevalence: The share of positives among them.

    Raises:
        ValueError: An argument is out of its range, files are wrong in any way, a patient is in two splits, or a split
            lacks a class.
    """
    _check_image_size(image_size)
    if root is None:
        where = "generated photographs"
        made = generate(images, image_size, prevalence, seed)
        splits = assign(images, val_fraction, 0.0, seed, made.labels, where=where)
        check_classes(_named(made.labels), splits, CLASSES, where)
        n_test = round(images * test_fraction) if test_fraction else int((splits == "val").sum())
        try:
            others = generate(n_test, image_size, prevalence, seed + TEST_SEED_OFFSET)
        except ValueError as error:
            raise ValueError(f"{where} to test on (test_fraction {test_fraction}): {error}") from error
        pixels = np.concatenate([made.images, others.images])
        classes = np.concatenate([made.labels, others.labels])
        splits = np.concatenate([splits, np.full(len(others.labels), "test")])
        ungradable = ignored = 0
        patients = None
    else:
        where = str(root)
        own = read(root, image_size, labels, dict(columns), ignore_extra)
        pixels, classes, ungradable, ignored = own.images, own.labels, own.ungradable, own.ignored
        patients = _patients(own)
        splits = assign(len(classes), val_fraction, test_fraction, seed, classes, own.patients, own.splits, where)
    check_classes(_named(classes), splits, CLASSES, where)

    rows = {split: np.flatnonzero(splits == split) for split in SPLITS}
    mean, std = _colours(pixels, rows["train"])
    parts = [
        _described(split, classes[rows[split]], None if patients is None else patients[rows[split]])
        for split in SPLITS
        if len(rows[split])
    ]
    left_out = [
        f"{count:,} {what}"
        for count, what in ((ungradable, "ungradable, dropped"), (ignored, "without a row in the CSV, left out"))
        if count
    ]
    return Screening(
        images=_as_tensor(pixels),
        labels=torch.from_numpy(classes.astype(np.float32)),
        train=torch.from_numpy(rows["train"]),
        val=torch.from_numpy(rows["val"]),
        test=torch.from_numpy(rows["test"]) if len(rows["test"]) else None,
        mean=mean,
        std=std,
        patients=patients,
        summary=f"{where}, {image_size} x {image_size} pixels: {'; '.join([*parts, *left_out])}",
        fingerprints={split: _fingerprint(pixels, classes, rows[split]) for split in ("train", "val")},
    )


def load_folder(
    root: Path,
    image_size: int,
    labels: str | None = None,
    columns: tuple[tuple[str, str | None], ...] = (),
    ignore_extra: bool = False,
) -> tuple[Tensor, Tensor, NDArray[np.str_] | None]:
    """Return the images, (n, 3, S, S) uint8, labels, (n,) float32, and patients if known, of a held-out folder.

    They are its test split, or all of it where there is no column of splits. `labels` counts only if the folder has a
    CSV of that name.

    Raises:
        ValueError: Files are wrong in any way, or all photographs are of one class.
    """
    _check_image_size(image_size)
    there = labels if labels is not None and (root / labels).is_file() else None
    held_out = read(root, image_size, there, dict(columns), ignore_extra, only="test")
    check_classes(_named(held_out.labels), np.full(len(held_out.labels), "test"), CLASSES, str(root))
    return _as_tensor(held_out.images), torch.from_numpy(held_out.labels.astype(np.float32)), _patients(held_out)


def new_images(root: Path, image_size: int, batch: int) -> Iterator[tuple[list[str], Tensor]]:
    """Return the names and the images, (n, 3, S, S) uint8, of a folder without classes, so many at a time.

    Raises:
        ValueError: There are no images, or one cannot be used.
    """
    _check_image_size(image_size)
    folder, paths = image_files(root)
    for start in range(0, len(paths), batch):
        part = paths[start : start + batch]
        yield [path.relative_to(folder).as_posix() for path in part], _as_tensor(decoded(part, image_size))


def _patients(own: Photographs) -> NDArray[np.str_] | None:
    return None if own.patients is None else np.array(own.patients)


def _named(classes: NDArray[np.bool_]) -> NDArray[np.str_]:
    return np.where(classes, "RG", "NRG")


def _as_tensor(pixels: NDArray[np.uint8]) -> Tensor:
    """Return pixels as (n, 3, S, S), in memory still channels last."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def _colours(pixels: NDArray[np.uint8], rows: NDArray[Any]) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each colour on the scale 0 to 1, exact: from their 256 counts."""
    counts = np.zeros((3, 256))
    for part in np.array_split(rows, max(1, len(rows) // 1024)):
        chosen = pixels[part]
        for colour in range(3):
            counts[colour] += np.bincount(chosen[..., colour].ravel(), minlength=256)
    shares, levels = counts / counts.sum(1, keepdims=True), np.arange(256) / 255
    means = shares @ levels
    deviations = np.sqrt((shares * (levels - means[:, None]) ** 2).sum(1))
    # A colour that is the same everywhere carries nothing, and divided by nothing it would be NaN.
    deviations[deviations == 0] = 1.0
    return torch.tensor(means, dtype=torch.float32), torch.tensor(deviations, dtype=torch.float32)


def _fingerprint(pixels: NDArray[np.uint8], classes: NDArray[np.bool_], rows: NDArray[Any]) -> Fingerprint:
    parts = np.array_split(rows, max(1, len(rows) // 1024))  # never a copy of all images
    return fingerprint(len(rows), itertools.chain((pixels[part] for part in parts), [classes[rows]]))


def _described(split: str, classes: NDArray[np.bool_], patients: NDArray[np.str_] | None) -> str:
    of = "" if patients is None else f" of {len(np.unique(patients)):,} patients"
    return f"{split} {len(classes):,} images{of}, {int(classes.sum()):,} positive ({classes.mean():.2%})"


def _check_image_size(image_size: int) -> None:
    if not isinstance(image_size, int) or isinstance(image_size, bool) or image_size < SMALLEST:
        raise ValueError(f"image_size is {image_size!r}; expected a whole number of pixels, at least {SMALLEST}")
