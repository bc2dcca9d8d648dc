"""Journal file of Optuna, which many processes share: its scheme in a URL, how it is read, and how it is written.

A record that a full disk, a quota or a dead node cut off has no line end. Nobody reads it, and the next writer cuts it
off before it writes, under the lock. Otherwise it would be glued to the next record, and no study of the journal could
be read any more.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import time
import zlib
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

from optuna.exceptions import OptunaError
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend

from hpo.errors import StorageError
from hpo.storage.journal_lock import JournalLock
from hpo.storage.journal_records import (
    CREATE_TRIAL,
    INTERMEDIATE,
    LONGEST,
    PARAM,
    TRIAL_SYSTEM_ATTR,
    TRIAL_USER_ATTR,
    Record,
    parse,
)
from hpo.storage.journal_replay import Replay
from hpo.storage.journal_snapshot import Position, Snapshot
from hpo.storage.trial_attributes import OUTCOME
from hpo.text import one_line

JOURNAL_SCHEME = "journal:"
_MANY = 10_000  # trials

_BLOCK = 65536
_encoded = json.JSONEncoder(separators=(",", ":")).encode
# The disk is waited for at most once in so many seconds for records of a trial that runs (see `_can_wait`).
_FLUSH_SECONDS = 1.0


class JournalFile(BaseJournalBackend):
    """A journal file. It is made with its first record.

    Args:
        path: the file.
        say: told when the lock is waited for, and of a torn record that was cut off; or None.

    Attributes:
        lock: taken for each write.
        position: the place behind the line last read.
        last: the record in that line.
    """

    def __init__(self, path: Path, say: Callable[[str], object] | None = None) -> None:
        self.path = path
        self.lock = JournalLock(path, say)
        self.position = Position()
        self.last: Record = {}
        self._say = say or (lambda _: None)
        self._inode: int | None = None
        self._written: list[bytes] = []  # own lines that follow those read: nobody's come between
        self._flushed = -_FLUSH_SECONDS  # when, by the monotonic clock

    def read_logs(self, log_number_from: int) -> Generator[Record, None, None]:
        """Yield the records from this number on. A last line that is none is left out: it may be being written.

        Raises:
            StorageError: a line before the last is damaged.
        """
        if log_number_from != self.position.lines:
            self.position, self._written = Position(), []
        if self._written:  # others' come with the next call
            written, self._written = self._written, []
            for line in written:
                yield self._passed(line, json.loads(line))
            return
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            if self._inode is not None:
                raise
            return
        with file:
            self._inode = os.fstat(file.fileno()).st_ino
            file.seek(self.position.bytes)
            while (line := file.readline(LONGEST)).endswith(b"\n"):
                try:
                    record = parse(line)
                except ValueError as error:
                    if file.read(1):
                        raise self.damaged(str(error), self.position.lines + 1) from None
                    return
                self._passed(line, record)
                if self.position.lines > log_number_from:
                    yield record
            if len(line) == LONGEST:
                raise self.damaged(f"it is longer than {LONGEST >> 20} MiB", self.position.lines + 1)

    def _passed(self, line: bytes, record: Record) -> Record:
        lines, size, crc = self.position
        self.position = Position(lines + 1, size + len(line), zlib.crc32(line, crc))
        self.last = record
        return record

    def append_logs(self, logs: list[Record]) -> None:
        """Write records whole or not at all: no kill of a process takes them back.

        Before it returns they are also safe from a power cut, but for what is reported of running trials within a
        second: a power cut ends these trials.

        Raises:
            StorageLocked: somebody else holds the journal's lock for too long.
            StorageError: the last line is damaged.
            OSError: the disk is full, a quota is exceeded, or the file may not be written.
        """
        lines = [f"{_encoded(log)}\n".encode() for log in logs]
        self.lock.acquire()
        try:
            # One that was there and is gone is not made anew: what comes before these records would be missing.
            flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | (os.O_CREAT if self._inode is None else 0)
            file = os.open(self.path, flags, 0o666)
            try:
                state = os.fstat(file)
                read = (state.st_ino, state.st_size) == (self._inode, self.position.bytes)
                if not read:  # what was read ends with a whole line
                    self._end_torn(file)
                try:
                    _write(file, b"".join(lines))
                    self._flush(file, logs)
                except BaseException:
                    with contextlib.suppress(OSError, ValueError):
                        end_torn_record(file, whole=False)
                    raise
                self._written = lines if read else []
            finally:
                os.close(file)
        finally:
            self.lock.release()

    def _flush(self, file: int, logs: list[Record]) -> None:
        """Wait until the file is on the disk, unless these records can wait for the next ones."""
        now = time.monotonic()
        if now >= self._flushed + _FLUSH_SECONDS or not all(map(_can_wait, logs)):
            os.fsync(file)
            self._flushed = now

    def replaced(self) -> bool:
        """Return True if another file is there than the one read before: it was repaired, or brought back."""
        if self._inode is None or self._written:
            return False
        stat = self.path.stat()
        return stat.st_ino != self._inode or stat.st_size < self.position.bytes

    def damaged(self, why: str, line: int) -> StorageError:
        """Return the error that says which line is damaged, and what to do."""
        return StorageError(
            f"{self.path}:{line}: this record of the journal is damaged: {why}. `hpo doctor` says what it was, and "
            "`hpo doctor --fix` replaces it by a harmless one, so that all other records keep their places (deleting "
            "the line would renumber other trials). What was finished is kept; then give the same command again"
        )

    def _end_torn(self, file: int) -> None:
        try:
            torn = end_torn_record(file)
        except ValueError as error:
            raise StorageError(
                f"{self.path}: the last record of the journal is damaged: {error}. Nothing was written behind it; "
                "`hpo doctor` says what it was, and `hpo doctor --fix` replaces it by a harmless one"
            ) from None
        if torn:
            self._say(
                f"the last record of {self.path} was torn by a full disk, a power cut or a kill, and has been cut off "
                f"({len(torn)} bytes); every record before it is whole"
            )


class SharedJournalStorage(JournalStorage):
    """Optuna's storage on a journal that others write too, and that may be repaired meanwhile.

    Args:
        backend: the journal.
        keep: add to the journal's snapshot. Without it nothing is written but records.
    """

    _backend: JournalFile

    def __init__(self, backend: JournalFile, keep: bool) -> None:
        self._snapshot = Snapshot(backend.path)
        self._keep = keep
        super().__init__(backend)

    def stop_waiting(self) -> None:
        """Wait no longer for the journal's lock. For signal handlers."""
        self._backend.lock.stop_waiting()

    def _sync_with_backend(self) -> None:
        try:
            if not isinstance(self._replay_result, Replay):
                self._load()
            elif self._backend.replaced():
                self._start_anew()
            super()._sync_with_backend()
        except (OptunaError, StorageError, OSError):
            raise
        except Exception as error:
            if self._backend.last.get("worker_id") == self._replay_result.worker_id:
                raise
            self._replay_result.log_number_read -= 1  # it is not to be passed over the next time
            why = f"Optuna cannot replay it ({type(error).__name__}: {one_line(error)})"
            raise self._backend.damaged(why, self._replay_result.log_number_read + 1) from error
        if self._keep and isinstance(self._replay_result, Replay):
            self._snapshot.add(self._replay_result, self._backend.position)

    def _load(self) -> None:
        self._replay_result, self._backend.position = self._snapshot.load(self._worker_id_prefix)

    def _start_anew(self) -> None:
        """Replay the journal once more. What Optuna refused of this process's records it refuses again."""
        self._load()
        for record in self._backend.read_logs(self._replay_result.log_number_read):
            with contextlib.suppress(OptunaError, KeyError, ValueError):
                self._replay_result.apply_logs([record])


def open_journal(path: Path, say: Callable[[str], object] | None) -> SharedJournalStorage:
    """Open a journal. Reading takes no lock, changes nothing, and leaves a torn last record out.

    Args:
        path: the file. If there is none, the first record makes it.
        say: see JournalFile.

    Raises:
        StorageError: a record before the last is damaged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _no_garbage_collection():
        storage = SharedJournalStorage(JournalFile(path, say), keep=say is not None)
        if len(storage._replay_result._trials) >= _MANY:
            gc.freeze()  # millions of objects that stay: looking through them once takes a second
    return storage


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def torn_record(file: int) -> tuple[int, bytes]:
    """Return where the last line of a journal begins, and its bytes if it is torn; no bytes if it is ended.

    It is torn if it lacks its line end, or if a power cut left zeros in its place.
    """
    start, line = _last_line(file)
    return start, line if not line.endswith(b"\n") or not line.strip(b"\0\n") else b""


def end_torn_record(file: int, whole: bool = True) -> bytes:
    """End a journal's last line, so that a record can follow. Call it under the journal's lock.

    Readers leave a torn line out and read it again from its beginning the next time. So it can be cut off while they
    are at work. A whole record that lacks its line end gets one.

    Args:
        file: open for reading and appending.
        whole: keep a whole record that lacks its line end. Its writer may be told that it failed; then it must not.

    Returns:
        What was cut off.

    Raises:
        ValueError: the last line is ended, and no record; says why.
    """
    start, line = _last_line(file)
    if not line:
        return b""
    ended = line.endswith(b"\n")
    try:
        parse(line)
        if whole and not ended:
            os.write(file, b"\n")
        if whole or ended:
            return b""
    except ValueError:
        if ended and line.strip(b"\0\n"):
            raise
    os.ftruncate(file, start)
    return line


def _last_line(file: int) -> tuple[int, bytes]:
    """Return where the last line begins, and its bytes (of a line longer than a record may be, the last ones)."""
    size = start = os.fstat(file).st_size
    found = -1
    while found < 0 and start > 0:
        end, start = start, max(0, start - _BLOCK)
        found = os.pread(file, end - start, start).rfind(b"\n", 0, min(end, size - 1) - start)
    start += found + 1
    return start, os.pread(file, LONGEST, max(start, size - LONGEST))


def _can_wait(log: Record) -> bool:
    """Return True for a record of a running trial that another one follows before anybody relies on it.

    What is reported is in the trial's history too. Its parameters are followed by its JOB, with which it starts, and
    its OUTCOME by its end.
    """
    kind = log["op_code"]
    return (
        kind in (PARAM, INTERMEDIATE, TRIAL_SYSTEM_ATTR)
        or (kind == CREATE_TRIAL and "state" not in log)
        or (kind == TRIAL_USER_ATTR and OUTCOME in log["user_attr"])
    )


def _write(file: int, content: bytes) -> None:
    while content:
        content = content[os.write(file, content) :]
