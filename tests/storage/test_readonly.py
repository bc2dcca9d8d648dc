"""SQLite files that are read without a right to write, in whichever state a writer has left or has them."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from snapshots import snapshot
from waiting import wait_until

from hpo.errors import StorageError, StorageLocked, StorageMissing
from hpo.storage import readonly
from hpo.storage.open import open_storage
from hpo.storage.readonly import SqliteReader, copy_sqlite

# Moves amounts between two rows, whose sum stays the same; each transaction changes a few pages of many. The file is
# closed and opened again from time to time, and the -wal moved into it.
WRITER = """
import random, sqlite3, sys, time
chance = random.Random(0)
while True:
    connection = sqlite3.connect(sys.argv[1], timeout=60)
    connection.execute(f"pragma journal_mode={sys.argv[2]}")
    connection.execute("pragma wal_autocheckpoint=20")
    connection.execute("pragma synchronous=off")
    for _ in range(chance.randint(1, 40)):
        amount = chance.randint(1, 100)
        for row, change in zip(chance.sample(range(1, 101), 2), (amount, -amount)):
            connection.execute("update t set a = a + ? where rowid = ?", (change, row))
        connection.commit()
        time.sleep(chance.choice([0, 0, 0, 0.03]))
    connection.close()
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "some folder?" / "study.db"
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma journal_mode=wal")
        connection.execute("create table t (a integer, filling blob)")
        connection.executemany("insert into t values (?, randomblob(2000))", [(100,)] * 100)
        connection.commit()
    return path


def total(reader: SqliteReader) -> tuple[int, int]:
    with contextlib.closing(reader.connect()) as connection:
        assert connection.execute("pragma quick_check").fetchone() == ("ok",)
        found: tuple[int, int] = connection.execute("select sum(a), count(*) from t").fetchone()
        return found


@contextlib.contextmanager
def writing(file: Path, mode: str) -> Iterator[None]:
    before = file.stat().st_mtime_ns
    with subprocess.Popen([sys.executable, "-c", WRITER, str(file), mode]) as writer:
        try:
            wait_until(lambda: file.stat().st_mtime_ns != before)
            yield
            assert writer.poll() is None
        finally:
            writer.kill()


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_what_is_read_beside_a_writer_is_what_was_committed(file: Path, mode: str) -> None:
    reader = SqliteReader(file)
    with writing(file, mode):
        for _ in range(40):
            assert total(reader) == (10_000, 100)


def test_a_copy_beside_a_writer_is_what_was_committed(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the -shm may not be read, so that SQLite cannot take part."""
    monkeypatch.setattr(SqliteReader, "_is_open", lambda self: False)
    monkeypatch.setattr(SqliteReader, "_has_wal_mode", lambda self: True)
    copied = 0
    copyfile = shutil.copyfile

    def slowly(source: Path, to: Path) -> None:
        copyfile(source, to)
        time.sleep(0.01)

    monkeypatch.setattr(shutil, "copyfile", slowly)
    with writing(file, "wal"):
        for _ in range(20):
            with contextlib.suppress(StorageLocked):  # it was written without a pause
                assert total(SqliteReader(file)) == (10_000, 100)
                copied += 1
    assert copied


def test_a_change_is_seen_by_the_next_connection(file: Path) -> None:
    reader = SqliteReader(file)
    for k in range(1, 4):
        before = snapshot(file.parent)
        assert total(reader)[0] == 9_999 + k
        assert snapshot(file.parent) == before
        with contextlib.closing(sqlite3.connect(file)) as connection:
            connection.execute("update t set a = a + 1 where rowid = 1")
            connection.commit()


# Opens the file; later shows, for a short time, what a reader may find in the -shm while a transaction is noted.
NOTES = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1])
connection.execute("update t set a = a + 1 where rowid = 1")
connection.commit()
print("open", flush=True)
sys.stdin.readline()
with open(sys.argv[1] + "-shm", "r+b", buffering=0) as noted:
    header = noted.read(48)
    noted.seek(0)
    noted.write(bytes(48))
    print("noted by halves", flush=True)
    time.sleep(0.03)
    noted.seek(0)
    noted.write(header)
sys.stdin.readline()
"""


@pytest.mark.parametrize(
    "execute",
    [lambda connection, sql: connection.execute(sql), lambda connection, sql: connection.cursor().execute(sql)],
)
def test_a_writer_that_notes_its_transaction_is_waited_for(file: Path, execute: Callable[..., sqlite3.Cursor]) -> None:
    """It changes two copies of a header, one after the other."""
    with (
        subprocess.Popen(
            [sys.executable, "-c", NOTES, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as writer,
        contextlib.ExitStack() as at_the_end,
    ):
        at_the_end.callback(writer.communicate, "\n")
        assert writer.stdin
        assert writer.stdout
        assert writer.stdout.readline() == "open\n"
        with contextlib.closing(SqliteReader(file).connect()) as connection:
            writer.stdin.write("\n")
            writer.stdin.flush()
            assert writer.stdout.readline() == "noted by halves\n"
            assert execute(connection, "select sum(a) from t").fetchone() == (10_001,)


@pytest.mark.parametrize(
    ("kept", "by_halves"), [(("-wal", "-shm"), False), (("-wal", "-shm"), True), (("-wal",), False)]
)
def test_what_a_killed_writer_left_in_its_wal_is_read(
    file: Path, tmp_path: Path, kept: tuple[str, ...], by_halves: bool
) -> None:
    """Of a -shm that it noted by halves SQLite asks to mend it, which needs a right to write."""
    left = tmp_path / "left"
    left.mkdir()
    reader = SqliteReader(left / file.name)
    connection = sqlite3.connect(file)
    for k in (1, 2):
        connection.execute("update t set a = a + 1 where rowid = 1")
        connection.commit()
        for end in ("", *kept):
            shutil.copy(file.with_name(file.name + end), left)
        if by_halves:
            with (left / f"{file.name}-shm").open("r+b") as noted:
                noted.write(b"\0" * 48)  # the first of the two copies of its header
        before = snapshot(left)
        assert total(reader)[0] == 10_000 + k
        assert snapshot(left) == before
    connection.close()


def test_what_is_read_cannot_be_written(file: Path) -> None:
    with contextlib.closing(SqliteReader(file).connect()) as connection, pytest.raises(sqlite3.OperationalError):
        connection.execute("delete from t")


def test_sqlite_keeps_its_locks_where_a_file_is_open_in_this_process(file: Path) -> None:
    """A process that closes any descriptor of a file loses all its locks on it."""
    own = sqlite3.connect(file, isolation_level=None)
    own.execute("pragma journal_mode=delete")
    own.execute("begin immediate")
    own.execute("update t set a = 0")
    assert total(SqliteReader(file))[0] == 10_000
    code = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('begin immediate')"
    said = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=False)
    assert "database is locked" in said.stderr
    own.execute("rollback")
    own.close()


def test_a_locked_file_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readonly, "READER_SECONDS", 0.1)
    own = sqlite3.connect(file, isolation_level=None)
    own.execute("pragma journal_mode=delete")
    own.execute("begin exclusive")
    with pytest.raises(StorageLocked, match=r"study\.db is locked: another program holds it"):
        SqliteReader(file).connect()
    own.close()


def test_a_copy_can_be_kept(file: Path, tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("update t set a = a + 1 where rowid = 1")
        connection.commit()
        copy_sqlite(file, tmp_path / "copy.db")
    assert total(SqliteReader(tmp_path / "copy.db"))[0] == 10_001


@pytest.mark.parametrize("url", ["journal:{}/journal.log", "sqlite:///{}/study.db"])
def test_a_storage_that_is_gone_is_not_made(tmp_path: Path, url: str) -> None:
    with pytest.raises(StorageError, match="is gone: it was moved or deleted"):
        open_storage(url.format(tmp_path), readonly=True)
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_is_no_storage_is_left_as_it_is(file: Path) -> None:
    before = snapshot(file.parent)
    with pytest.raises(StorageMissing, match="holds no study"):
        open_storage(f"sqlite:///{str(file).replace('?', '%3F')}", readonly=True)
    assert snapshot(file.parent) == before
