"""One MLflow server on this machine, and an empty SQLite store to copy: making one takes seconds."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hpo import layout


class Server:
    """An MLflow server on a SQLite file in `folder`, which can go away and come back on the same port."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def file(self) -> Path:
        return self._folder / "server.db"

    def start(self) -> None:
        command = [
            *(sys.executable, "-P", "-m", "mlflow", "server", "--port", str(self.port), "--workers", "1"),
            *("--backend-store-uri", f"sqlite:///{self.file}"),
            *("--artifacts-destination", str(self._folder / "artifacts")),
        ]
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, env={**os.environ, **quiet}, start_new_session=True
            )

    def wait(self) -> None:
        for _ in range(600):
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=5):
                    return
            except OSError:
                time.sleep(0.1)
        raise AssertionError((self._folder / "server.log").read_text())

    def kill(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


@pytest.fixture(scope="session")
def _first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    folder = tmp_path_factory.mktemp("server")
    server = Server(folder)
    server.start()
    server.wait()
    empty = Path(shutil.copyfile(server.file, folder / "empty.db"))
    yield server, empty
    server.kill()


@pytest.fixture(scope="session")
def server(_first: tuple[Server, Path]) -> Server:
    return _first[0]


@pytest.fixture(scope="session")
def empty_store(_first: tuple[Server, Path]) -> Path:
    """A SQLite file with MLflow's tables and no run."""
    return _first[1]


@pytest.fixture
def own_server(tmp_path: Path, empty_store: Path) -> Iterator[Server]:
    """One that a test may stop; not yet started."""
    folder = tmp_path / "server"
    folder.mkdir()
    shutil.copyfile(empty_store, folder / "server.db")
    server = Server(folder)
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
