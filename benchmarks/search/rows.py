"""Rows of a benchmark, in a file with one JSON object a line. A second call goes on where the first one ended."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any, TypeVar

Job = TypeVar("Job")
Row = dict[str, Any]


def read(file: Path) -> list[Row]:
    """Return the rows that a file holds; none if there is no file."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def fill(
    file: Path,
    jobs: Mapping[Hashable, Job],
    key: Callable[[Row], Hashable],
    work: Callable[[Job], Row],
    processes: int | None = None,
) -> list[Row]:
    """Do the jobs whose rows the file does not hold, and append their rows as they come.

    Args:
        file: of the rows.
        jobs: by the key of their row.
        key: returns the key of a row.
        work: returns the row of a job; it is called in other processes.
        processes: their number; None: as many as there are cores.

    Returns:
        All rows of the file.
    """
    rows = read(file)
    known = {key(row) for row in rows}
    missing = [job for name, job in jobs.items() if name not in known]
    if not missing:
        return rows
    with multiprocessing.get_context("spawn").Pool(processes) as pool, file.open("a") as out:
        for done, row in enumerate(pool.imap_unordered(work, missing), start=1):
            rows.append(row)
            out.write(json.dumps(row) + "\n")
            out.flush()
            print(f"\r{done} of {len(missing)}", end="", flush=True)
    print()
    return rows


def search_of(row: Row) -> Hashable:
    """Return the key of the row of a search: policy, family, task and seed."""
    return row["policy"], row["family"], row["task"], row["seed"]


def key_of(row: Row) -> Hashable:
    """Return the key of a row that holds it."""
    return tuple(row["key"])
