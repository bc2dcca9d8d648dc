"""SQLite files as MLflow's stores, made whole or not at all."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from urllib.parse import unquote, urlparse

from hpo import layout
from hpo.errors import StorageLocked
from hpo.machine.files import NotPlainError
from hpo.machine.sqlite_uri import sqlite_uri
from hpo.storage.readonly import SqliteReader

# A driver may be writing.
_LOCKED_SECONDS = 60


def make_store(path: Path) -> None:
    """Make MLflow's tables, unless the file is there.

    That takes MLflow a second and dozens of migrations, and it cannot use a file on which it died meanwhile. So it
    works on a file beside it, which then takes its name.
    """
    if path.exists():
        return
    from hpo.trackers.mlflow.client import make_tables

    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.partial")
    unfinished.unlink(missing_ok=True)
    make_tables(sqlite_uri(unfinished), (path.parent / layout.MLFLOW_ARTIFACTS).as_uri())
    # Another study may have been faster; its runs must not be replaced.
    try:
        os.link(unfinished, path)
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        if not path.exists():
            unfinished.replace(path)
    unfinished.unlink(missing_ok=True)


def bring_artifacts_along(path: Path) -> None:
    """Have a store in a runs folder that was moved or copied keep its artifacts beside it.

    MLflow notes whole paths of artifacts, and would make the old place again, or write into the original's.
    """
    here = path.parent / layout.MLFLOW_ARTIFACTS
    if not path.exists():
        return
    with contextlib.closing(sqlite3.connect(path, timeout=_LOCKED_SECONDS)) as connection, connection:
        try:
            found = connection.execute("select experiment_id, artifact_location from experiments").fetchall()
        except sqlite3.OperationalError:
            return  # no store of MLflow's; it says so itself
        for number, location in found:
            before, _, name = str(location).rpartition("/")
            there = Path(unquote(urlparse(before).path))
            if not before.startswith("file://") or there.name != here.name or _is_same(there, here):
                continue
            now = f"{here.as_uri()}/{name}"
            connection.execute("update experiments set artifact_location = ? where experiment_id = ?", [now, number])
            connection.execute(
                "update runs set artifact_uri = ? || substr(artifact_uri, ?) "
                "where experiment_id = ? and substr(artifact_uri, 1, ?) = ?",
                [now, len(location) + 1, number, len(location) + 1, f"{location}/"],
            )


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one == other or one.samefile(other)
    except OSError:
        return False


def is_half_made(path: Path) -> bool:
    """Return True if MLflow died while it made the tables: it cannot open the file, which has no runs yet."""
    if not path.exists():
        return False
    try:
        with contextlib.closing(SqliteReader(path).connect()) as connection:
            tables = {name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")}
            if not any(name.startswith("_alembic_tmp_") for name in tables):
                return False
            return "runs" not in tables or connection.execute("select 1 from runs limit 1").fetchone() is None
    except (sqlite3.Error, StorageLocked, NotPlainError, UnicodeDecodeError):
        return False  # whoever opens it says so
