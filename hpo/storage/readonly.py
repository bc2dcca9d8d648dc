"""Storages opened for reading only: nothing is locked, made, migrated or changed, and no right to write is needed."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from hpo.errors import StorageLocked, StorageMissing
from hpo.machine.files import require_plain
from hpo.machine.sqlite_uri import sqlite_path
from hpo.storage.absence import HOLDERS, is_locked
from hpo.storage.journal import JOURNAL_SCHEME, open_journal
from hpo.text import redact

if TYPE_CHECKING:
    import optuna

# What only reads a SQLite file waits so long for its lock, and then says that it is locked.
READER_SECONDS = 60
# Of a file that is written all the time, so many copies are tried.
_MOST_COPIES, _PAUSE_SECONDS = 100, 0.05
# A statement that SQLite could not read beside a writer, by one of these errors, is repeated so often.
_MOST_REPEATS, _REPEAT_SECONDS = 100, 0.01
_BESIDE_WRITER = (sqlite3.SQLITE_READONLY_RECOVERY, sqlite3.SQLITE_READONLY_CANTINIT)
# The first bytes of a SQLite file change with each transaction, those of its -wal with each new beginning.
_HEADER, _WAL_HEADER = 100, 32
_WAL_MODE = b"\x02"  # in byte 18 of the header


def open_readonly(url: str) -> optuna.storages.BaseStorage:
    """Open a storage that exists, for reading.

    Raises:
        StorageMissing: there is no such file, or nobody has stored a study in the database yet.
        Exception: what the storage raises.
    """
    import optuna

    if url.startswith(JOURNAL_SCHEME):
        # Reading needs no lock: a line that is being written is not read yet.
        return open_journal(_existing(Path(url.removeprefix(JOURNAL_SCHEME))), None)
    try:
        return optuna.storages.RDBStorage(url, engine_kwargs=engine_options(url), skip_table_creation=True)
    except Exception:
        if _is_empty(url):  # as its server makes it: `hpo run` makes the tables
            raise StorageMissing(
                f"the storage {redact(url)} holds no study: no table of Optuna's is in its database. `hpo run` makes "
                "them; if studies were there, look whether the URL names the right database"
            ) from None
        raise


def engine_options(url: str) -> dict[str, Any]:
    """Return the arguments of SQLAlchemy's `create_engine` with which a database is only read, as it is at each use.

    Raises:
        StorageMissing: it is a SQLite file that is not there.
    """
    from sqlalchemy.pool import NullPool

    options: dict[str, Any] = {"poolclass": NullPool}
    if (file := sqlite_path(url)) is not None:
        options["creator"] = SqliteReader(_existing(file)).connect
    elif url.startswith("postgresql"):
        options["execution_options"] = {"postgresql_readonly": True}
    return options


def _is_empty(url: str) -> bool:
    """Return True if a database can be read and has no tables of Optuna's."""
    from sqlalchemy import create_engine, inspect
    from sqlalchemy.exc import SQLAlchemyError

    try:
        engine = create_engine(url, **engine_options(url))
        try:
            return not inspect(engine).has_table("studies")
        finally:
            engine.dispose()
    except SQLAlchemyError:
        return False


def _existing(path: Path) -> Path:
    try:
        path.stat()
    except FileNotFoundError:
        raise StorageMissing(
            f"the storage {path} is gone: it was moved or deleted. Bring it back, from a backup perhaps"
        ) from None
    return path


class _Cursor(sqlite3.Cursor):
    """Cursor that asks again if SQLite could not read beside a writer.

    In WAL mode a reader that comes while the writer notes a transaction in the -shm takes that for damage, if the
    writer is done a moment later: "attempt to write a readonly database".
    """

    def execute(self, sql: str, parameters: Any = (), /) -> Self:
        for _ in range(_MOST_REPEATS):
            try:
                return super().execute(sql, parameters)
            except sqlite3.OperationalError as error:
                if getattr(error, "sqlite_errorcode", 0) not in _BESIDE_WRITER:
                    raise
            time.sleep(_REPEAT_SECONDS)
        return super().execute(sql, parameters)


class _Connection(sqlite3.Connection):
    def cursor(self, factory: Any = _Cursor) -> Any:
        return super().cursor(factory)

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        return _Cursor(self).execute(sql, parameters)


class SqliteReader:
    """Reader of a SQLite file that changes neither the file nor its folder.

    SQLite itself reads a file that a driver has open, or left open when it was killed. In its mode for readers beside
    a writer (WAL), a file that nobody has open can be read by SQLite only where it can make files. Then a copy of the
    file is read, in memory, which is made again when the file has changed.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._wal, self._shm, self._journal = (
            file.with_name(f"{file.name}{end}") for end in ("-wal", "-shm", "-journal")
        )
        self._kept: tuple[object, bytes] = (None, b"")

    def connect(self) -> sqlite3.Connection:
        """Return a connection, to the file as it is now or to a copy of it.

        Raises:
            OSError: the file cannot be read.
            sqlite3.Error: it is no SQLite file.
            StorageLocked: it is locked, or written without a pause.
        """
        require_plain(self._file)
        if self._is_open() or not self._has_wal_mode():
            try:
                return self._direct()
            except sqlite3.OperationalError as error:
                if is_locked(error):
                    raise StorageLocked(
                        f"the storage {self._file} is locked: {HOLDERS}. Try again when it has ended"
                    ) from error
        connection = sqlite3.connect(":memory:", check_same_thread=False)
        connection.deserialize(self._copied())
        connection.execute("PRAGMA query_only = ON")
        return connection

    def _direct(self) -> sqlite3.Connection:
        # readonly_shm: else SQLite makes the -shm and notes its readers there, where it may.
        uri = f"{self._file.absolute().as_uri()}?mode=ro&readonly_shm=1"
        connection = sqlite3.connect(
            uri, uri=True, timeout=READER_SECONDS, check_same_thread=False, factory=_Connection
        )
        try:
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _copied(self) -> bytes:
        for _ in range(_MOST_COPIES):
            before, size = self._state(), _size(self._wal)
            key, image = self._kept
            if key == (before, size):
                return image
            with tempfile.TemporaryDirectory(prefix="hpo-") as folder:
                copy = Path(folder) / "copy"
                # The -wal after the file: what is moved from there into the file meanwhile is then in both.
                shutil.copyfile(self._file, copy)
                for beside, end in ((self._wal, "-wal"), (self._journal, "-journal")):
                    with contextlib.suppress(FileNotFoundError):
                        shutil.copyfile(beside, f"{copy}{end}")
                if self._state() == before:
                    image = _whole(copy)
                    self._kept = ((before, size), image)
                    return image
            time.sleep(_PAUSE_SECONDS)
        raise StorageLocked(f"the storage {self._file} is written without a pause, so that no copy of it can be read")

    def _is_open(self) -> bool:
        """Return True if a program has the file open in WAL mode, or died while it had, or this process has it open.

        If this process closed a file that it also has open through SQLite, SQLite's locks on it would be gone.
        """
        return (self._wal.exists() and self._shm.exists()) or self._is_open_here()

    def _is_open_here(self) -> bool:
        file = self._file.stat()
        for descriptor in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                if os.path.samestat(os.fstat(int(descriptor)), file):
                    return True
        return False

    def _has_wal_mode(self) -> bool:
        return self._header()[18:19] == _WAL_MODE

    def _state(self) -> object:
        """Return what is different once a copy that was made meanwhile may be a mixture."""
        with contextlib.suppress(FileNotFoundError), self._wal.open("rb") as wal:
            if header := wal.read(_WAL_HEADER):
                # As long as it is only added to, it tells of every change of the file.
                return header, os.fstat(wal.fileno()).st_ino
        file = self._file.stat()
        return self._header(), file.st_ino, file.st_mtime_ns, file.st_size, _size(self._journal)

    def _header(self) -> bytes:
        with self._file.open("rb") as file:
            return file.read(_HEADER)


def copy_sqlite(file: Path, to: Path) -> None:
    """Copy a SQLite file as it is now, also while a program writes it."""
    with contextlib.closing(SqliteReader(file).connect()) as source, contextlib.closing(sqlite3.connect(to)) as copy:
        # The copy is of this transaction: one that SQLite begins for it could fail beside the writer.
        source.execute("BEGIN")
        source.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
        source.backup(copy)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _whole(copy: Path) -> bytes:
    """Return a SQLite file with what its -wal or -journal holds, as one that needs neither."""
    with contextlib.closing(sqlite3.connect(copy)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        return connection.serialize()
