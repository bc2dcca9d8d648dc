"""Paths of SQLite files as URIs: whatever a path holds, SQLAlchemy and Optuna open the file that it names."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, make_url, text

from hpo.machine.sqlite_uri import resolved, sqlite_path, sqlite_uri
from hpo.text import redact

NAMES = [
    "a%41b", "100%", "%3F", "what?", "x#y", "a b", " lead ", "a&password=b", "a;b=c", "q'uo\"te", "größe", "tiere-🐢",
    "new\nline\ttab", "{x}", "{SCHEMA_VERSION}", "a:b@c", "back\\slash", "[1]", "$HOME", "~", "-dash", "a+b",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_what_a_uri_names_is_the_file_of_the_path(tmp_path: Path, name: str) -> None:
    path = tmp_path / name / f"{name}.db"
    path.parent.mkdir()
    uri = sqlite_uri(path)
    assert sqlite_path(uri) == path
    assert redact(uri) == uri
    engine = create_engine(uri)
    with engine.begin() as connection:
        connection.execute(text("create table t (a int)"))
    engine.dispose()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("select name from sqlite_master").fetchall() == [("t",)]
    assert [one.name for one in tmp_path.iterdir()] == [name]
    storage = optuna.storages.RDBStorage(uri)
    optuna.create_study(storage=storage)
    storage.engine.dispose()
    assert [one.name for one in tmp_path.iterdir()] == [name]


@given(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1))
def test_a_uri_leads_back_to_its_path(name: str) -> None:
    path = f"/data/{name}"
    assert sqlite_path(sqlite_uri(path)) == Path(path)
    assert make_url(sqlite_uri(path)).database == path


def test_a_usual_path_is_written_as_it_is() -> None:
    assert sqlite_uri(Path("/home/ann/größe 1/study.db")) == "sqlite:////home/ann/größe 1/study.db"
    assert sqlite_uri("/tmp/what?/study.db") == "sqlite+pysqlite:////tmp/what%3F/study.db"


def test_relative_paths_count_from_a_folder() -> None:
    assert resolved("sqlite:///results/x.db", "/home/ann") == "sqlite:////home/ann/results/x.db"
    assert resolved("sqlite:////data/../x.db?timeout=3", "/home/ann") == "sqlite:////x.db?timeout=3"
    assert resolved("sqlite:///a%3Fb.db", "/home/50%") == "sqlite+pysqlite:////home/50%25/a%3Fb.db"
    assert resolved("sqlite+pysqlite:///x.db", "/home/ann") == "sqlite+pysqlite:////home/ann/x.db"


@pytest.mark.parametrize("uri", ["postgresql://ann@db/hpo", "http://host:5000", "sqlite://", "sqlite:///?x", "x.db"])
def test_others_name_no_file(uri: str) -> None:
    assert sqlite_path(uri) is None
    with pytest.raises(ValueError, match=re.escape(f"'{uri}' is not the URI of a SQLite file")):
        resolved(uri, "/")


def test_passwords_are_looked_for_in_a_long_word_once():
    """From each of its letters it would take hours."""
    assert redact("x" * 2_000_000) == "x" * 2_000_000
    assert redact(f"{'x' * 2_000_000}://me:secret@host") == f"{'x' * 2_000_000}://me@host"
