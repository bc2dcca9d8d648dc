"""The reader of a user's folder: the files of each split, found by their names or listed in a CSV.

A task names what it looks for, such as "images", "records" or a class of sounds. In the user's folder that is

    NAME                          of no split
    SPLIT_NAME or SPLIT/NAME      of the split train, val or test

each a folder, or a file with one of the task's endings. Or a CSV lists the files, with a value, a patient and a split
for each. Every way in which they can be wrong has a sentence.
"""

from __future__ import annotations

import difflib
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas

from objectives.splits import SPELLINGS, SPLITS
from objectives.tables import read_table
from objectives.wording import holds, meant


@dataclass(frozen=True)
class Layout:
    """Names of a task's folders and files, and their places in a user's folder.

    Attributes:
        names: The names to look for.
        suffixes: The endings of files, in small letters; "" for a folder.
        folder: What the user's folder is, for messages: "a folder with images and masks".
        expected: What it should hold, for messages.
    """

    names: tuple[str, ...]
    suffixes: tuple[str, ...]
    folder: str
    expected: str

    def find(self, root: Path) -> dict[str, dict[str, Path]]:
        """Return the places that there are by split ("": none) and by name.

        Raises:
            ValueError: `root` is no folder, or a name stands in two places.
        """
        check_folder(root, self.folder)
        found: dict[str, dict[str, Path]] = {}
        for split in ("", *SPLITS):
            for name in self.names:
                places = self._places(root, split, name)
                if len(places) > 1:
                    raise ValueError(f"{places[0]} and {places[1]} are both there; expected one of them")
                if places:
                    found.setdefault(split, {})[name] = places[0]
        return found

    def nothing_found(self, root: Path) -> ValueError:
        """Return the error for a folder that holds nothing of this layout, with what may have been meant."""
        held = names_in(root)
        return ValueError(f"{root} {holds(held)}; expected {self.expected}.{self._meant(root, held)}")

    def _places(self, root: Path, split: str, name: str) -> list[Path]:
        places = [(root / split, name), (root, f"{split}_{name}")] if split else [(root, name)]
        return [
            entry
            for folder, wanted in places
            if folder.is_dir()
            for suffix in self.suffixes
            for entry in sorted(folder.iterdir())
            if (entry.name == wanted and entry.is_dir() and not suffix)
            or (entry.stem == wanted and entry.suffix.lower() == suffix and entry.is_file())
        ]

    def _meant(self, root: Path, held: Sequence[str]) -> str:
        for name in held:
            if any(self._places(root / name, split, one) for split in ("", *SPLITS) for one in self.names):
                return f" Did you mean its folder '{name}'?"
        splits = ("", *(f"{split}_" for split in SPLITS))
        expected = [f"{split}{name}{end}" for split in splits for name in self.names for end in self.suffixes]
        for name in held:
            if match := difflib.get_close_matches(name.lower(), expected, n=1, cutoff=0.75):
                return f" Should '{name}' be '{match[0]}'?"
        return ""


@dataclass(frozen=True)
class Listing:
    """Columns of a task's CSV, and the files that it lists.

    Attributes:
        kind: What a file is, for messages: "image".
        suffixes: The endings of such files, in small letters.
        value: The column beside `file` that must be there.
        decode: Returns the value of a cell, or None for a file that is not needed. Its ValueError says what is wrong,
            without the place.
        columns: What each column is called in the CSV; see `read_table`.
        aliases: Other names of columns; see `read_table`.
        everywhere: Look for files without a row in all folders; else only beside files that have one.
        ignore_extra: Pass over files without a row instead of refusing them.
    """

    kind: str
    suffixes: tuple[str, ...]
    value: str
    decode: Callable[[str], Any]
    columns: Mapping[str, str | None]
    aliases: Mapping[str, Sequence[str]] = field(default_factory=dict)
    everywhere: bool = True
    ignore_extra: bool = False

    def read(self, tables: Mapping[str, Path], folder: Path) -> tuple[pandas.DataFrame, int]:
        """Read the rows of all tables and find their files.

        Args:
            tables: The CSVs by split; "" for one that may have a column of splits.
            folder: The folder of the files.

        Returns:
            The rows in order: `file` as written, `path` (None for a file that is missing and not needed), `value`,
            `split` ("": none), and `patient` if it is there; and the number of files without a row.

        Raises:
            ValueError: Whatever is wrong with the tables or the files.
        """
        rows = pandas.concat([self._rows(table, split) for split, table in tables.items()], ignore_index=True)
        there = sorted(path for path in folder.rglob("*") if self._is_file(path))
        rows["path"] = self._paths(rows, folder, there)
        used = {path for path in rows["path"] if path is not None}
        beside = {path.parent for path in used}
        extra = [path for path in there if path not in used and (self.everywhere or path.parent in beside)]
        if extra and not self.ignore_extra:
            more = f" and {len(extra) - 1:,} more" if len(extra) > 1 else ""
            listed = " or ".join(map(str, tables.values()))
            raise ValueError(
                f"{extra[0]}{more} has no row in {listed}; expected a row for each {self.kind}, the file elsewhere, or "
                f"data.ignore_extra: true to leave it out.{meant(extra[0].name, [one.name for one in used])}"
            )
        return rows, len(extra)

    def _is_file(self, path: Path) -> bool:
        # Some systems leave a ._name beside each name.
        return path.suffix.lower() in self.suffixes and not path.name.startswith(".")

    def _rows(self, table: Path, split: str) -> pandas.DataFrame:
        rows = read_table(table, self.columns, ("file", self.value), self.aliases)
        rows["table"], rows["line"] = table, rows.index
        rows["value"] = _decoded(rows, self.value, self.decode)
        rows["split"] = _decoded(rows, "split", _split) if not split and "split" in rows else split
        if "patient" in rows and len(empty := rows.index[rows["patient"] == ""]):
            # They would all be taken for one patient.
            raise ValueError(
                f"{table}, line {empty[0]}: there is no patient; expected one in every row, or no column of that name"
            )
        return rows

    def _paths(self, rows: pandas.DataFrame, folder: Path, there: Sequence[Path]) -> list[Path | None]:
        called = _names(there, folder)
        found: list[Path | None] = []
        place_of: dict[Path, str] = {}
        for row in rows.itertuples():
            where, name = f"{row.table}, line {row.line}", row.file
            candidates = _candidates(name, called, folder)
            if len(candidates) > 1:
                names = " and ".join(str(path.relative_to(folder)) for path in candidates[:2])
                raise ValueError(
                    f"{where}: {name} may be {names} in {folder}; expected the name with its folder and its extension"
                )
            path = candidates[0] if candidates else None
            if path is None and row.value is not None:
                missing = sum(not _candidates(one, called, folder) for one in rows["file"])
                more = f" ({missing} of {len(rows)} are missing)" if missing > 1 else ""
                whole = Path(name).suffix.lower() in self.suffixes
                expected = "such a file" if whole else f"{name}{' or '.join(self.suffixes)}"
                raise ValueError(
                    f"{where}: there is no {self.kind} {name} in {folder}{more}; expected {expected}, or the line left "
                    f"out.{meant(Path(name).name, [one.name for one in there])}"
                )
            if path is not None:
                first = place_of.setdefault(path, where)
                if first != where:
                    raise ValueError(
                        f"{where}: {name} is the {self.kind} {path.name} of {first.removeprefix(f'{row.table}, ')}; "
                        f"expected each {self.kind} once"
                    )
            found.append(path)
        return found


def check_folder(root: Path, expected: str) -> None:
    """Raise ValueError, with the nearest folder beside it, if `root` is no folder.

    Args:
        root: The user's folder.
        expected: What it should be: "a folder of sounds".
    """
    if not root.is_dir():
        problem = "is a file" if root.exists() else "does not exist"
        raise ValueError(f"{root} {problem}; expected {expected}.{meant(root.name, names_beside(root))}")


def names_beside(path: Path, files: bool = False) -> list[str]:
    """Return the names of the folders, and of the files if asked, that stand where a path should be."""
    entries = path.parent.iterdir() if path.parent.is_dir() else ()
    return [entry.name for entry in entries if files or entry.is_dir()]


def names_in(folder: Path) -> list[str]:
    """Return the names in a folder in their natural order, without hidden ones."""
    return [path.name for path in sorted(folder.iterdir(), key=natural) if not path.name.startswith(".")]


def natural(path: Path) -> list[tuple[int, int, str]]:
    """Return a key that sorts slice2 before slice10."""
    parts = re.findall(r"\d+|\D+", path.stem)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts]


def _decoded(rows: pandas.DataFrame, column: str, decode: Callable[[str], Any]) -> pandas.Series:
    values = []
    for table, line, cell in zip(rows["table"], rows["line"], rows[column], strict=True):
        try:
            values.append(decode(cell))
        except ValueError as error:
            raise ValueError(f"{table}, line {line}: {error}") from None
    return pandas.Series(values, rows.index, dtype=object)


def _split(cell: str) -> str:
    if (split := SPELLINGS.get(cell.lower())) is None:
        raise ValueError(f"split {cell!r} is not known; expected train, val or test.{meant(cell, SPELLINGS)}")
    return split


def _names(there: Iterable[Path], folder: Path) -> tuple[dict[str, list[Path]], ...]:
    """Names that a file may have in a CSV, the most exact first: with or without its folder and its extension."""
    called: tuple[dict[str, list[Path]], ...] = tuple(defaultdict(list) for _ in range(4))
    for path in there:
        inside = path.relative_to(folder)
        for way, name in enumerate((inside.as_posix(), inside.with_suffix("").as_posix(), path.name, path.stem)):
            called[way][name].append(path)
    return called


def _candidates(name: str, called: Sequence[Mapping[str, list[Path]]], folder: Path) -> list[Path]:
    plain = name.replace("\\", "/").removeprefix("./")
    for one in (plain, plain.removeprefix(f"{folder.name}/")):
        if found := next((names[one] for names in called if one in names), []):
            return found
    exact = Path(os.path.normpath(folder / name))  # An absolute path, one with "..", or one of another ending.
    return [exact] if exact.is_file() else []
