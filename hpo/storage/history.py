"""History of a trial, `trials/N/history.jsonl`: every metric of every step.

A row is `{"step": 3, "time": 1763733600.0, "attempt": 1, "metrics": {"val_loss": 0.25}}`, with the time in seconds
since the epoch. JSON has no NaN: values that are not finite are the strings "nan", "inf" and "-inf". Optuna keeps one
float a step, and none with several objectives, so this file is the truth.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from hpo.machine.files import write_atomically


@dataclass(frozen=True)
class Step:
    """Metrics of a step, reported at `time` (seconds since the epoch) by the attempt of that number."""

    step: int
    time: float
    attempt: int
    metrics: Mapping[str, float]


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
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._unwritten = ""
        self._file = self._opened()
        self._file.seek(0)
        content = self._file.read()
        if content and not content.endswith("\n"):
            self._file.write("\n")

    def append(self, step: Step) -> None:
        """Write a step."""
        self._write(_row(step))

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
        self._path.parent.mkdir(parents=True, exist_ok=True)
        return self._path.open("a+", encoding="utf-8", errors="replace")

    def _in_place(self) -> bool:
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self._file.fileno()))
        except OSError:
            return False


def write(path: Path, steps: Iterable[Step]) -> None:
    """Write a whole history, in place of the file that is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, "".join(map(_row, steps)))


def _row(step: Step) -> str:
    metrics = {name: value if math.isfinite(value) else str(value) for name, value in step.metrics.items()}
    row = {"step": step.step, "time": round(step.time, 3), "attempt": step.attempt, "metrics": metrics}
    return json.dumps(row, separators=(",", ":")) + "\n"


def read(path: Path) -> list[Step]:
    """Return the steps of a history file in ascending order.

    Of a step that was reported twice the later row counts: a resumed trial repeats some steps. Torn lines are left out.
    Without a file there are no steps.
    """
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    try:
        rows = json.loads(f"[{','.join(lines)}]")  # several times as fast as line by line
    except ValueError:
        rows = list(_intact(lines))
    steps: dict[int, Step] = {}
    for row in rows:
        try:
            metrics = {name: float(value) for name, value in row["metrics"].items()}
            steps[row["step"]] = Step(row["step"], row["time"], row["attempt"], metrics)
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return [steps[number] for number in sorted(steps)]


def _intact(lines: Iterable[str]) -> Iterator[Any]:
    for line in lines:
        with contextlib.suppress(ValueError):
            yield json.loads(line)
