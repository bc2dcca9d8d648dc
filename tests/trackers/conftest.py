"""One MLflow server on this machine, and an empty SQLite store to copy: making one takes seconds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from servers import MlflowServer

from hpo import layout
from hpo.trackers.mlflow.store import make_store


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with MLflow's tables and no run."""
    path = tmp_path_factory.mktemp("empty") / "empty.db"
    make_store(path)
    return path


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[MlflowServer]:
    server = MlflowServer(tmp_path_factory.mktemp("server"))
    shutil.copyfile(empty_store, server.file)
    try:
        server.start()
        server.wait()
        yield server
    finally:
        server.kill()


@pytest.fixture
def own_server(tmp_path: Path, empty_store: Path) -> Iterator[MlflowServer]:
    """One that a test may stop; not yet started."""
    folder = tmp_path / "server"
    folder.mkdir()
    shutil.copyfile(empty_store, folder / "server.db")
    server = MlflowServer(folder)
    yield server
    server.kill()


@pytest.fixture
def default_store(runs: Path, empty_store: Path) -> Path:
    """The default store of the runs folder, made beforehand."""
    runs.mkdir()
    return Path(shutil.copyfile(empty_store, runs / layout.MLFLOW_STORE))


@pytest.fixture(autouse=True)
def _no_store_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def drive(runs: Path) -> Callable[[Path], subprocess.Popen[str]]:
    """Starts `hpo run` on a study.yaml."""

    def start(path: Path, **environment: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "hpo", "run", str(path), "--runs", str(runs)]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **environment}
        )

    return start
