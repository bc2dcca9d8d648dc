"""Which files runs in MLflow lack of those that they should have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpo import layout
from hpo.trackers.mlflow.client import files_of

if TYPE_CHECKING:
    from mlflow.entities import Run

# A store of artifacts tells of one run at a time, and a far one is waited for.
_AT_ONCE = 8
# Files that are complete when a trial ends. A report may be written anew, and a child of the trial may go on printing.
_COMPLETE = (layout.HISTORY, layout.ERROR)


@dataclass(frozen=True)
class Listed:
    """number: of the run's trial; None of the parent. files: those that are here."""

    number: int | None
    run: Run
    files: Sequence[Path]


def lacking(uri: str, wanted: Sequence[Listed]) -> Iterator[tuple[Listed, list[str]]]:
    """Those that lack files, or have a history or a traceback of another size, with the files' names. Raises
    what the store of artifacts does when it is away."""
    asked = [listed for listed in wanted if listed.files]

    def names(listed: Listed) -> list[str]:
        there = files_of(uri, listed.run)
        # A report that was written anew, in another language perhaps, comes to MLflow with the next run.
        later = set(layout.REPORTS) if there.keys() & set(layout.REPORTS) else set()
        return [
            file.name
            for file in listed.files
            if (file.name not in there and file.name not in later)
            or (file.name in _COMPLETE and there.get(file.name) not in (None, file.stat().st_size))
        ]

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            for listed, missing in zip(asked, pool.map(names, asked), strict=True):
                if missing:
                    yield listed, missing
        finally:
            pool.shutdown(cancel_futures=True)
