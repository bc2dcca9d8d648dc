"""Slices and masks from the user's own files, as arrays; every way they can be wrong has a sentence.

In the folder, for a split "" (none), "train", "val" or "test":

    images.tif  + masks.tif         two stacks with as many pages; also .tiff
    images/     + masks/            a PNG or TIF a slice; a mask is named like its image, or with _mask after it
    train_images.tif + train_masks.tif, train_images/ + train_masks/     the same, of a split
    train/images.tif + train/masks.tif, train/images/ + train/masks/     the same, of a split
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tifffile import TiffFile

from objectives.wording import first_line, holds, meant

SPLITS = ("", "train", "val", "test")
STACKS = (".tif", ".tiff")
SINGLE = (".png", *STACKS)
LAYOUTS = (
    "images.tif with masks.tif, or a folder images with a folder masks, alone or for each of train, val and test "
    "(train_images.tif, train_images or train/images)"
)
MASK_SUFFIXES = ("", "_mask", "-mask")
LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601


@dataclass(frozen=True)
class Slices:
    """images: (n, H, W) uint8. masks: (n, H, W) bool, True = mitochondrion. names: what to call each slice."""

    images: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    names: tuple[str, ...]


@dataclass(frozen=True)
class Raw:
    """at: the stack or the folder. pixels: (n, H, W), of any kind of number. names: what to call each slice."""

    at: Path
    pixels: NDArray[Any]
    names: tuple[str, ...]


def splits_in(root: Path) -> tuple[str, ...]:
    """Those of "", "train", "val" and "test" that `root` holds images or masks of.

    Raises ValueError when there is no such folder or it holds none of the layouts."""
    if not root.is_dir():
        beside = [path.name for path in root.parent.iterdir() if path.is_dir()] if root.parent.is_dir() else []
        problem = "is a file" if root.exists() else "does not exist"
        raise ValueError(f"{root} {problem}; expected a folder with images and masks.{meant(root.name, beside)}")
    found = tuple(split for split in SPLITS if _sources(root, split, "images") or _sources(root, split, "masks"))
    if not found:
        held = _names(root)
        raise ValueError(f"{root} {holds(held)}; expected {LAYOUTS}.{_layout_meant(root, held)}")
    return found


def read_split(root: Path, split: str, mask_threshold: float | None = None) -> Slices | None:
    """The slices of a split in the order of their pages, or of their names with numbers as numbers; None if `root`
    holds other splits only.

    Images of 16 bits or floats are scaled from the least and largest value of the split to 0 and 255; colours become
    luminance. Masks have two values, the larger one a mitochondrion; with `mask_threshold` they may have any, and
    what is above that fraction of the largest is one. Raises ValueError for whatever is wrong with the files."""
    if mask_threshold is not None and not (isinstance(mask_threshold, int | float) and 0 <= mask_threshold < 1):
        raise ValueError(f"mask_threshold is {mask_threshold!r}; expected a number from 0 to below 1, or none")
    if split not in splits_in(root):
        return None
    images_at, masks_at = _source(root, split, "images", "masks"), _source(root, split, "masks", "images")
    if images_at.is_dir() != masks_at.is_dir():
        stack, folder = (masks_at, images_at) if images_at.is_dir() else (images_at, masks_at)
        raise ValueError(f"{stack} is a stack and {folder} a folder; expected two stacks or two folders")
    if images_at.is_dir():
        pairs = _paired(_singles(images_at), _singles(masks_at), images_at, masks_at)
        images = _read_singles([image for image, _ in pairs], colour=True)
        masks = _read_singles([mask for _, mask in pairs], colour=False)
    else:
        images, masks = _read_stack(images_at, colour=True), _read_stack(masks_at, colour=False)
        if len(images.names) != len(masks.names):
            raise ValueError(
                f"{images_at} has {len(images.names)} pages and {masks_at} {len(masks.names)}; "
                "expected a mask for each image"
            )
    if images.pixels.shape != masks.pixels.shape:
        raise ValueError(
            f"{images_at} has slices of {_size(images.pixels[0])} and {masks_at} of {_size(masks.pixels[0])} "
            f"pixels ({images.names[0]} and {masks.names[0]}); expected the same size"
        )
    _check_finite(images)
    _check_finite(masks)
    if len(_some_values(images.pixels)) <= 2 < len(_some_values(masks.pixels)):
        raise ValueError(
            f"{images_at} has two values and {masks_at} more: they look swapped; expected grey images and masks of two "
            "values"
        )
    return Slices(_as_bytes(images), _as_mask(masks, mask_threshold), images.names)


def _layout_meant(root: Path, held: Sequence[str]) -> str:
    """Which folder or name of a folder without a layout may be the one that was meant."""
    for name in held:
        if any(_sources(root / name, split, "images") for split in SPLITS):
            return f" Did you mean its folder '{name}'?"
    expected = [f"{split}{role}{end}" for split in ("", "train_", "val_", "test_") for role in ("images", "masks")
                for end in (".tif", "")]  # fmt: skip
    for name in held:
        if match := difflib.get_close_matches(name.lower(), expected, n=1, cutoff=0.75):
            return f" Should '{name}' be '{match[0]}'?"
    return ""


def _sources(root: Path, split: str, role: str) -> list[Path]:
    """Where the images or masks of a split may be: normally one place."""
    places = [(root, f"{split}_{role}"), (root / split, role)] if split else [(root, role)]
    return [
        entry
        for folder, name in places
        if folder.is_dir()
        for entry in sorted(folder.iterdir())
        if (entry.name == name and entry.is_dir())
        or (entry.stem == name and entry.suffix.lower() in STACKS and entry.is_file())
    ]


def _source(root: Path, split: str, role: str, other: str) -> Path:
    """The one place of a split's images or masks, of which the `other` was found or this was."""
    found = _sources(root, split, role)
    if len(found) > 1:
        raise ValueError(f"{found[0]} and {found[1]} are both there; expected one of them")
    if found:
        return found[0]
    beside = _sources(root, split, other)[0]
    wanted = beside.with_name(beside.name.replace(other, role))
    raise ValueError(
        f"{beside} is there, but no {wanted.name} beside it; expected both, with a mask for each image."
        f"{meant(wanted.name, set(_names(beside.parent)) - {beside.name})}"
    )


def _singles(folder: Path) -> list[Path]:
    files = [path for path in folder.iterdir() if path.suffix.lower() in SINGLE and not path.name.startswith(".")]
    if not files:
        raise ValueError(f"{folder} {holds(_names(folder))}; expected a PNG or TIF a slice")
    stems = Counter(path.stem for path in files)
    if twice := [stem for stem, count in stems.items() if count > 1]:
        names = " and ".join(sorted(path.name for path in files if path.stem == twice[0]))
        raise ValueError(f"{folder} has {names}; expected one file a slice")
    return sorted(files, key=_natural)


def _paired(images: list[Path], masks: list[Path], images_at: Path, masks_at: Path) -> list[tuple[Path, Path]]:
    by_stem = {mask.stem: mask for mask in masks}
    pairs = []
    for image in images:
        stem = next((image.stem + end for end in MASK_SUFFIXES if image.stem + end in by_stem), None)
        if stem is None:
            raise ValueError(
                f"{image} has no mask in {masks_at}; expected {image.stem}.png or {image.stem}_mask.png (or .tif)."
                f"{meant(image.stem, by_stem)}"
            )
        pairs.append((image, by_stem[stem]))
    used = {mask for _, mask in pairs}
    if left := [mask for mask in masks if mask not in used]:
        names = [image.stem for image in images]
        raise ValueError(f"{left[0]} has no image in {images_at}.{meant(left[0].stem, names)}")
    return pairs


def _read_singles(files: Sequence[Path], colour: bool) -> Raw:
    pages: list[NDArray[Any]] = []
    for path in files:
        read = _tiff(path) if path.suffix.lower() in STACKS else _png(path)
        if len(read) > 1:
            raise ValueError(f"{path} has {len(read)} pages; expected one slice a file (a stack is named images.tif)")
        grey = _grey(read[0], path.name, path.parent, colour)
        if grey.dtype == bool:  # files of 1 bit may stand beside others of 0 and 255
            grey = grey.astype(np.uint8) * 255
        pages.append(grey)
    first = pages[0]
    for path, page in zip(files, pages, strict=True):
        if page.shape != first.shape or page.dtype != first.dtype:
            raise ValueError(
                f"{path} is {_size(page)} pixels of {page.dtype} and {files[0].name} {_size(first)} of {first.dtype}; "
                "expected slices of one size and type"
            )
    return Raw(files[0].parent, np.stack(pages), tuple(path.name for path in files))


def _read_stack(path: Path, colour: bool) -> Raw:
    pages = _tiff(path)
    names = tuple(f"{path.name} page {number}" for number in range(1, len(pages) + 1))
    for name, page in zip(names, pages, strict=True):
        if page.shape != pages[0].shape:
            raise ValueError(
                f"{path}: page 1 is {_size(pages[0])} and {name} {_size(page)}; expected pages of one size"
            )
    grey = [_grey(page, name, path.parent, colour) for name, page in zip(names, pages, strict=True)]
    return Raw(path, np.stack(grey), names)


def _tiff(path: Path) -> list[NDArray[Any]]:
    """The pages of a file, each (H, W) or (H, W, channels)."""
    try:
        with TiffFile(path) as tiff:
            _check_last_page(tiff)
            series = list(tiff.series)
            # One series is one array, which some programs write as a single page.
            found = [(part.asarray(), part.axes) for part in (series if len(series) == 1 else tiff.pages)]
    except Exception as error:  # decoders raise anything for a damaged file
        raise ValueError(f"{path} cannot be read as TIFF ({first_line(error)}); is the file whole?") from error
    return [page for array, axes in found for page in _pages(array, axes, path)]


def _check_last_page(tiff: TiffFile) -> None:
    """A file that was cut short may still begin with whole pages, the last of which points to one that is missing:
    tifffile only logs that, and gives the pages it has."""
    count, position = len(tiff.pages), tiff.pages.next_page_offset
    if position is not None:
        tiff.filehandle.seek(position)
        if any(tiff.filehandle.read(tiff.tiff.offsetsize)):
            raise ValueError(f"page {count + 1} is missing")


def _pages(array: NDArray[Any], axes: str, path: Path) -> list[NDArray[Any]]:
    """An array whose axes tifffile names (Y rows, X columns, S channels, others pages), taken apart."""
    others = [i for i, axis in enumerate(axes) if axis not in "YXS"]
    if sum(array.shape[i] > 1 for i in others) > 1:
        size = " x ".join(map(str, array.shape))
        raise ValueError(f"{path} has axes {axes} of {size}; expected one stack of grey slices")
    ordered = array.transpose(*others, *(axes.index(axis) for axis in "YXS" if axis in axes))
    return list(ordered.reshape(-1, *ordered.shape[len(others) :]))


def _png(path: Path) -> list[NDArray[Any]]:
    try:
        with Image.open(path) as image:
            return [np.asarray(image.convert("RGBA") if image.mode in ("P", "PA") else image)]
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError and others
        raise ValueError(f"{path} cannot be read as an image ({first_line(error)}); is the file whole?") from error


def _grey(page: NDArray[Any], name: str, folder: Path, colour: bool) -> NDArray[Any]:
    """(H, W) of a page that may have channels: grey, grey + alpha, RGB, RGBA."""
    if page.ndim == 2:
        return page
    if page.shape[2] < 3:
        return page[..., 0]
    channels = page[..., :3]
    if not colour:
        if (channels != channels[..., :1]).any():
            raise ValueError(f"{folder / name} is a mask in colour; expected grey levels of two values")
        return page[..., 0]
    grey: NDArray[Any] = channels @ np.array(LUMINANCE)
    return np.round(grey).astype(page.dtype) if page.dtype.kind in "ui" else grey


def _check_finite(raw: Raw) -> None:
    if raw.pixels.dtype.kind not in "buif":
        raise ValueError(f"{raw.at} holds {raw.pixels.dtype} numbers; expected integers or floats")
    for name, page in zip(raw.names, raw.pixels, strict=True):
        if page.dtype.kind == "f" and not (finite := np.isfinite(page)).all():
            count = page.size - int(finite.sum())
            raise ValueError(f"{raw.at}: {name} has {count} pixels that are NaN or infinite; expected none")


def _some_values(pixels: NDArray[Any]) -> set[Any]:
    """The values of a stack, or three of them and more as soon as there are three."""
    seen: set[Any] = set()
    for page in pixels:
        seen |= set(np.unique(page).tolist())
        if len(seen) > 2:
            break
    return seen


def _as_bytes(raw: Raw) -> NDArray[np.uint8]:
    low, high = raw.pixels.min(), raw.pixels.max()
    if low == high:
        raise ValueError(f"{raw.at}: every pixel is {low}; expected images with something to see")
    if raw.pixels.dtype == np.uint8:
        return raw.pixels
    scaled = np.empty(raw.pixels.shape, np.uint8)
    for z, page in enumerate(raw.pixels):  # a slice at a time: floats of a whole stack may not fit into memory
        scaled[z] = np.round((page.astype(np.float64) - float(low)) * (255 / (float(high) - float(low))))
    return scaled


def _as_mask(raw: Raw, threshold: float | None) -> NDArray[np.bool_]:
    if threshold is None and len(_some_values(raw.pixels)) > 2:
        values = np.unique(raw.pixels).tolist()
        raise ValueError(
            f"{raw.at} has {len(values)} different values ({values[0]:g}, {values[1]:g}, ... {values[-1]:g}); expected "
            "two. Where edges are smoothed, data.mask_threshold: 0.5 takes what is above half of the largest value; "
            "where each mitochondrion has a number of its own, data.mask_threshold: 0 takes them all"
        )
    high = raw.pixels.max()
    masks: NDArray[np.bool_] = raw.pixels == high if threshold is None else raw.pixels > threshold * float(high)
    if high <= 0 or masks.all():
        found = "no pixel" if high <= 0 else "every pixel"
        raise ValueError(f"{raw.at}: {found} is a mitochondrion; expected masks with some pixels that are and some not")
    return masks


def _names(folder: Path) -> list[str]:
    return [path.name for path in sorted(folder.iterdir(), key=_natural) if not path.name.startswith(".")]


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Sorts slice2 before slice10."""
    parts = re.findall(r"\d+|\D+", path.stem)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts]


def _size(page: NDArray[Any]) -> str:
    return f"{page.shape[0]} x {page.shape[1]}"
