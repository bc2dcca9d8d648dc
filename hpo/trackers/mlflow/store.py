"""SQLite files as MLflow's stores, made whole or not at all."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

from hpo import layout
from hpo.errors import StorageLocked
from hpo.machine.sqlite_uri import sqlite_uri
from hpo.storage.readonly import SqliteReader


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
    except (sqlite3.Error, StorageLocked):
        return False
