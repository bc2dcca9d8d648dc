"""Checks of storages: away, gone, torn or damaged; and which studies cannot be read for it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import cache, partial
from pathlib import Path

from optuna.storages import BaseStorage
from optuna.study import StudyDirection

from hpo import layout
from hpo.doctor.context import StudyContext
from hpo.doctor.finding import Finding, Sure
from hpo.doctor.journal_pieces import pieces_of
from hpo.doctor.journal_repair import KnownStudy, Repair
from hpo.errors import HpoError, StorageError, StorageLocked
from hpo.machine.files import write_atomically
from hpo.machine.sqlite_uri import sqlite_path
from hpo.spec import identity
from hpo.spec.load import load_spec
from hpo.storage.driver_lock import driver_lock, driver_of
from hpo.storage.journal import JOURNAL_SCHEME, end_torn_record, torn_record
from hpo.storage.journal_lock import journal_lock
from hpo.storage.lost_and_found import free_name, keep_damaged
from hpo.storage.open import open_storage, storage_file, storage_url
from hpo.text import listing, redact
from hpo.trackers.mlflow.place import read_place, tracking_uri
from hpo.trackers.mlflow.store import is_half_made

# Seconds that MLflow may take for it on a slow machine.
_BEING_MADE = 60.0
# Seconds that a driver may take to write one line of a journal.
_WRITE_SECONDS = 1.0


def torn_journal(url: str, fix: bool) -> Iterator[Finding]:
    """Find a journal whose last record is torn. Nobody reads it, and the next writer cuts it off.

    Its lock is taken only to fix it.
    """
    path = _journal(url)
    if path is None:
        return
    torn = _torn(path)
    if torn:
        # It may be what a driver was just writing.
        if fix:
            with suppress(OSError, StorageLocked), journal_lock(path):
                torn = _torn(path)
        else:
            time.sleep(_WRITE_SECONDS)
            torn = torn if _torn(path) == torn else b""
    if torn:
        yield Finding(
            "journal-torn", "", None,
            f"{path}: the last line of the journal is torn ({len(torn)} bytes), as by a power cut or a kill; every "
            "line before it is whole",
            "certain", f"end it with a whole line, and keep what is cut off in {path.name}.damaged",
            partial(_end_torn, path),
        )  # fmt: skip


def damaged_journal(url: str, runs: Path) -> Iterator[Finding]:
    """Find damaged records of a journal, and creations that were removed from it."""
    path = _journal(url)
    if path is None:
        return
    pieces = list(pieces_of(path))
    if not Repair(pieces, ()).losses:
        return
    known, folders = _studies_of(url, runs)
    driven = [folder.name for folder in folders if _may_be_driven(folder)]
    # One repair mends them all.
    repair = cache(partial(_repair, path, known, folders))
    for loss in Repair(pieces, known).losses.values():
        said = f"{path}:{loss.line}: {loss.was} is damaged: {loss.why}"
        if not loss.why:
            said = f"{path}:{loss.line}: a line before this one was removed: {loss.was}"
        remedy = f"{loss.done}, and keep the file as it is as {path.name}.damaged"
        if driven:
            remedy += f" (once the drivers of {listing(driven)} have ended: they read the same journal)"
        sure: Sure = "certain" if loss.why else "likely"
        yield Finding("journal-damaged", "", None, said, sure, remedy, None if driven else repair)


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
        return open_storage(url, keep=False, readonly=not fix)
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
        return "as said there"
    if sqlite_path(url) is not None:
        return "bring the file back from a backup, or try `sqlite3 FILE .recover`"
    return f"start the database, or look whether this host may reach {redact(url)}"


def _journal(url: str) -> Path | None:
    path = storage_file(url)
    if path is None or not url.startswith(JOURNAL_SCHEME) or not path.is_file() or not os.access(path, os.R_OK):
        return None
    return path


def _torn(path: Path) -> bytes:
    with path.open("rb") as file:
        return torn_record(file.fileno())[1]


def _end_torn(path: Path) -> None:
    with journal_lock(path), path.open("ab+") as file:
        _, torn = torn_record(file.fileno())
        if torn:
            free_name(path.with_name(f"{path.name}.damaged")).write_bytes(torn)
            end_torn_record(file.fileno())
            os.fsync(file.fileno())


def _studies_of(url: str, runs: Path) -> tuple[list[KnownStudy], list[Path]]:
    """Return the studies that a runs folder has in a storage, and the folders of those that it may have there."""
    known: list[KnownStudy] = []
    folders: list[Path] = []
    for name in layout.studies_in(runs):
        folder = layout.study_directory(runs, name)
        try:
            spec = load_spec(folder / layout.SPEC, locate=False)
        except HpoError:
            folders.append(folder)
            continue
        if storage_url(spec, runs) == url:
            folders.append(folder)
            directions = [StudyDirection[metric.direction.upper()].value for metric in spec.metrics]
            known.append(KnownStudy(name, directions, json.loads(json.dumps(identity.to_json(spec.identity())))))
    return known, folders


def _may_be_driven(folder: Path) -> bool:
    try:
        return driver_of(folder) is not None
    except OSError:
        return True


def _repair(path: Path, known: Sequence[KnownStudy], folders: Sequence[Path]) -> None:
    """Replace damaged records. No study of the journal is driven meanwhile: its driver knows by heart how far it read.

    A reader that is hpo's notices that the file is another, and reads it from its beginning.
    """
    with ExitStack() as stack:
        for folder in folders:
            stack.enter_context(driver_lock(folder))
        stack.enter_context(journal_lock(path))
        target = path.resolve()
        pieces = list(pieces_of(target))
        repair = Repair(pieces, known)
        if not repair.losses:
            return
        keep_damaged(target)
        rights = target.stat()
        content = b"".join(repair.content(memoryview(target.read_bytes())))
        write_atomically(target, content)
        target.chmod(rights.st_mode)
        with suppress(OSError):
            os.chown(target, rights.st_uid, rights.st_gid)
