"""Slices and masks from the user's own files, as arrays; every way they can be wrong has a sentence.

In the folder, for a split "" (none), "train", "val" or "test":

    images.tif  + masks.tif         two stacks with as many pages; also .tiff
    images/     + masks/            a PNG or TIF a slice; a mask is named like its image, or with _mask after it
    train_images.tif + train_masks.tif, train_images/ + train_masks/     the same, of a split
    train/images.tif + train/masks.tif, train/images/ + train/masks/     the same, of a split

With images of no split, split.csv may say the split of each slice: columns `file` (the image's name, or the number
of the page in a stack, from 1) and `split`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tifffile import TiffFile

from objectives.layouts import Layout, names_in, natural
from objectives.splits import SPELLINGS
from objectives.tables import read_table
from objectives.wording import first_line, holds, meant

STACKS = (".tif", ".tiff")
SINGLE = (".png", *STACKS)
LAYOUT = Layout(
    names=("images", "masks"),
    suffixes=("", *STACKS),
    folder="a folder with images and masks",
    expected=(
        "images.tif with masks.tif, or a folder images with a folder masks, alone or for each of train, val and test "
        "(train_images.tif, train_images or train/images)"
    ),
)
SPLIT_LIST = "split.csv"
MASK_SUFFIXES = ("", "_mask", "-mask")
LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601


@dataclass(frozen=True)
class Slices:
    """Slices with their masks.

    Attributes:
        images: (n, H, W) uint8.
        masks: (n, H, W) bool, True for mitochondria.
        names: What to call each slice.
    """

    images: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    names: tuple[str, ...]

    def of(self, chosen: NDArray[Any]) -> Slices:
        """Return the slices that an index or a mask chooses."""
        places = np.arange(len(self.names))[chosen]
        return Slices(self.images[places], self.masks[places], tuple(self.names[place] for place in places))


@dataclass(frozen=True)
class Raw:
    """Pixels of a stack or of the files of a folder, as they are.

    Attributes:
        at: The stack or the folder.
        pixels: (n, H, W), of any kind of number.
        names: What to call each slice.
    """

    at: Path
    pixels: NDArray[Any]
    names: tuple[str, ...]


def listed_splits(root: Path, names: Sequence[str]) -> NDArray[np.str_] | None:
    """Return the split of each slice as split.csv says it, or None without that file.

    Args:
        root: The folder.
        names: The names of the slices, as `Slices` has them.

    Raises:
        ValueError: The file is wrong, names a slice that is not there, or lacks one.
    """
    path = root / SPLIT_LIST
    if not path.is_file():
        return None
    columns = ("file", "split")
    table = read_table(path, dict.fromkeys(columns), columns, {"file": ("image", "slice", "page")})
    places = {name: place for place, name in enumerate(names)}
    places |= {Path(name).stem: place for name, place in places.items()}
    # The pages of a stack go by their numbers.
    places |= {name.rpartition(" page ")[2]: place for place, name in enumerate(names) if " page " in name}
    found = np.full(len(names), "", dtype="<U5")
    for line, name, split in zip(table.index, table["file"], table["split"], strict=True):
        place = places.get(name, places.get(Path(name).name))
        if place is None:
            raise ValueError(
                f"{path}, line {line}: there is no slice {name}; expected one of {holds(names).removeprefix('holds ')}."
                f"{meant(name, places)}"
            )
        if split.lower() not in SPELLINGS:
            raise ValueError(
                f"{path}, line {line}: split {split!r} is not known; expected train, val or test."
                f"{meant(split, SPELLINGS)}"
            )
        found[place] = SPELLINGS[split.lower()]
    if lacking := [name for name, split in zip(names, found, strict=True) if not split]:
        raise ValueError(f"{path} has no row for {lacking[0]}{_more(lacking)}; expected the split of every slice")
    return found


def _more(names: Sequence[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""


def splits_in(root: Path) -> tuple[str, ...]:
    """Return those of "" (none), "train", "val" and "test" that a folder holds images or masks of.

    Raises:
        ValueError: There is no such folder, or it holds none of the layouts.
    """
    return tuple(_places(root))


def read_split(root: Path, split: str, mask_threshold: float | None = None) -> Slices | None:
    """Return the slices of a split in the order of their pages, or of their names with numbers as numbers.

    Images of 16 bits or floats are scaled from the least and largest value of the split to 0 and 255; colours become
    luminance. Masks have two values, the larger one a mitochondrion.

    Args:
        root: The folder.
        split: "" (none), "train", "val" or "test".
        mask_threshold: If given, masks may have any values, and a mitochondrion is what is above this fraction of the
            largest.

    Returns:
        The slices, or None if `root` holds other splits only.

    Raises:
        ValueError: Whatever is wrong with the files.
    """
    if mask_threshold is not None and not (isinstance(mask_threshold, int | float) and 0 <= mask_threshold < 1):
        raise ValueError(f"mask_threshold is {mask_threshold!r}; expected a number from 0 to below 1, or none")
    if (found := _places(root).get(split)) is None:
        return None
    images_at, masks_at = _place(found, "images", "masks"), _place(found, "masks", "images")
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


def read_images(root: Path) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Return slices without masks, (n, H, W), and what to call each.

    They are images.tif or a folder images, those of the split test, or else the PNG and TIF files of the folder itself.

    Raises:
        ValueError: Whatever is wrong with the files.
    """
    found = LAYOUT.find(root)
    at = next((found[split]["images"] for split in ("", "test") if "images" in found.get(split, {})), root)
    if at == root and found:
        held = " and ".join(sorted(path.name for places in found.values() for path in places.values()))
        raise ValueError(
            f"{root} has {held}; expected images or test_images, or PNG and TIF files in the folder itself"
        )
    files = [at] if at.is_file() else _singles(at)
    # One file may be a stack, whatever its name.
    alone = len(files) == 1 and files[0].suffix.lower() in STACKS
    images = _read_stack(files[0], colour=True) if alone else _read_singles(files, colour=True)
    _check_finite(images)
    return _as_bytes(images), images.names


def _places(root: Path) -> dict[str, dict[str, Path]]:
    if not (found := LAYOUT.find(root)):
        raise LAYOUT.nothing_found(root)
    return found


def _place(found: Mapping[str, Path], role: str, other: str) -> Path:
    """Return the place of a split's images or masks; at least one of the two is there."""
    if role in found:
        return found[role]
    beside = found[other]
    wanted = beside.with_name(beside.name.replace(other, role))
    raise ValueError(
        f"{beside} is there, but no {wanted.name} beside it; expected both, with a mask for each image."
        f"{meant(wanted.name, set(names_in(beside.parent)) - {beside.name})}"
    )


def _singles(folder: Path) -> list[Path]:
    files = [path for path in folder.iterdir() if path.suffix.lower() in SINGLE and not path.name.startswith(".")]
    if not files:
        raise ValueError(f"{folder} {holds(names_in(folder))}; expected a PNG or TIF a slice")
    stems = Counter(path.stem for path in files)
    if twice := [stem for stem, count in stems.items() if count > 1]:
        names = " and ".join(sorted(path.name for path in files if path.stem == twice[0]))
        raise ValueError(f"{folder} has {names}; expected one file a slice")
    return sorted(files, key=natural)


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
    """Return the pages of a file, each (H, W) or (H, W, channels)."""
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
    """Refuse a file that was cut short after whole pages, the last of which points to one that is missing."""
    # tifffile only logs that, and gives the pages it has.
    count, position = len(tiff.pages), tiff.pages.next_page_offset
    if position is not None:
        tiff.filehandle.seek(position)
        if any(tiff.filehandle.read(tiff.tiff.offsetsize)):
            raise ValueError(f"page {count + 1} is missing")


def _pages(array: NDArray[Any], axes: str, path: Path) -> list[NDArray[Any]]:
    """Take apart an array whose axes tifffile names (Y rows, X columns, S channels, others pages)."""
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
    """Turn a page that may have channels (grey, grey + alpha, RGB, RGBA) into (H, W)."""
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
    """Return the values of a stack, or some of them as soon as there are three."""
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


def _size(page: NDArray[Any]) -> str:
    return f"{page.shape[0]} x {page.shape[1]}"
