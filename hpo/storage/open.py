"""Opening of Optuna's storage by its URL.

URLs are `journal:/path/file.log` (or a bare path), `sqlite:///file.db`, and any other that SQLAlchemy opens, such as
`postgresql://user@host/db`. A password in a URL is used, but neither written nor printed. Later commands take it from
where the database client does ($PGPASSWORD, ~/.pgpass).
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo import layout
from hpo.errors import HpoError, StorageError, StorageLocked
from hpo.machine.access import denial, is_denied, may_write, require_write
from hpo.machine.files import NotPlainError, require_plain
from hpo.machine.sqlite_uri import sqlite_path, sqlite_uri
from hpo.storage.absence import HOLDERS, LOCKED_FILE, is_locked
from hpo.storage.journal import JOURNAL_SCHEME, open_journal
from hpo.storage.ownership import recorded_folder
from hpo.storage.readonly import READER_SECONDS, open_readonly
from hpo.text import redact

if TYPE_CHECKING:
    import optuna

    from hpo.spec.models import StudySpec


def storage_url(spec: StudySpec, runs: Path) -> str:
    """Return the URL of a study's storage: the one that its YAML names, or else the journal of the runs folder.

    A file that was in the runs folder is looked for in it too when the folder was moved or copied.
    """
    if spec.storage is None:
        return f"{JOURNAL_SCHEME}{runs / layout.JOURNAL}"
    folder = layout.study_directory(runs, spec.name)
    before = recorded_folder(folder)
    moved = spec.storage if before is None else moved_with(spec.storage, before.parent, runs)
    file = storage_file(moved)
    return spec.storage if file is None or not file.exists() else moved


def moved_with(url: str, before: Path, runs: Path) -> str:
    """Return the URL of a storage when its runs folder was `before` and is `runs` now: a file in it is there too."""
    file = storage_file(url)
    if file is None or not file.is_relative_to(before):
        return url
    here = runs / file.relative_to(before)
    if here == file:
        return url
    return f"{JOURNAL_SCHEME}{here}" if url.startswith(JOURNAL_SCHEME) else sqlite_uri(here)


def lies_in(url: str, runs: Path) -> bool:
    """Return True if a storage is a file in the runs folder."""
    file = storage_file(url)
    return file is not None and Path(os.path.realpath(file)).is_relative_to(os.path.realpath(runs))


def storage_file(url: str) -> Path | None:
    """Return the file that a storage is; None for a server."""
    return Path(url.removeprefix(JOURNAL_SCHEME)) if url.startswith(JOURNAL_SCHEME) else sqlite_path(url)


def dashboard_argument(url: str) -> str:
    """Return what `optuna-dashboard` takes for this storage, with the password if the URL has one."""
    return url.removeprefix(JOURNAL_SCHEME)


def open_storage(url: str, say: Any = None, keep: bool = True, readonly: bool = False) -> optuna.storages.BaseStorage:
    """Open or create a storage.

    Args:
        url: where it is.
        say: given by a driver; told of a torn record of a journal, and of a journal or SQLite file that is locked or a
            database server that goes away later, which are waited for (see JournalLock, ReconnectingStorage).
        keep: keep the connections of a database open between uses, until `close_storage`. A short look needs none.
        readonly: neither make, lock nor change anything (see `hpo.storage.readonly`); the rest does not matter.

    Raises:
        AccessDenied: this user may not read its file, or not write it.
        StorageLocked: it is a SQLite file that another program has locked.
        StorageError: it cannot be opened. The sentence does not have the password.
    """
    import optuna

    # Optuna's log lines about studies it makes or loads are not for hpo's users.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        if (file := storage_file(url)) is not None:
            require_plain(file)
        if readonly:
            return open_readonly(url)
        _require_write(url)
        if url.startswith(JOURNAL_SCHEME):
            return open_journal(Path(url.removeprefix(JOURNAL_SCHEME)), say)
        if (file := sqlite_path(url)) is not None:
            return _open_sqlite(url, file, say, keep)
        return _open_server(url, say, keep)
    except HpoError:
        raise
    except NotPlainError as error:
        raise StorageError(f"the storage {redact(url)} cannot be used: {error.strerror}") from error
    except ImportError as error:
        raise StorageError(
            f"the storage {redact(url)} needs a database driver that is not installed: {error.__cause__ or error}. "
            "Install it beside hpo, for PostgreSQL with `pip install 'psycopg[binary]'`"
        ) from error
    except Exception as error:  # database drivers have classes of their own; none of them may end in a traceback
        if isinstance(error, OSError) and is_denied(error):
            raise denial(error) from error
        if is_locked(error):
            raise StorageLocked(
                f"the storage {redact(url)} is locked: {HOLDERS}. Try again when it has ended"
            ) from error
        cause = error.__cause__ or error  # Optuna's own sentence speaks of invalid data
        said = redact(str(cause).replace(url, redact(url))).strip().splitlines() or [type(error).__name__]
        raise StorageError(
            f"the storage {redact(url)} cannot be opened: {said[0]}. Expected a running database and a right URL "
            "(a password may come from $PGPASSWORD), or no `storage` key for a journal file in the runs folder"
        ) from error


def may_write_storage(url: str) -> bool:
    """Return True if this user may write the file that a storage is, and make files beside it; True of a server."""
    file = storage_file(url)
    return file is None or (may_write(file) and may_write(file.parent))


def _require_write(url: str) -> None:
    file = storage_file(url)
    for path in () if file is None else (file, file.parent):
        require_write(path, f"the storage {redact(url)} cannot be written")


def close_storage(storage: optuna.storages.BaseStorage) -> None:
    """Close the connections of a database; a journal has none."""
    import optuna

    if isinstance(storage, optuna.storages.RDBStorage):
        storage.remove_session()
        storage.engine.dispose()


def stop_waiting(storage: optuna.storages.BaseStorage) -> None:
    """Wait no longer for a database that is away: what was asked of it raises at once. For signal handlers."""
    stop = getattr(storage, "stop_waiting", None)
    if stop is not None:
        stop()


def _open_server(url: str, say: Any, keep: bool) -> optuna.storages.RDBStorage:
    import optuna
    from sqlalchemy.exc import IntegrityError, ProgrammingError
    from sqlalchemy.pool import NullPool

    def opened() -> optuna.storages.RDBStorage:
        if keep and say is not None:
            from hpo.storage.reconnecting import ReconnectingStorage

            return ReconnectingStorage(url, say)
        options: dict[str, Any] = {"pool_pre_ping": True} if keep else {"poolclass": NullPool}
        return optuna.storages.RDBStorage(url, engine_kwargs=options)

    # If several processes open an empty database at once, one makes its tables, and the others find them when they try
    # again.
    for pause in (0.2, 0.5, 1.0):
        with contextlib.suppress(IntegrityError, ProgrammingError):
            return opened()
        time.sleep(pause)
    return opened()


def _open_sqlite(url: str, file: Path, say: Any, keep: bool) -> optuna.storages.RDBStorage:
    import optuna

    file.parent.mkdir(parents=True, exist_ok=True)
    if keep and say is not None:
        from hpo.storage.reconnecting import ReconnectingStorage

        return ReconnectingStorage(url, say, LOCKED_FILE, prepare=_write_ahead)
    storage = optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": {"timeout": READER_SECONDS}})
    _write_ahead(storage)
    return storage


def _write_ahead(storage: optuna.storages.RDBStorage) -> None:
    """Set the mode in which readers (the dashboard) and the driver do not block each other."""
    from sqlalchemy import event, text

    with storage.engine.connect() as connection:
        connection.execute(text("PRAGMA journal_mode=WAL"))
    event.listen(storage.engine, "connect", lambda raw, _: raw.execute("PRAGMA synchronous=NORMAL"))
    storage.engine.dispose()
