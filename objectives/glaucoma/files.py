"""Photographs and their classes from the user's own files; every way they can be wrong has a sentence.

ROOT/labels.csv     a row an image: its file and its class; any other CSV if it is the only one
ROOT/images/        PNG, JPEG or TIFF, also in folders of it
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from objectives.splits import SPELLINGS
from objectives.tables import read_table
from objectives.wording import first_line, meant

COLUMNS = ("file", "label", "patient", "split")
ALIASES = {"file": ("image", "challenge_id"), "label": ("class",), "patient": ("patient_id",)}
# RG: referable glaucoma, NRG: none, U: ungradable, the classes of AIROGS (de Vente et al., "AIROGS: Artificial
# Intelligence for Robust Glaucoma Screening Challenge", 2023).
CLASSES = {"RG": True, "NRG": False, "1": True, "0": False, "1.0": True, "0.0": False}
UNGRADABLE = "U"
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")  # of eight bits or fewer
THREADS = 8  # decoding leaves Python's lock to the others
SECONDS_BETWEEN_LINES = 30.0


@dataclass(frozen=True)
class Photographs:
    """images: (n, S, S, 3) uint8, RGB. labels: (n,) bool, True = referable glaucoma. names: what to call each.
    patients, splits: one for each, or None where the file does not say. ungradable, ignored: how many images were
    dropped for their class, and how many had no row in the CSV."""

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
    """The gradable photographs of `root` in the order of its CSV, resized to image_size x image_size.

    labels: the CSV, relative to `root`; None: labels.csv, or the only one. columns: what its columns are called;
    "image", "challenge_id" and "class" are known. ignore_extra: images that the CSV does not name are left out
    instead of refused. only: the one split to read, if there is a column of splits; that and the one of patients may
    then be missing, whatever `columns` says. What is not square loses what stands out at both ends of its longer
    side. Raises ValueError for whatever is wrong with the files."""
    if not root.is_dir():
        beside = [path.name for path in root.parent.iterdir() if path.is_dir()] if root.parent.is_dir() else []
        problem = "is a file" if root.exists() else "does not exist"
        raise ValueError(f"{root} {problem}; expected a folder with images and a CSV.{meant(root.name, beside)}")
    table_at, folder = _table_at(root, labels), root / "images"
    names, aliases = dict.fromkeys(COLUMNS) | dict(columns or {}), dict(ALIASES)
    if only is not None:  # a held-out folder may do without
        for column in ("patient", "split"):
            aliases[column] = (*aliases.get(column, ()), *filter(None, [names[column]]))
            names[column] = None
    table = read_table(table_at, names, ("file", "label"), aliases)
    classes = [_class(text, table_at, line) for line, text in table["label"].items()]
    splits = [_split(text, table_at, line) for line, text in table["split"].items()] if "split" in table else None
    if "patient" in table:
        _check_patients(table, table_at)
    paths, ignored = _located(table, table_at, folder, classes, ignore_extra)
    kept = [
        row
        for row, gradable in enumerate(classes)
        if gradable is not None and (splits is None or only is None or splits[row] == only)
    ]
    if not kept:
        what = f" in split {only}" if splits and only else ""
        raise ValueError(f"{table_at} has no gradable image{what}; expected rows of class RG and NRG, or 1 and 0")
    return Photographs(
        images=_decoded([paths[row] for row in kept], image_size),
        labels=np.array([classes[row] for row in kept], dtype=bool),
        names=tuple(table["file"].iloc[kept]),
        patients=tuple(table["patient"].iloc[kept]) if "patient" in table else None,
        splits=tuple(splits[row] for row in kept) if splits else None,
        ungradable=classes.count(None),
        ignored=ignored,
    )


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


def _class(text: str, table_at: Path, line: Any) -> bool | None:
    """None: ungradable."""
    name = text.upper()
    if name != UNGRADABLE and name not in CLASSES:
        raise ValueError(
            f"{table_at}, line {line}: class {text!r} is not known; expected RG or 1 (referable glaucoma), NRG or 0 "
            "(none), or U (ungradable); data.columns.label names the column of classes if it is another"
        )
    return CLASSES.get(name)


def _split(text: str, table_at: Path, line: Any) -> str:
    if (name := SPELLINGS.get(text.lower())) is None:
        raise ValueError(f"{table_at}, line {line}: split {text!r} is not known; expected train, val or test")
    return name


def _check_patients(table: Any, table_at: Path) -> None:
    """Images without a patient would all be taken for those of one."""
    empty = table.index[table["patient"] == ""]
    if len(empty):
        raise ValueError(
            f"{table_at}, line {empty[0]}: there is no patient; expected one in every row, or no column of that name"
        )


def _located(
    table: Any, table_at: Path, folder: Path, classes: Sequence[bool | None], ignore_extra: bool
) -> tuple[list[Path | None], int]:
    """The file of each row, None for an ungradable one that is not there, since nobody needs it; and how many images
    have no row."""
    if not folder.is_dir():
        raise ValueError(f"{folder} does not exist; expected a folder with the images that {table_at.name} names")
    there = sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )
    called = _names(there, folder)
    found: list[Path | None] = []
    line_of: dict[Path, Any] = {}
    for (line, name), gradable in zip(table["file"].items(), classes, strict=True):
        candidates = _candidates(name, called)
        if len(candidates) > 1:
            names = " and ".join(str(path.relative_to(folder)) for path in candidates[:2])
            raise ValueError(
                f"{table_at}, line {line}: {name} may be {names} in {folder}; expected the name with its folder and "
                "its extension"
            )
        path = candidates[0] if candidates else None
        if path is None and gradable is not None:
            missing = [one for one in table["file"] if not _candidates(one, called)]
            more = f" ({len(missing)} of {len(table)} are missing)" if len(missing) > 1 else ""
            raise ValueError(
                f"{table_at}, line {line}: there is no image {name} in {folder}{more}; expected {_expected(name)}."
                f"{meant(Path(name).name, [one.name for one in there])}"
            )
        if path is not None and line_of.setdefault(path, line) != line:
            raise ValueError(
                f"{table_at}, line {line}: {name} is the image {path.name} of line {line_of[path]}; expected each "
                "image once"
            )
        found.append(path)
    extra = [path for path in there if path not in line_of]
    if extra and not ignore_extra:
        more = f" and {len(extra) - 1:,} more" if len(extra) > 1 else ""
        raise ValueError(
            f"{extra[0]}{more} has no row in {table_at}; expected a class for each image, or "
            "data.ignore_extra: true to leave such images out"
        )
    return found, len(extra)


def _names(there: Iterable[Path], folder: Path) -> tuple[dict[str, list[Path]], ...]:
    """What an image may be called in the CSV, the most exact way first: with its folder and its extension, without
    the one or the other, without both."""
    called: tuple[dict[str, list[Path]], ...] = tuple(defaultdict(list) for _ in range(4))
    for path in there:
        inside = path.relative_to(folder)
        for way, name in enumerate((inside.as_posix(), inside.with_suffix("").as_posix(), path.name, path.stem)):
            called[way][name].append(path)
    return called


def _candidates(name: str, called: Sequence[Mapping[str, list[Path]]]) -> list[Path]:
    plain = name.replace("\\", "/").removeprefix("./").removeprefix("images/")
    return next((names[plain] for names in called if plain in names), [])


def _expected(name: str) -> str:
    return "such a file" if Path(name).suffix.lower() in SUFFIXES else f"{name}.png, .jpg or .tif"


def _decoded(paths: Sequence[Path | None], size: int) -> NDArray[np.uint8]:
    """(n, size, size, 3), decoded by several threads; a line now and then says how far it is."""
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
        others = [Path(paths[row]).name for row in sorted(problems) if row != first]  # type: ignore[arg-type]
        more = f" (and {len(others)} more that cannot be used: {', '.join(others[:5])})" if others else ""
        raise ValueError(problems[first] + more)
    return images


def _image(path: Path, size: int) -> NDArray[np.uint8]:
    """(size, size, 3) of the middle square of a file."""
    try:
        with Image.open(path) as file:
            width, height = file.size
            mode, side = file.mode, min(file.size)
            # A JPEG can be decoded at 1/2, 1/4 or 1/8 of its size, in a fraction of the time.
            file.draft(None, (2 * size * width // side, 2 * size * height // side))
            file.load()
            # Palettes with transparency become RGB by way of RGBA alone.
            whole = file.convert("RGBA" if mode in ("P", "PA") else "RGB").convert("RGB") if mode in MODES else None
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError and others
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
