"""Records from the user's own files, as arrays; every way they can be wrong has a sentence.

`data.root` is an npz or a CSV file, or a folder with

    records.npz or records.csv                                  of no split, or with a column `split`
    train_records.npz, val_records.csv, train/records.npz ...   of a split; these win over a split of our own

Arrays of the npz, columns of the CSV (n records):

    waveforms      (n, 200): 10 ms at 20 kHz, in any unit; of a CSV the columns s000 to s199
    age, intensity, rate, noise                 optional: years, dB 0 to 100, clicks a second, residual noise
    patient, label                              who, and one of CLASSES
    peak_exists, latency_ms, amplitude_uv       of wave V; the last two mean nothing where it does not exist
    threshold_db                                of hearing
    clean          (n, 200), optional: what denoising is to give, in the unit of waveforms; clean000 to clean199
    split, sampling_rate                        optional: train, val or test; 20000
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas
from numpy.typing import NDArray

from objectives.abr.records import (
    NAMES,
    PEAK,
    REQUIRED,
    SAMPLES,
    SIGNALS,
    STATICS,
    Records,
    Table,
    check_samples,
    checked,
    checked_inputs,
)
from objectives.layouts import Layout, names_beside
from objectives.tables import missing_columns, read_table
from objectives.wording import first_line, listed, meant

SUFFIXES = (".npz", ".csv")
LAYOUT = Layout(
    names=("records",),
    suffixes=SUFFIXES,
    folder="an npz, a CSV, or a folder of them",
    expected="records.npz or records.csv, or one for each of train, val and test (train_records.npz)",
)


def read(root: Path, columns: Mapping[str, str | None]) -> tuple[Records, str]:
    """Return all records of `root`, and a note on what was not used ("" where all was).

    Args:
        root: The file or the folder.
        columns: What arrays and columns are called where it is not their own name; of waveforms and clean in a CSV,
            the text before their digits.

    Raises:
        ValueError: Whatever is wrong with the files.
    """
    sources = _sources(root)
    tables = [
        _read_npz(path, columns) if path.suffix.lower() == ".npz" else _read_csv(path, columns)
        for path in sources.values()
    ]
    parts = [checked(table) for table in tables]
    notes = [f"{table.at.name}: {listed(table.unused)} not used" for table in tables if table.unused]
    for table in tables:
        if lacking := [name for name in STATICS if name not in table.arrays]:
            notes.append(f"{table.at.name} has no {' and no '.join(lacking)}, which the network is not told")
    return _joined(parts, list(sources), list(sources.values())), "; ".join(notes)


def read_new(
    root: Path, columns: Mapping[str, str | None]
) -> tuple[NDArray[np.float32], NDArray[np.float32], list[str]]:
    """Return waveforms, (n, 200), statics, (n, 4), and what to call each of records that need have no labels.

    Args:
        root: A file, or a folder with records.npz or .csv, those of the split test, or others with these endings.
        columns: See `read`.

    Raises:
        ValueError: Whatever is wrong with the files.
    """
    paths = _new_sources(root)
    names = ("waveforms", *STATICS, "sampling_rate")
    tables = [
        _read_npz(path, columns, names) if path.suffix.lower() == ".npz" else _read_csv(path, columns, names)
        for path in paths
    ]
    parts = [checked_inputs(table) for table in tables]
    called = [f"{table.at.name} {table.row} {number}" for table in tables for number in table.numbers]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts]), called


def _new_sources(root: Path) -> list[Path]:
    if not root.is_dir():
        return list(_sources(root).values())
    found = LAYOUT.find(root)
    for split in ("", "test"):
        if split in found:
            return [found[split]["records"]]
    others = sorted(path for path in root.iterdir() if path.suffix.lower() in SUFFIXES and path.name[0] != ".")
    if found or not others:
        raise LAYOUT.nothing_found(root)
    return others


def _sources(root: Path) -> dict[str, Path]:
    """Find the files of `root` by the split that their names say ("": none)."""
    if root.is_file():
        if root.suffix.lower() not in SUFFIXES:
            raise ValueError(f"{root} is neither an npz nor a CSV; expected a file that ends in .npz or .csv")
        return {"": root}
    if not root.exists():
        near = meant(root.name, names_beside(root, files=True))
        raise ValueError(f"{root} does not exist; expected {LAYOUT.folder}.{near}")
    if not (found := LAYOUT.find(root)):
        raise LAYOUT.nothing_found(root)
    if not {"", "train"} & set(found) and "test" not in found:
        raise ValueError(f"{root} has val_records only; expected records or train_records to train on")
    if {"", "train"} <= set(found):
        raise ValueError(f"{root} has records and train_records; expected one of them, or a column split in records")
    return {split: places["records"] for split, places in found.items()}


def _read_npz(path: Path, columns: Mapping[str, str | None], names: Sequence[str] = NAMES) -> Table:
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} cannot be read as npz (its directory is missing); is the file whole?")
    with np.load(path, allow_pickle=False) as archive:
        there = list(archive.files)
        called = _called(path, columns, there, names)
        arrays = {name: _array(archive, path, key) for name, key in called.items()}
    unused = [name for name in there if name not in called.values()]
    count = len(arrays["waveforms"]) if arrays["waveforms"].ndim else 0
    if "sampling_rate" in arrays and arrays["sampling_rate"].size == 1:
        arrays["sampling_rate"] = np.full(count, arrays["sampling_rate"].item())
    for name, array in arrays.items():
        wanted = 2 if name in SIGNALS else 1
        if array.ndim != wanted:
            expected = f"(records, {SAMPLES})" if wanted == 2 else "a value a record"
            raise ValueError(f"{path}: {called[name]} is of shape {array.shape}; expected {expected}")
        if wanted == 2:
            check_samples(path, called[name], array)
        if len(array) != count:
            raise ValueError(
                f"{path}: {called[name]} has {len(array)} entries and {called['waveforms']} {count} records; expected "
                "as many of each"
            )
    return Table(path, arrays, np.arange(1, count + 1), "record", called, unused)


def _array(archive: Any, path: Path, key: str) -> NDArray[Any]:
    try:
        return np.asarray(archive[key])
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        if "allow_pickle" in str(error):
            raise ValueError(
                f"{path}: {key} is an array of Python objects; expected numbers or text, as np.asarray(values, dtype="
                "str) or dtype=float saves them"
            ) from error
        raise ValueError(f"{path} cannot be read as npz ({key}: {first_line(error)}); is the file whole?") from error


def _read_csv(path: Path, columns: Mapping[str, str | None], names: Sequence[str] = NAMES) -> Table:
    there = _header(path)
    prefixes = {name: columns.get(name) or prefix for name, prefix in SIGNALS.items()}
    samples = {name: [one for one in there if re.fullmatch(re.escape(prefix) + r"\d+", one)]
               for name, prefix in prefixes.items()}  # fmt: skip
    others = [name for name in there if name not in {*samples["waveforms"], *samples["clean"]}]
    if there and not samples["waveforms"]:
        start = prefixes["waveforms"]
        raise ValueError(
            f"{path} has no columns {start}000 to {start}{SAMPLES - 1}; it has {listed(there)}. Expected the samples, "
            "or data.columns.waveforms to name what comes before their digits"
        )
    scalars = [name for name in names if name not in SIGNALS]
    # A cell may be empty where there is no wave V: read under their own names, these two are not required to be full.
    own = {columns.get(name) or name: name for name in PEAK if name in names}
    wanted: dict[str, str | None] = {name: columns.get(name) for name in scalars if name not in PEAK}
    wanted |= dict.fromkeys([*own, *samples["waveforms"], *samples["clean"]])
    asked = [name for name in scalars if name in REQUIRED or columns.get(name)]
    if there and (missing := [name for name in asked if (columns.get(name) or name) not in there]):
        lacking = {
            name: f"{given}, which data.columns names for {name}" if (given := columns.get(name)) else name
            for name in missing
        }
        raise ValueError(missing_columns(path, lacking, columns, others))
    table = read_table(path, wanted, [name for name in REQUIRED if name in scalars and name not in PEAK])
    table = table.rename(columns=own)
    arrays: dict[str, NDArray[Any]] = {name: table[name].to_numpy(str) for name in scalars if name in table}
    for name in own.values():
        arrays[name] = np.where(arrays[name] == "", "nan", arrays[name])
    for name, found in samples.items():
        if found:
            digits = len(prefixes[name])
            in_order = sorted((int(column[digits:]), column) for column in found)
            arrays[name] = table[[column for _, column in in_order]].to_numpy(str)
    called = {name: columns.get(name) or name for name in scalars} | {name: f"{prefixes[name]}..." for name in SIGNALS}
    used = {*called.values(), *samples["waveforms"], *samples["clean"]}
    unused = [name for name in there if name not in used]
    return Table(path, arrays, table.index.to_numpy(np.int64), "line", called, unused)


def _header(path: Path) -> list[str]:
    """Return the names of the columns; none for a file that cannot be read, since `read_table` says why."""
    try:
        return [str(name).strip() for name in pandas.read_csv(path, nrows=0, encoding="utf-8-sig").columns]
    except (OSError, ValueError, UnicodeError):
        return []


def _called(
    path: Path, columns: Mapping[str, str | None], there: Sequence[str], names: Sequence[str]
) -> dict[str, str]:
    """Return the name in the file of each array that it has."""
    called: dict[str, str] = {}
    lacking: dict[str, str] = {}
    for name in names:
        given = columns.get(name)
        key = given or name
        if key in there:
            called[name] = key
        elif given or name in REQUIRED:
            lacking[name] = f"{given}, which data.columns names for {name}" if given else name
    if lacking:
        raise ValueError(missing_columns(path, lacking, columns, there, "array"))
    return called


def _joined(parts: Sequence[Records], splits: Sequence[str], paths: Sequence[Path]) -> Records:
    """Join the records of the files, each with the split of its file."""
    with_split = []
    for part, split, path in zip(parts, splits, paths, strict=True):
        if split and part.split is not None:
            raise ValueError(f"{path} is named for the split {split} and has a column split; expected one of them")
        if len(parts) > 1 and part.split is not None:
            raise ValueError(f"{path} has a column split and stands beside files of a split; expected one of them")
        named = split or ("train" if len(parts) > 1 else "")
        with_split.append(replace(part, split=np.full(len(part.label), named)) if named else part)
    if len({part.clean is None for part in parts}) > 1:
        without = next(path for part, path in zip(parts, paths, strict=True) if part.clean is None)
        raise ValueError(f"{without} has no clean and another file has; expected it in all files or in none")
    joined: dict[str, Any] = {
        name: None if values is None else np.concatenate([getattr(part, name) for part in with_split])
        for name, values in vars(with_split[0]).items()
    }
    return Records(**joined)
