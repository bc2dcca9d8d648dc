"""History of a trial, `trials/N/history.jsonl`: every metric of every step.

A row is `{"step": 3, "time": 1763733600.0, "attempt": 1, "metrics": {"val_loss": 0.25}, "owner": "9f2c61d0",
"crc": "1c291ca3"}`, with the time in seconds since the epoch. JSON has no NaN: values that are not finite are the
strings "nan", "inf" and "-inf". Optuna keeps one float a step, and none with several objectives, so this file is the
truth.

The owner (`mark_of`) says to which trial a row belongs: a file may have been swapped, or be left from another study. A
trial that went on from a lost attempt has the rows of that too. The CRC-32 is that of the row before it. Earlier
versions of hpo wrote neither.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import zlib
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, Protocol

from hpo import layout
from hpo.machine.files import NotPlainError, open_plain, parse_json, read_plain, write_atomically
from hpo.trial import LARGEST_STEP

LARGEST_TIME = 253402214400.0  # in seconds since the epoch: the end of the year 9999, where calendars end

_CRC = ',"crc":"'
_OWNER = re.compile(r',"owner":"([0-9a-f]{16})","crc":"[0-9a-f]{8}"}$')


@dataclass(frozen=True)
class Step:
    """Metrics of a step, reported at `time` (seconds since the epoch) by the attempt of that number.

    owner: the mark of the trial to which a row of a file belongs; empty if it has none.
    """

    step: int
    time: float
    attempt: int
    metrics: Mapping[str, float]
    owner: str = field(default="", compare=False)


def mark_of(number: int, started: float) -> str:
    """Return the mark of a trial in the rows of its history.

    Args:
        number: the trial's.
        started: its start in seconds since the epoch, as the storage has it, which no two trials of a number share.
    """
    return hashlib.sha256(f"{number} {started!r}".encode()).hexdigest()[:16]


class Writer(Protocol):
    """Writer of a history."""

    def append(self, step: Step) -> None:
        """Write a step."""

    def close(self) -> None:
        """Close the file."""


class HistoryWriter:
    """Writer that appends rows, one write and one flush each, so that a killed driver loses at most the last row.

    A file that the objective has removed, with its trial's folder perhaps, is written again with all its rows. Rows
    that cannot be written are kept for the next try.

    Args:
        path: the file.
        owner: the mark of the trial (`mark_of`).
    """

    def __init__(self, path: Path, owner: str = "") -> None:
        self._path = path
        self._unwritten = ""
        self._file = self._opened()
        self._owner = owner
        if not _ends_with_line(path):
            self._file.write("\n")

    def append(self, step: Step) -> None:
        """Write a step."""
        self._write(_row(replace(step, owner=self._owner)))

    def close(self) -> None:
        """Close the file, once or more often."""
        if self._file.closed:
            return
        try:
            self._write("")
        finally:
            self._file.close()

    def _write(self, row: str) -> None:
        self._unwritten += row
        if not self._in_place():
            # What was removed can be read as long as it is open.
            self._file.seek(0)
            content, removed = self._file.read(), self._file
            self._file = self._opened()
            removed.close()
            self._unwritten = content + self._unwritten
        self._file.write(self._unwritten)
        self._file.flush()
        self._unwritten = ""

    def _opened(self) -> IO[str]:
        layout.make_trial_directory(self._path.parent)
        if self._path.exists():
            open_plain(self._path).close()
        return self._path.open("a+", encoding="utf-8", errors="replace")

    def _in_place(self) -> bool:
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self._file.fileno()))
        except OSError:
            return False


def write(path: Path, steps: Iterable[Step]) -> None:
    """Write a whole history, in place of the file that is there."""
    layout.make_trial_directory(path.parent)
    write_atomically(path, "".join(map(_row, steps)))


def _row(step: Step) -> str:
    metrics = {name: value if math.isfinite(value) else str(value) for name, value in step.metrics.items()}
    row = {"step": step.step, "time": round(step.time, 3), "attempt": step.attempt, "metrics": metrics}
    text = json.dumps(row | ({"owner": step.owner} if step.owner else {}), separators=(",", ":"))[:-1]
    return f'{text}{_CRC}{zlib.crc32(text.encode()):08x}"}}\n'


def read(path: Path) -> list[Step]:
    """Return the steps of a history file in ascending order, the rows of each put together (see `merge`).

    Damaged lines are left out. Without a file there are no steps.
    """
    return merge(rows(path))


def merge(pieces: Iterable[Step]) -> list[Step]:
    """Return one Step for each step, in ascending order.

    A step may be reported in pieces, such as the metrics of training and then those of validation, and a resumed trial
    reports some steps again. So of each name the latest value counts, whatever it is, NaN too; a name that is not
    reported again keeps its value, also from an earlier attempt, whose checkpoint the trial went on from. Time and
    attempt are those of the latest piece, with which the step was whole.

    Args:
        pieces: rows in the order in which they were written.
    """
    steps: dict[int, Step] = {}
    for piece in pieces:
        before = steps.get(piece.step)
        steps[piece.step] = piece if before is None else replace(piece, metrics={**before.metrics, **piece.metrics})
    return [steps[number] for number in sorted(steps)]


def rows(path: str | Path, owners: Container[str] | None = None) -> list[Step]:
    """Return the rows of a history file as they were written, without damaged ones.

    What is no plain file, or cannot be one of a history for its size, has none.

    Args:
        path: the file.
        owners: the marks of the trials whose rows are returned; None: those of all. Rows without an owner, as earlier
            versions of hpo wrote them, always are.

    Raises:
        OSError: this user may not read it, or the disk fails.
    """
    try:
        lines = read_plain(path).decode(errors="replace").splitlines()
    except (FileNotFoundError, NotADirectoryError, NotPlainError):
        return []
    return [row for row in rows_of(lines) if owners is None or not row.owner or row.owner in owners]


def is_whole_row_of(line: str, owner: str) -> bool:
    """Return True if a line is as it was written, and names this owner."""
    return owner_in(line) == owner and _is_sound(line)


def owner_in(line: str) -> str:
    """Return the owner that a line names, without reading the rest of it; empty if it names none."""
    found = _OWNER.search(line)
    return found[1] if found else ""


def row_of(line: str) -> Step | None:
    """Return the row that a line of a history file holds; None if it is damaged."""
    return next(rows_of([line]), None)


def rows_of(lines: Iterable[str]) -> Iterator[Step]:
    """Return the rows that lines of a history file hold, without damaged ones."""
    sound = [line for line in lines if _is_sound(line)]
    try:
        found = parse_json(f"[{','.join(sound)}]")  # several times as fast as line by line
    except ValueError:
        found = list(_intact(sound))
    return filter(None, map(_step, found))


def _is_sound(line: str) -> bool:
    """Return False if a line does not have the CRC that it says."""
    text, found, crc = line.rpartition(_CRC)
    return not found or f'{zlib.crc32(text.encode()):08x}"}}' == crc.rstrip()


def lacking(steps: Iterable[Step], numbers: Iterable[int], name: str) -> set[int]:
    """Return those of the `numbers` of steps in which `steps` have no value of the metric `name`."""
    return set(numbers) - {step.step for step in steps if name in step.metrics}


def _step(row: Any) -> Step | None:
    """Return a row of a file as a Step; None if it is none."""
    try:
        number, time, attempt = row["step"], float(row["time"]), row["attempt"]
        metrics = {name: float(value) for name, value in row["metrics"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return None
    whole = type(number) is type(attempt) is int and 0 <= number <= LARGEST_STEP and 0 <= attempt <= LARGEST_STEP
    if not whole or not 0 <= time < LARGEST_TIME:
        return None
    return Step(number, time, attempt, metrics, str(row.get("owner", "")))


def _intact(lines: Iterable[str]) -> Iterator[Any]:
    for line in lines:
        with contextlib.suppress(ValueError):
            yield parse_json(line)


def _ends_with_line(path: Path) -> bool:
    with open_plain(path) as file:
        if file.seek(0, os.SEEK_END) == 0:
            return True
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"
