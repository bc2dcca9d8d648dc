"""Rows of figures in a file of JSON lines, each written whole as soon as it is there."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class Results:
    """The file. Several processes may append to it one after the other."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, part: str, **row: Any) -> None:
        """Append a row of a part."""
        with self._path.open("a") as file:
            file.write(json.dumps({"part": part, **row}) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def end(self, part: str, how: str, seconds: float, left_out: Sequence[str] = ()) -> None:
        """Append the line that says how a part ended, and what it left out."""
        self.add(part, ended=how, seconds=round(seconds, 1), left_out=list(left_out))


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file; a line that a kill has cut short is none."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows
