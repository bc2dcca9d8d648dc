"""What keeps a study from starting, as `hpo check` finds it: in databases that nothing was ever stored in."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from servers import PostgreSQL, free_port

from hpo.actions.obstacles import refuse_unstartable
from hpo.actions.plan import plan
from hpo.errors import StorageError
from hpo.spec.load import load_spec


def test_an_empty_sqlite_file_is_no_obstacle_and_is_left_empty(
    study_yaml: Callable[..., Path], runs: Path, tmp_path: Path
) -> None:
    file = tmp_path / "study.db"
    file.touch()
    spec = load_spec(study_yaml(storage=f"sqlite:///{file}"))
    refuse_unstartable(spec, runs)
    assert plan(spec, runs=runs)
    assert file.read_bytes() == b""


def test_what_is_no_database_is_said(study_yaml: Callable[..., Path], runs: Path, tmp_path: Path) -> None:
    file = tmp_path / "study.db"
    file.write_text("no database" * 100)
    with pytest.raises(StorageError, match="cannot be opened"):
        refuse_unstartable(load_spec(study_yaml(storage=f"sqlite:///{file}")), runs)


def test_a_server_that_does_not_answer_is_said(study_yaml: Callable[..., Path], runs: Path) -> None:
    url = f"postgresql://postgres@127.0.0.1:{free_port()}/studies"
    with pytest.raises(StorageError, match="cannot be opened"):
        refuse_unstartable(load_spec(study_yaml(storage=url)), runs)


def test_a_new_database_of_a_server_is_no_obstacle(study_yaml: Callable[..., Path], runs: Path, tmp_path: Path) -> None:
    with contextlib.closing(PostgreSQL(tmp_path)) as server:
        url = server.url("studies")
        spec = load_spec(study_yaml(storage=url))
        refuse_unstartable(spec, runs)
        assert plan(spec, runs=runs)
        with psycopg.connect(url) as connection:
            tables = "select count(*) from information_schema.tables where table_schema = 'public'"
            assert connection.execute(tables).fetchone() == (0,)
