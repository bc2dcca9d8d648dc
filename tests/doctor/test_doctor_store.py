"""MLflow's SQLite file, on which a kill may fall while it is made."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from hpo.doctor.examine import examine
from hpo.trackers.mlflow.store import is_half_made, make_store

# MLflow's own tables use it.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning")

MAKE = """
import sys
from pathlib import Path
from hpo.trackers.mlflow.store import make_store
make_store(Path(sys.argv[1]))
"""


def rows(path, query):
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def half_make(path):
    """As MLflow leaves it when it dies between two statements of a migration."""
    connection = sqlite3.connect(path)
    connection.executescript("create table _alembic_tmp_experiments (x); create table runs (x)")
    connection.close()
    os.utime(path, (time.time() - 100, time.time() - 100))


@pytest.mark.slow
@pytest.mark.parametrize("moment", [0.0, 0.1, 0.3, 0.6, 1.0])
def test_a_kill_while_it_is_made_leaves_no_store(tmp_path, moment):
    path = tmp_path / "mlflow.db"
    maker = subprocess.Popen([sys.executable, "-c", MAKE, str(path)])
    while not list(tmp_path.glob("mlflow.db.*")) and maker.poll() is None:
        time.sleep(0.01)
    time.sleep(moment)
    maker.send_signal(signal.SIGKILL)
    maker.wait()
    if path.exists():
        assert rows(path, "select count(*) from runs") == [(0,)]
    else:
        make_store(path)
    assert rows(path, "select count(*) from alembic_version") == [(1,)]
    assert not is_half_made(path)


def test_a_store_that_is_there_is_left_alone(tmp_path):
    path = tmp_path / "mlflow.db"
    make_store(path)
    before = path.read_bytes()
    make_store(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["mlflow.db"]


def test_what_an_earlier_kill_left_of_a_store_is_set_aside(planted):
    path = planted.runs / "mlflow.db"
    half_make(path)
    planted.fix("mlflow-half-made")
    assert not path.exists()
    assert path.with_name("mlflow.db.damaged").exists()


def test_a_store_with_runs_or_one_that_is_being_made_is_not_touched(planted):
    path = planted.runs / "mlflow.db"
    half_make(path)
    os.utime(path)
    assert planted.look() == []
    connection = sqlite3.connect(path)
    connection.execute("insert into runs values (1)")
    connection.commit()
    connection.close()
    os.utime(path, (time.time() - 100, time.time() - 100))
    assert planted.look() == []


def test_what_is_left_of_making_a_store_is_removed(planted):
    dead = subprocess.Popen(["true"])
    dead.wait()
    for name in (f"mlflow.db.{dead.pid}.partial", f"mlflow.db.{dead.pid}.partial-journal"):
        (planted.runs / name).write_text("half")
    being_made = planted.runs / f"mlflow.db.{os.getpid()}.partial"
    being_made.write_text("half")
    assert [one.result for one in examine(planted.runs, (), fix=True)] == ["fixed", "fixed"]
    assert being_made.exists()
    assert not list(planted.runs.glob(f"*.{dead.pid}.partial*"))
