"""Sounds and their ranks from the user's own files; every way they can be wrong has a sentence.

A folder of classes, ranked in the order of the list (deg000, deg036, ... deg180 unless another is given):

    {class}/{material}/{material}_{class}_{frequency}_{sequence}.wav
    train/{class}/..., val/{class}/..., test/{class}/..., or train_{class}/..., ...     the same, of a split

Or a CSV of file and rank, labels.csv unless it is given another name; of a split: test_labels.csv beside it.
Files of other kinds (notes, pictures) may lie anywhere.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas
from numpy.typing import NDArray

from objectives import layouts
from objectives.audio_angle.wav import read_wav, resample
from objectives.layouts import Listing, check_folder, names_beside, names_in
from objectives.splits import SPLITS
from objectives.wording import holds, meant

CLASSES = ("deg000", "deg036", "deg072", "deg108", "deg144", "deg180")
LABELS = "labels.csv"
ALIASES = {"file": ("filename", "path", "wav"), "patient": ("patient_id",)}


@dataclass(frozen=True)
class Layout:
    """Options that say which files there are, and how they are ranked.

    Attributes:
        classes: Names in the order of their ranks; None: deg000 to deg180 for folders, any numbers for a CSV.
        material: Of the folders, the material to take.
        frequency: Of the folders, the frequency to take.
        labels: The CSV; None: labels.csv if there is one, else folders.
        audio: The folder of the CSV's files; None: where the CSV is.
        columns: What the CSV calls file, rank, patient and split, as pairs.
        ignore_extra: Pass over wav files and folders that belong to nothing, instead of refusing them.

    Raises:
        ValueError: A name is no text.
    """

    classes: tuple[str, ...] | None = None
    material: str = "plastic"
    frequency: str = "3000hz"
    labels: str | None = None
    audio: str | None = None
    columns: tuple[tuple[str, str | None], ...] = (("file", None), ("rank", None), ("patient", None), ("split", None))
    ignore_extra: bool = False

    def __post_init__(self) -> None:
        optional = {"labels": self.labels, "audio": self.audio} | {f"columns.{name}": to for name, to in self.columns}
        for name, value in {"material": self.material, "frequency": self.frequency, **optional}.items():
            if not isinstance(value, str) and not (value is None and name in optional):
                raise ValueError(f"data.{name} is {value!r}; expected a name{' or none' * (name in optional)}")


@dataclass(frozen=True)
class Clips:
    """Sounds of one folder.

    Attributes:
        waves: (samples,) float32 of each clip, one channel, of any length.
        rate: Samples a second of all clips.
        ranks: (n,) float64.
        names: What to call each clip.
        splits: The split of each clip, "" where the files do not say.
        groups: Whose each clip is, such as the speaker's, or None.
        levels: The names of the ranks 0, 1, ..., or None.
    """

    waves: tuple[NDArray[np.float32], ...]
    rate: int
    ranks: NDArray[np.float64]
    names: tuple[str, ...]
    splits: tuple[str, ...]
    groups: tuple[str, ...] | None
    levels: tuple[str, ...] | None


def read_clips(root: Path, layout: Layout, sample_rate: int | None = None, shortest: int = 1) -> Clips:
    """Return all clips of a folder, in the order of their names or of the CSV.

    Args:
        root: The folder.
        layout: Which files to take, and how they are ranked.
        sample_rate: What all clips are resampled to; None: they have one rate already.
        shortest: The fewest samples that a clip may have.

    Raises:
        ValueError: Whatever is wrong with the files.
    """
    if sample_rate is not None and not (isinstance(sample_rate, int) and sample_rate > 0):
        raise ValueError(f"data.sample_rate is {sample_rate!r}; expected a whole number of samples a second, or none")
    check_folder(root, "a folder of sounds")
    if tables := _tables(root, layout):
        rows, levels = _from_tables(root, tables, layout), layout.classes
    else:
        rows, levels = _from_folders(root, layout), layout.classes or CLASSES
    waves, rate = read_waves(list(rows["path"]), sample_rate, shortest)
    return Clips(
        waves=tuple(waves),
        rate=rate,
        ranks=rows["value"].to_numpy(np.float64),
        names=tuple(path.name for path in rows["path"]),
        splits=tuple(rows["split"]),
        groups=tuple(rows["patient"]) if "patient" in rows else None,
        levels=levels,
    )


def wav_files(root: Path) -> list[Path]:
    """Return the wav files of a folder and of its folders.

    Raises:
        ValueError: There are none.
    """
    check_folder(root, "a folder of sounds")
    found = sorted(path for path in root.rglob("*") if path.suffix.lower() == ".wav" and path.name[0] != ".")
    if not found:
        raise ValueError(f"{root} {holds(names_in(root))}; expected wav files")
    return found


def read_waves(paths: Sequence[Path], sample_rate: int | None, shortest: int) -> tuple[list[NDArray[np.float32]], int]:
    """Return the samples of some files, one channel each, and how many there are a second; see `read_clips`."""
    waves: list[NDArray[np.float32]] = []
    rate = sample_rate
    for path in paths:
        wave, own = read_wav(path)
        rate = rate or own
        if sample_rate is None and own != rate:
            raise ValueError(
                f"{path} has {own} samples a second and {paths[0].name} {rate}; expected one rate "
                f"(data.sample_rate: {rate} resamples what differs)"
            )
        wave = resample(wave, own, rate)
        if len(wave) < shortest:
            raise ValueError(
                f"{path} is too short: {len(wave)} samples at {rate} a second, and one window of the spectrogram "
                f"takes {shortest}; expected a longer clip, the file left out, or a smaller data.n_fft"
            )
        waves.append(wave.astype(np.float32))
    return waves, rate or 0


def _tables(root: Path, layout: Layout) -> dict[str, Path]:
    """Find the CSVs by split; the one that was asked for counts even if it is not there."""
    plain = root / (layout.labels or LABELS)
    places = {split: plain.with_name(f"{split}_{plain.name}" if split else plain.name) for split in ("", *SPLITS)}
    found = {split: path for split, path in places.items() if path.is_file()}
    return found or ({"": plain} if layout.labels else {})


def _from_tables(root: Path, tables: Mapping[str, Path], layout: Layout) -> pandas.DataFrame:
    audio = root / layout.audio if layout.audio else next(iter(tables.values())).parent
    if not audio.is_dir():
        expected = f"expected that of the files.{meant(audio.name, names_beside(audio))}"
        raise ValueError(f"data.audio: {audio} is no folder; {expected}")
    rank = partial(_rank, classes=layout.classes)
    columns, extra = dict(layout.columns), layout.ignore_extra
    listing = Listing("sound", (".wav",), "rank", rank, columns, ALIASES, everywhere=False, ignore_extra=extra)
    return listing.read(tables, audio)[0]


def _rank(cell: str, classes: Sequence[str] | None) -> float:
    if classes is not None:
        if cell not in classes:
            expected = f"expected one of data.classes: {', '.join(classes)}.{meant(cell, classes)}"
            raise ValueError(f"the rank is {cell!r}; {expected}")
        return float(classes.index(cell))
    try:
        rank = float(cell)
    except ValueError:
        rank = math.nan
    if not math.isfinite(rank):
        raise ValueError(
            f"the rank is {cell!r}; expected a number, or names in the order of their ranks in data.classes"
        )
    return rank


def _from_folders(root: Path, layout: Layout) -> pandas.DataFrame:
    classes = layout.classes or CLASSES
    expected = (
        f"a folder of sounds for each class ({', '.join(classes)}), or {layout.labels or LABELS} with the columns file "
        "and rank"
    )
    folders = layouts.Layout(classes, ("",), "a folder of sounds", expected)
    places = folders.find(root)
    if not layout.ignore_extra:
        _check_extra(root, classes, {path for found in places.values() for path in found.values()})
    if not places:
        raise folders.nothing_found(root)
    rows: list[tuple[Path, float, str]] = []
    for split, found in sorted(places.items()):
        for rank, name in enumerate(classes):
            if name not in found:
                raise ValueError(
                    f"{root} has no folder for class {name}{f' in split {split}' if split else ''}, only for "
                    f"{', '.join(sorted(found))}; expected one for each of data.classes"
                )
            rows += [(path, float(rank), split) for path in _class_files(found[name], name, layout)]
    return pandas.DataFrame(rows, columns=["path", "value", "split"])


def _check_extra(root: Path, classes: Sequence[str], used: set[Path]) -> None:
    """Refuse folders that are no class, and sounds that lie beside the folders."""
    of_splits = [folder for folder in _folders(root) if folder.name in SPLITS]
    for folder in [one for parent in (root, *of_splits) for one in _folders(parent)]:
        if folder not in used and folder not in of_splits:
            split, _, rest = folder.name.partition("_")
            name = rest if split in SPLITS else folder.name
            raise ValueError(
                f"{folder} is not a class; expected folders named as in data.classes ({', '.join(classes)}), or "
                f"data.ignore_extra: true.{meant(name, classes)}"
            )
    for folder in {root, *(folder.parent for folder in used), *used}:
        for path in _wavs(folder):
            raise ValueError(
                f"{path} lies beside the folders; expected {{class}}/{{material}}/{{material}}_{{class}}_"
                "{frequency}_{sequence}.wav, or data.ignore_extra: true"
            )


def _class_files(folder: Path, name: str, layout: Layout) -> list[Path]:
    """Return the sounds of a class that are of the material and the frequency."""
    material = folder / layout.material
    if not material.is_dir():
        held = [one.name for one in _folders(folder)]
        raise ValueError(
            f"{folder} {holds(names_in(folder))}; expected a folder {layout.material} (data.material)."
            f"{meant(layout.material, held)}"
        )
    pattern = re.compile(rf"{re.escape(layout.material)}_{re.escape(name)}_([^_]+)_(\d+)", re.ASCII)
    files: list[Path] = []
    frequencies: set[str] = set()
    for path in _wavs(material):
        if (match := pattern.fullmatch(path.stem)) is None:
            if layout.ignore_extra:
                continue
            raise ValueError(
                f"{path} is not named {layout.material}_{name}_{{frequency}}_{{sequence}}.wav, such as "
                f"{layout.material}_{name}_{layout.frequency}_001.wav; expected that, or data.ignore_extra: true"
            )
        frequencies.add(match[1])
        if match[1] == layout.frequency:
            files.append(path)
    if not files:
        held_ = f"only {', '.join(sorted(frequencies))}" if frequencies else "no wav files"
        raise ValueError(
            f"{material} has no sounds of {layout.frequency} (data.frequency), {held_}; expected some of each class."
            f"{meant(layout.frequency, frequencies)}"
        )
    return files


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "__")))


def _wavs(folder: Path) -> list[Path]:
    # Some systems leave a ._name beside each name, which is no sound.
    return sorted(p for p in folder.iterdir() if p.suffix.lower() == ".wav" and not p.name.startswith("."))
