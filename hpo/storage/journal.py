"""Journal file of Optuna: its lock, its scheme in a URL, and the repair of a last line that a power cut tore."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.storages.journal import JournalFileSymlinkLock

from hpo.errors import StorageError

if TYPE_CHECKING:
    import optuna


JOURNAL_SCHEME = "journal:"


class _JournalLock(JournalFileSymlinkLock):
    """Lock on the journal that optuna-dashboard takes too, but that a killed driver does not leave behind.

    Optuna's own lock is a link, which stays after a kill until 30 seconds are over. hpo's processes first take a kernel
    lock, which dies with its holder. Their link spells the journal's path in a way of its own (`/./`). So a link of
    that spelling, found while holding the kernel lock, was left by a dead process.
    """

    def __init__(self, journal: Path) -> None:
        self._own = f"{journal.parent}/./{journal.name}"
        super().__init__(self._own)
        self._file: int | None = None

    def acquire(self) -> bool:
        """Take the kernel lock, then Optuna's."""
        file = os.open(self._own + ".flock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        fcntl.flock(file, fcntl.LOCK_EX)
        with contextlib.suppress(OSError):
            if os.readlink(self._own + ".lock") == self._own:
                os.unlink(self._own + ".lock")
        acquired = super().acquire()
        self._file = file
        return acquired

    def release(self) -> None:
        """Give up Optuna's lock, then the kernel's."""
        try:
            super().release()
        finally:
            if self._file is not None:
                os.close(self._file)
                self._file = None


@contextlib.contextmanager
def journal_lock(path: Path) -> Iterator[None]:
    """Keep everybody else from writing the journal. Hold it briefly: drivers wait for it."""
    lock = _JournalLock(path)
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


def open_journal(path: Path, say: Any, repair: bool) -> optuna.storages.JournalStorage:
    """Open or create a journal.

    Args:
        path: the file.
        say: told of a repair, or None.
        repair: repair a torn last line; otherwise it is ignored.

    Raises:
        StorageError: a line before the last is damaged.
    """
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    path.parent.mkdir(parents=True, exist_ok=True)
    if repair and path.exists():
        with journal_lock(path):
            repaired = repair_journal(path)
        if repaired and say is not None:
            say(repaired)
    try:
        return JournalStorage(JournalFileBackend(str(path), lock_obj=_JournalLock(path)))
    except ValueError as error:
        raise StorageError(
            f"{path}:{_damaged_line(path)}: this line of the journal is not JSON ({error}); the lines before it are "
            "whole. Copy the file, delete that line, and run the same command again"
        ) from error


def torn_line(path: Path) -> bytes:
    """Return the journal's last line if it lacks its line end or is not JSON, as after a power cut; else nothing.

    Without the journal's lock this may be a line that another process is writing.
    """
    with path.open("rb") as file:
        size = start = file.seek(0, os.SEEK_END)
        # A journal line is short: the line end before it is found within the last blocks.
        tail = b""
        while b"\n" not in tail[:-1] and start > 0:
            start = max(0, start - 65536)
            file.seek(start)
            tail = file.read(size - start)
    last = tail[tail.rfind(b"\n", 0, -1) + 1 :]
    return b"" if last.endswith(b"\n") and _is_json(last) else last


def repair_journal(path: Path) -> str:
    """Repair the journal's last line. Return what was done, or an empty string.

    A line that a power cut tore is cut off; if only its line end is missing, that is added. Call this under the
    journal's lock.
    """
    torn = torn_line(path)
    if not torn:
        return ""
    with path.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        if _is_json(torn):
            file.write(b"\n")
            done = "its last line lacked the line end, which was added"
        else:
            file.truncate(size - len(torn))
            done = f"its last line was torn by a power cut or a kill ({len(torn)} bytes) and was cut off"
        file.flush()
        os.fsync(file.fileno())
    return f"repaired {path}: {done}; every line before it is whole"


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _damaged_line(path: Path) -> int:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                json.loads(line)
            except ValueError:
                return number
    return 0
