"""Photographs and their classes from the user's own files; every way they can be wrong has a sentence.

ROOT/labels.csv     a row an image: its file and its class; any other CSV if it is the only one
ROOT/images/        PNG, JPEG or TIFF, also in folders of it
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from objectives.layouts import Listing, check_folder, names_in
from objectives.wording import first_line, holds

COLUMNS = ("file", "label", "patient", "split")
ALIASES = {"file": ("image", "challenge_id"), "label": ("class",), "patient": ("patient_id",)}
# RG: referable glaucoma, NRG: none, U: ungradable, the classes of AIROGS (de Vente et al., "AIROGS: Artificial
# Intelligence for Robust Glaucoma Screening Challenge", 2023).
CLASSES = {"RG": True, "NRG": False, "1": True, "0": False, "1.0": True, "0.0": False}
UNGRADABLE = "U"
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")  # Those of eight bits or fewer.
THREADS = 8  # Decoding leaves Python's lock to the others.
SECONDS_BETWEEN_LINES = 30.0


@dataclass(frozen=True)
class Photographs:
    """Photographs of one folder.

    Attributes:
        images: (n, S, S, 3) uint8, RGB.
        labels: (n,) bool, True for referable glaucoma.
        names: What to call each photograph.
        patients: The patient of each, or None where the file does not say.
        splits: The split of each, or None where the file does not say.
        ungradable: How many images were dropped for their class.
        ignored: How many images have no row in the CSV.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.bool_]
    names: tuple[str, ...]
    patients: tuple[str, ...] | None = None
    splits: tuple[str, ...] | None = None
    ungradable: int = 0
    ignored: int = 0


def read(
    root: Path,
    image_size: int,
    labels: str | None = None,
    columns: Mapping[str, str | None] | None = None,
    ignore_extra: bool = False,
    only: str | None = None,
) -> Photographs:
    """Return the gradable photographs of `root` in the order of its CSV, resized to image_size x image_size.

    An image that is not square loses as much at both ends of its longer side.

    Args:
        root: The folder.
        image_size: Pixels.
        labels: The CSV, relative to `root`; None: labels.csv, or the only one.
        columns: What its columns are called; "image", "challenge_id" and "class" are known.
        ignore_extra: Leave out images that the CSV does not name, instead of refusing them.
        only: The one split to read, if there is a column of splits. That column and the one of patients may then be
            missing, whatever `columns` says.

    Raises:
        ValueError: Whatever is wrong with the files.
    """
    check_folder(root, "a folder with images and a CSV")
    table_at, folder = _table_at(root, labels), root / "images"
    names, aliases = dict.fromkeys(COLUMNS) | dict(columns or {}), dict(ALIASES)
    if only is not None:  # A held-out folder may do without.
        for column in ("patient", "split"):
            aliases[column] = (*aliases.get(column, ()), *filter(None, [names[column]]))
            names[column] = None
    if not folder.is_dir():
        raise ValueError(f"{folder} does not exist; expected a folder with the images that {table_at.name} names")
    listing = Listing("image", SUFFIXES, "label", _class, names, aliases, ignore_extra=ignore_extra)
    rows, ignored = listing.read({"": table_at}, folder)
    has_splits = bool((rows["split"] != "").any())
    kept = rows[rows["value"].notna()]
    if only is not None and has_splits:
        kept = kept[kept["split"] == only]
    if kept.empty:
        what = f" in split {only}" if has_splits and only else ""
        raise ValueError(f"{table_at} has no gradable image{what}; expected rows of class RG and NRG, or 1 and 0")
    return Photographs(
        images=decoded(list(kept["path"]), image_size),
        labels=kept["value"].to_numpy(bool),
        names=tuple(kept["file"]),
        patients=tuple(kept["patient"]) if "patient" in kept else None,
        splits=tuple(kept["split"]) if has_splits else None,
        ungradable=int(rows["value"].isna().sum()),
        ignored=ignored,
    )


def image_files(root: Path) -> tuple[Path, list[Path]]:
    """Return the folder of images of a folder without classes, which may be itself, and the images in it.

    Raises:
        ValueError: There are none.
    """
    check_folder(root, "a folder of images")
    folder = root / "images" if (root / "images").is_dir() else root
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.name[0] != ".")
    if not found:
        raise ValueError(f"{folder} {holds(names_in(folder))}; expected images: PNG, JPEG or TIFF")
    return folder, found


def _table_at(root: Path, labels: str | None) -> Path:
    if labels is not None:
        return root / labels
    if (usual := root / "labels.csv").is_file():
        return usual
    found = sorted(path.name for path in root.glob("*.csv"))
    if len(found) == 1:
        return root / found[0]
    held = f"holds {', '.join(found)}" if found else "holds no CSV"
    raise ValueError(f"{root} {held}; expected labels.csv, one other CSV, or data.labels to name the one that is meant")


def _class(cell: str) -> bool | None:
    """Return True for referable glaucoma, None for an ungradable image."""
    name = cell.upper()
    if name != UNGRADABLE and name not in CLASSES:
        raise ValueError(
            f"class {cell!r} is not known; expected RG or 1 (referable glaucoma), NRG or 0 (none), or U (ungradable); "
            "data.columns.label names the column of classes if it is another"
        )
    return CLASSES.get(name)


def decoded(paths: Sequence[Path], size: int) -> NDArray[np.uint8]:
    """Decode images by several threads, (n, size, size, 3); print a line now and then that says how far it is."""
    images = np.empty((len(paths), size, size, 3), np.uint8)
    problems: dict[int, str] = {}
    done, began = 0, time.monotonic()
    said = began

    def decode(row: int) -> None:
        try:
            images[row] = _image(paths[row], size)
        except ValueError as error:
            problems[row] = str(error)

    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(decode, range(len(paths))):
            done += 1
            if (now := time.monotonic()) - said >= SECONDS_BETWEEN_LINES:
                said, left = now, (now - began) / done * (len(paths) - done)
                print(f"decoded {done:,} of {len(paths):,} images, about {left / 60:.0f} minutes left", flush=True)
    if problems:
        first = min(problems)
        others = [paths[row].name for row in sorted(problems) if row != first]
        more = f" (and {len(others)} more that cannot be used: {', '.join(others[:5])})" if others else ""
        raise ValueError(problems[first] + more)
    return images


def _image(path: Path, size: int) -> NDArray[np.uint8]:
    """Decode the middle square of a file, (size, size, 3)."""
    try:
        with Image.open(path) as file:
            width, height = file.size
            mode, side = file.mode, min(file.size)
            # A JPEG can be decoded at 1/2, 1/4 or 1/8 of its size, in a fraction of the time.
            file.draft(None, (2 * size * width // side, 2 * size * height // side))
            file.load()
            # Palettes with transparency become RGB by way of RGBA alone.
            whole = file.convert("RGBA" if mode in ("P", "PA") else "RGB").convert("RGB") if mode in MODES else None
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError and others.
        raise ValueError(
            f"{path} cannot be read as an image ({first_line(error)}); is the file whole? Expected PNG, JPEG or TIFF"
        ) from error
    if whole is None:
        raise ValueError(
            f"{path} has pixels of mode {mode}, more than 8 bits each; expected an image of 8 bits a colour"
        )
    if side < size:
        raise ValueError(
            f"{path} is {width} x {height} pixels; expected at least {size} x {size}, the image_size (data.image_size: "
            f"{side} would do), or no row for it in the CSV"
        )
    side = min(whole.size)
    left, top = (whole.width - side) / 2, (whole.height - side) / 2
    box = (left, top, left + side, top + side)
    return np.asarray(whole.resize((size, size), Image.Resampling.BILINEAR, box=box))
