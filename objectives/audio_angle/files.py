"""Sounds and their ranks from the user's own files; every way they can be wrong has a sentence.

A folder of classes, ranked in the order of the list (deg000, deg036, ... deg180 unless another is given):

    {class}/{material}/{material}_{class}_{frequency}_{sequence}.wav
    train/{class}/..., val/{class}/..., test/{class}/..., or train_{class}/..., ...     the same, of a split

Or a CSV of file and rank, labels.csv unless it is given another name; of a split: test_labels.csv beside it.
Files of other kinds (notes, pictures) may lie anywhere."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from objectives.audio_angle.wav import read_wav, resample
from objectives.splits import SPELLINGS, SPLITS
from objectives.tables import read_table
from objectives.wording import holds, meant

CLASSES = ("deg000", "deg036", "deg072", "deg108", "deg144", "deg180")
LABELS = "labels.csv"
ALIASES = {"file": ("filename", "path", "wav"), "patient": ("patient_id",)}


@dataclass(frozen=True)
class Layout:
    """Which files there are and what ranks them.

    classes: in the order of their ranks; None: deg000 to deg180 for folders, any numbers for a CSV. material,
    frequency: of the folders, which to take. labels: the CSV; None: labels.csv if there is one, else folders. audio:
    the folder of the CSV's files; None: where the CSV is. columns: what the CSV calls file, rank, patient and split,
    as pairs. ignore_extra: wav files and folders that belong to nothing are passed over instead of refused.

    Raises ValueError for a name that is no text."""

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
    """waves: (samples,) float32 of each clip, one channel, any lengths. rate: samples a second of all. ranks: (n,)
    float64. names: what to call each clip. splits: of each, as the files say it, "" where they do not. groups: whose
    each clip is, such as the speaker's, or None. levels: the names of the ranks 0, 1, ..., or None."""

    waves: tuple[NDArray[np.float32], ...]
    rate: int
    ranks: NDArray[np.float64]
    names: tuple[str, ...]
    splits: tuple[str, ...]
    groups: tuple[str, ...] | None
    levels: tuple[str, ...] | None


@dataclass(frozen=True)
class Entry:
    """One file before it is read. source: the line of the CSV that names it, or nothing."""

    path: Path
    rank: float
    split: str
    group: str = ""
    source: str = ""


def read_clips(root: Path, layout: Layout, sample_rate: int | None = None, shortest: int = 1) -> Clips:
    """All clips of a folder, in the order of their names or of the CSV.

    sample_rate: what all are resampled to; None: they have one rate already. shortest: the fewest samples that a clip
    may have. Raises ValueError for whatever is wrong with the files."""
    if sample_rate is not None and not (isinstance(sample_rate, int) and sample_rate > 0):
        raise ValueError(f"data.sample_rate is {sample_rate!r}; expected a whole number of samples a second, or none")
    if not root.is_dir():
        beside = [path.name for path in root.parent.iterdir() if path.is_dir()] if root.parent.is_dir() else []
        problem = "is a file" if root.exists() else "does not exist"
        raise ValueError(f"{root} {problem}; expected a folder of sounds.{meant(root.name, beside)}")
    if tables := _tables(root, layout):
        entries, levels = _from_tables(root, tables, layout), layout.classes
    else:
        entries, levels = _from_folders(root, layout), layout.classes or CLASSES
    waves, rate = _read(entries, sample_rate, shortest)
    groups = tuple(entry.group for entry in entries)
    return Clips(
        waves=tuple(waves),
        rate=rate,
        ranks=np.array([entry.rank for entry in entries]),
        names=tuple(entry.path.name for entry in entries),
        splits=tuple(entry.split for entry in entries),
        groups=groups if any(groups) else None,
        levels=levels,
    )


def _read(entries: Sequence[Entry], sample_rate: int | None, shortest: int) -> tuple[list[NDArray[np.float32]], int]:
    waves: list[NDArray[np.float32]] = []
    rate = sample_rate
    for entry in entries:
        wave, own = read_wav(entry.path)
        rate = rate or own
        if sample_rate is None and own != rate:
            raise ValueError(
                f"{entry.path} has {own} samples a second and {entries[0].path.name} {rate}; expected one rate "
                f"(data.sample_rate: {rate} resamples what differs)"
            )
        wave = resample(wave, own, rate)
        if len(wave) < shortest:
            raise ValueError(
                f"{entry.path} is too short: {len(wave)} samples at {rate} a second, and one window of the spectrogram "
                f"takes {shortest}; expected a longer clip, the file left out, or a smaller data.n_fft"
            )
        waves.append(wave.astype(np.float32))
    return waves, rate or 0


def _tables(root: Path, layout: Layout) -> dict[str, Path]:
    """The CSVs that there are, by split; the one that was asked for, even if it is not there."""
    plain = root / (layout.labels or LABELS)
    places = {split: plain.with_name(f"{split}_{plain.name}" if split else plain.name) for split in ("", *SPLITS)}
    found = {split: path for split, path in places.items() if path.is_file()}
    return found or ({"": plain} if layout.labels else {})


def _from_tables(root: Path, tables: Mapping[str, Path], layout: Layout) -> list[Entry]:
    audio = root / layout.audio if layout.audio else next(iter(tables.values())).parent
    if not audio.is_dir():
        beside = [path.name for path in audio.parent.iterdir() if path.is_dir()] if audio.parent.is_dir() else []
        raise ValueError(f"data.audio: {audio} is no folder; expected that of the files.{meant(audio.name, beside)}")
    entries: dict[Path, Entry] = {}
    for split, table in tables.items():
        rows = read_table(table, dict(layout.columns), ("file", "rank"), ALIASES)
        for line, row in zip(rows.index, rows.to_dict("records"), strict=True):
            where = f"{table} line {line}"
            path = audio / row["file"]
            if path in entries:
                raise ValueError(f"{where} names {row['file']} a second time, after {entries[path].source}")
            if not path.is_file():
                beside = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
                raise ValueError(
                    f"{where}: {path} does not exist; expected the file, or the line left out."
                    f"{meant(path.name, beside)}"
                )
            named = split or _split(row["split"], where) if "split" in row else split
            entries[path] = Entry(path, _rank(row["rank"], layout.classes, where), named, row.get("patient", ""), where)
    if not layout.ignore_extra:
        for folder in sorted({path.parent for path in entries}):
            for path in _wavs(folder):
                if path not in entries:
                    listed = " or ".join(table.name for table in tables.values())
                    raise ValueError(
                        f"{path} is not in {listed}; expected a row for it, the file elsewhere, or "
                        f"data.ignore_extra: true.{meant(path.name, [one.name for one in entries])}"
                    )
    return list(entries.values())


def _split(cell: str, where: str) -> str:
    if (split := SPELLINGS.get(cell.lower())) is None:
        raise ValueError(f"{where}: the split is {cell!r}; expected train, val or test.{meant(cell, SPELLINGS)}")
    return split


def _rank(cell: str, classes: Sequence[str] | None, where: str) -> float:
    if classes is not None:
        if cell not in classes:
            raise ValueError(
                f"{where}: the rank is {cell!r}; expected one of data.classes: {', '.join(classes)}."
                f"{meant(cell, classes)}"
            )
        return float(classes.index(cell))
    try:
        rank = float(cell)
    except ValueError:
        rank = math.nan
    if not math.isfinite(rank):
        raise ValueError(
            f"{where}: the rank is {cell!r}; expected a number, or names in the order of their ranks in data.classes"
        )
    return rank


def _from_folders(root: Path, layout: Layout) -> list[Entry]:
    classes = layout.classes or CLASSES
    folders = _class_folders(root, classes, layout.ignore_extra)
    if not folders:
        raise ValueError(
            f"{root} {holds(_names(root))}; expected a folder of sounds for each class ({', '.join(classes)}), or "
            f"{layout.labels or LABELS} with the columns file and rank"
        )
    entries = []
    for split in sorted({split for split, _ in folders}):
        for rank, name in enumerate(classes):
            if (folder := folders.get((split, name))) is None:
                beside = sorted(name for other, name in folders if other == split)
                raise ValueError(
                    f"{root} has no folder for class {name}{f' in split {split}' if split else ''}, only for "
                    f"{', '.join(beside)}; expected one for each of data.classes"
                )
            entries += [Entry(path, float(rank), split) for path in _class_files(folder, name, layout)]
    return entries


def _class_folders(root: Path, classes: Sequence[str], ignore_extra: bool) -> dict[tuple[str, str], Path]:
    """Where the sounds of a split and a class are."""
    candidates: list[tuple[str, str, Path]] = []  # split, what should be a class, where
    for folder in _folders(root):
        split, _, rest = folder.name.partition("_")
        if folder.name in SPLITS:
            candidates += [(folder.name, inner.name, inner) for inner in _folders(folder)]
        elif split in SPLITS:
            candidates.append((split, rest, folder))
        else:
            candidates.append(("", folder.name, folder))
    found: dict[tuple[str, str], Path] = {}
    for split, name, folder in candidates:
        if name in classes:
            if (other := found.setdefault((split, name), folder)) != folder:
                raise ValueError(f"{other} and {folder} are both class {name} of split {split}; expected one of them")
        elif not ignore_extra:
            raise ValueError(
                f"{folder} is not a class; expected folders named as in data.classes ({', '.join(classes)}), or "
                f"data.ignore_extra: true.{meant(name, classes)}"
            )
    if not ignore_extra:
        for folder in {root, *(folder.parent for folder in found.values()), *found.values()}:
            for path in _wavs(folder):
                raise ValueError(
                    f"{path} lies beside the folders; expected {{class}}/{{material}}/{{material}}_{{class}}_"
                    "{frequency}_{sequence}.wav, or data.ignore_extra: true"
                )
    return found


def _class_files(folder: Path, name: str, layout: Layout) -> list[Path]:
    """The sounds of a class that are of the material and the frequency."""
    material = folder / layout.material
    if not material.is_dir():
        held = [one.name for one in _folders(folder)]
        raise ValueError(
            f"{folder} {holds(_names(folder))}; expected a folder {layout.material} (data.material)."
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


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def _wavs(folder: Path) -> list[Path]:
    # Some systems leave a ._name beside each name: not sounds.
    return sorted(p for p in folder.iterdir() if p.suffix.lower() == ".wav" and not p.name.startswith("."))
