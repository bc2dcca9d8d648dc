"""Checks of storages: away, gone, torn or damaged; and which studies cannot be read for it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from optuna.storages import BaseStorage

from hpo.doctor.context import StudyContext
from hpo.doctor.finding import Finding
from hpo.doctor.quarantine import free_name
from hpo.errors import StorageError, StorageLocked
from hpo.machine.sqlite_uri import sqlite_path
from hpo.storage.journal import JOURNAL_SCHEME, journal_lock, repair_journal, torn_line
from hpo.storage.open import open_storage, storage_file
from hpo.text import listing, redact
from hpo.trackers.mlflow.place import read_place, tracking_uri
from hpo.trackers.mlflow.store import is_half_made

# Seconds that MLflow may take for it on a slow machine.
_BEING_MADE = 60.0
# Seconds that a driver may take to write one line of a journal.
_WRITE_SECONDS = 1.0


def torn_journal(url: str, fix: bool) -> Iterator[Finding]:
    """Find a journal whose last line is torn. Its lock is taken only to fix it."""
    path = storage_file(url)
    if path is None or not url.startswith(JOURNAL_SCHEME) or not path.exists():
        return
    torn = torn_line(path)
    if torn:
        # It may be what a driver was just writing.
        if fix:
            with suppress(OSError), journal_lock(path):
                torn = torn_line(path)
        else:
            time.sleep(_WRITE_SECONDS)
            torn = torn if torn_line(path) == torn else b""
    if torn:
        yield Finding(
            "journal-torn", "", None,
            f"{path}: the last line of the journal is torn ({len(torn)} bytes), as by a power cut or a kill; every "
            "line before it is whole",
            "certain", f"end it with a whole line, and keep what is cut off in {path.name}.damaged",
            partial(_repair, path),
        )  # fmt: skip


def opened(url: str, names: Sequence[str], fix: bool) -> BaseStorage | Finding:
    """Open the storage of studies for reading, or for fixing too, or return why that fails.

    Nothing is made or repaired.
    """
    whose = f"study {names[0]}" if len(names) == 1 else f"studies {listing(names)}"
    path = storage_file(url)
    if path is not None and not path.exists():
        return Finding(
            "storage-missing", "", None, f"{path}, the storage of {whose}, is gone", "certain",
            "bring it back from a backup, or mount what it is on; `hpo run` would start a new one",
        )  # fmt: skip
    try:
        return open_storage(url, keep=False, repair=False, readonly=not fix)
    except StorageError as error:
        return Finding(
            "storage-unreadable", "", None, f"the storage of {whose}: {error}", "certain", _remedy(url, error)
        )


def half_made_mlflow(context: StudyContext) -> Iterator[Finding]:
    """Find a store on which MLflow died while it made it."""
    known = read_place(context.directory)
    path = sqlite_path(tracking_uri(context.spec, context.runs, known.tracking_uri if known else ""))
    if context.driver is not None or path is None or not is_half_made(path):
        return
    if time.time() - path.stat().st_mtime > _BEING_MADE:
        yield Finding(
            "mlflow-half-made", context.name, None,
            f"{path} was never finished: MLflow died while it made it. It holds no runs, and cannot be opened",
            "certain", f"set it aside as {path.name}.damaged, so that a new one is made", partial(_start_anew, path),
        )  # fmt: skip


def _start_anew(path: Path) -> None:
    for beside in ("-wal", "-shm", "-journal"):
        path.with_name(f"{path.name}{beside}").unlink(missing_ok=True)
    path.rename(free_name(path.with_name(f"{path.name}.damaged")))


def _remedy(url: str, error: StorageError) -> str:
    if isinstance(error, StorageLocked):
        return "end what holds it, or look again later"
    if url.startswith(JOURNAL_SCHEME):
        return "as said there; what a damaged line held is for you to judge, so that --fix does not touch it"
    if sqlite_path(url) is not None:
        return "bring the file back from a backup, or try `sqlite3 FILE .recover`"
    return f"start the database, or look whether this host may reach {redact(url)}"


def _repair(path: Path) -> None:
    with journal_lock(path):
        torn = torn_line(path)
        if torn:
            free_name(path.with_name(f"{path.name}.damaged")).write_bytes(torn)
            repair_journal(path)
