"""From a URL to Optuna's storage; the repair of a torn journal.

URLs: `journal:/path/file.log` (or a bare path), `sqlite:///file.db`, and any other that SQLAlchemy
opens, such as `postgresql://user@host/db`. A password in a URL is used, but neither written nor
printed: later commands take it from where the database client does ($PGPASSWORD, ~/.pgpass)."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.storages.journal import JournalFileSymlinkLock

from hpo import layout
from hpo.errors import StorageError, StudyNotFound, listing, nearest
from hpo.redaction import redact

if TYPE_CHECKING:
    import optuna

    from hpo.spec import StudySpec

JOURNAL_SCHEME = "journal:"


def storage_url(spec: StudySpec, runs: Path) -> str:
    """The storage of a study: the one its YAML names (`load_spec` made its path absolute), else the
    journal of the runs folder."""
    return spec.storage or f"{JOURNAL_SCHEME}{runs / layout.JOURNAL}"


def dashboard_argument(url: str) -> str:
    """What `optuna-dashboard` takes for this storage (with the password, if any)."""
    return url.removeprefix(JOURNAL_SCHEME)


def open_storage(
    url: str, say: Any = None, keep: bool = True, repair: bool = True
) -> optuna.storages.BaseStorage:
    """Opens or creates the storage. `keep` keeps the connections of a database open between uses, until
    `close_storage`; a short look needs none. `say(text)`, which a driver gives, is told of a repair, and of a
    database server that goes away later and is waited for (see ReconnectingStorage). Without `repair` a torn journal
    is left as it is, and what was torn is not seen: for reading only.

    Raises StorageError, without the password, when it cannot be opened."""
    import optuna

    # Optuna's log lines about studies it makes or loads are not for hpo's users.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        if url.startswith(JOURNAL_SCHEME):
            return _open_journal(Path(url.removeprefix(JOURNAL_SCHEME)), say, repair)
        if url.startswith("sqlite:"):
            return _open_sqlite(url)
        return _open_server(url, say, keep)
    except StorageError:
        raise
    except ImportError as error:
        raise StorageError(
            f"the storage {redact(url)} needs a database driver that is not installed: {error.__cause__ or error}. "
            "Install it beside hpo, for PostgreSQL with `pip install 'psycopg[binary]'`"
        ) from error
    except Exception as error:  # drivers raise their own classes; none of them may end in a traceback
        cause = error.__cause__ or error  # Optuna's own words are of invalid data
        said = redact(str(cause).replace(url, redact(url))).strip().splitlines() or [type(error).__name__]
        raise StorageError(
            f"the storage {redact(url)} cannot be opened: {said[0]}. Expected a running database and a right URL "
            "(a password may come from $PGPASSWORD), or no `storage` key for a journal file in the runs folder"
        ) from error


def close_storage(storage: optuna.storages.BaseStorage) -> None:
    """Closes the connections of a database; a journal has none."""
    import optuna

    if isinstance(storage, optuna.storages.RDBStorage):
        storage.remove_session()
        storage.engine.dispose()


def stop_waiting(storage: optuna.storages.BaseStorage) -> None:
    """No longer waits for a database server that is away: what was asked of it raises at once. For signal handlers."""
    stop = getattr(storage, "stop_waiting", None)
    if stop is not None:
        stop()


def _open_server(url: str, say: Any, keep: bool) -> optuna.storages.RDBStorage:
    import optuna
    from sqlalchemy.exc import IntegrityError, ProgrammingError
    from sqlalchemy.pool import NullPool

    def opened() -> optuna.storages.RDBStorage:
        if keep and say is not None:
            from hpo.reconnecting import ReconnectingStorage

            return ReconnectingStorage(url, say)
        options: dict[str, Any] = {"pool_pre_ping": True} if keep else {"poolclass": NullPool}
        return optuna.storages.RDBStorage(url, engine_kwargs=options)

    # Of several that open an empty database at once, one makes its tables, and the others find them when they look
    # again.
    for pause in (0.2, 0.5, 1.0):
        with contextlib.suppress(IntegrityError, ProgrammingError):
            return opened()
        time.sleep(pause)
    return opened()


def _open_sqlite(url: str) -> optuna.storages.RDBStorage:
    import optuna
    from sqlalchemy import event, text

    Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    storage = optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": {"timeout": 60}})
    with storage.engine.connect() as connection:
        # Write-ahead log: readers (the dashboard) and the driver do not block each other.
        connection.execute(text("PRAGMA journal_mode=WAL"))
    event.listen(storage.engine, "connect", lambda raw, _: raw.execute("PRAGMA synchronous=NORMAL"))
    storage.engine.dispose()
    return storage


class _JournalLock(JournalFileSymlinkLock):
    """Optuna's own lock on the journal, which optuna-dashboard takes too, but one that a killed
    driver cannot leave behind for Optuna's 30 seconds of grace.

    hpo's processes first take a kernel lock, which dies with its holder. Their link goes to the
    journal by a spelling of its own (`/./`), so a link of that spelling that is met while holding
    the kernel lock was left by a dead one."""

    def __init__(self, journal: Path) -> None:
        self._own = f"{journal.parent}/./{journal.name}"
        super().__init__(self._own)
        self._kernel: int | None = None

    def acquire(self) -> bool:
        kernel = os.open(self._own + ".flock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        fcntl.flock(kernel, fcntl.LOCK_EX)
        with contextlib.suppress(OSError):
            if os.readlink(self._own + ".lock") == self._own:
                os.unlink(self._own + ".lock")
        acquired = super().acquire()
        self._kernel = kernel
        return acquired

    def release(self) -> None:
        try:
            super().release()
        finally:
            if self._kernel is not None:
                os.close(self._kernel)
                self._kernel = None


@contextlib.contextmanager
def journal_lock(path: Path) -> Iterator[None]:
    """Held while nobody else may write the journal. Not for long: drivers wait for it."""
    lock = _JournalLock(path)
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _open_journal(path: Path, say: Any, repair: bool) -> optuna.storages.JournalStorage:
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
    """The journal's last line if it is no whole one: without its line end, or no JSON, as a power cut leaves it. Empty
    if nothing is wrong; without the journal's lock it may be what another process is writing."""
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
    """Ends the journal with a whole line (call it under the journal's lock): a last line that
    a power cut tore is cut off, or given its line end if only that is missing. Returns what was
    done, or an empty string."""
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


# --- reading a study that has run


def load_study(runs: Path, name: str, url: str | None = None) -> tuple[StudySpec, optuna.Study]:
    """The spec as it ran and the Optuna study, for reading. `url` is that of its storage with the
    password, which the recorded spec lacks. Raises StudyNotFound."""
    import optuna

    from hpo.spec import load_spec

    recorded = layout.study_directory(runs, name) / layout.SPEC
    known = layout.studies_in(runs)
    if not recorded.exists():
        there = f"it holds {listing(known)}" if known else "it holds none; `hpo run study.yaml` makes the first"
        raise StudyNotFound(f"no study '{name}' in {runs}: {there}.{nearest(name, known)}")
    spec = load_spec(recorded, locate=False)
    storage = open_storage(url or storage_url(spec, runs), keep=False)
    try:
        return spec, optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        raise StudyNotFound(
            f"study '{name}' has a folder in {runs}, but is not in its storage {redact(storage_url(spec, runs))}: it "
            "was deleted there, or the storage was moved"
        ) from None
