"""optuna-dashboard and MLflow on the same study, started when they are asked for: `hpo dashboard` and `hpo mlflow`."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from hpo.machine.start import folder_to_add
from hpo.text import presentable

COMMANDS = {"dashboard": "optuna-dashboard", "mlflow": "MLflow"}
# A server on a busy machine imports for long before it says anything.
_START_SECONDS = 120.0
_END_SECONDS = 5.0
_LOOK_SECONDS = 1.0


@dataclass
class Server:
    """A server on a study.

    Attributes:
        kind: One of COMMANDS.
        process: Its process.
        started: When it was started, by the monotonic clock.
        said: Lines that it has printed.
        link: The page to open; empty until it is known.
        ready: Whether it answers.
    """

    kind: str
    process: subprocess.Popen[str]
    started: float
    said: list[str] = field(default_factory=list)
    link: str = ""
    ready: bool = False
    looked: float = float("-inf")
    lines: queue.SimpleQueue[str] = field(default_factory=queue.SimpleQueue)


@dataclass(frozen=True)
class ServerState:
    """State of a server, for a page.

    Attributes:
        kind: One of COMMANDS.
        name: What it is called.
        state: off, starting, ready or failed.
        link: The page to open, if it is ready.
        said: Why it failed.
    """

    kind: str
    name: str
    state: str = "off"
    link: str = ""
    said: str = ""


class Servers:
    """Servers on studies, at most one of a kind for each; they end with this program.

    Args:
        runs: The runs folder.
    """

    def __init__(self, runs: Path) -> None:
        self._runs = runs
        self._servers: dict[tuple[str, str], Server] = {}
        self._lock = threading.Lock()

    def start(self, kind: str, study: str) -> ServerState:
        """Start a server unless it runs, and say how far it is."""
        with self._lock:
            there = self._servers.get((kind, study))
            if there is None or there.process.poll() is not None:
                self._servers[kind, study] = _started(kind, study, self._runs)
        return self.state(kind, study)

    def state(self, kind: str, study: str) -> ServerState:
        """Say how far a server is."""
        with self._lock:
            server = self._servers.get((kind, study))
            return ServerState(kind, COMMANDS[kind]) if server is None else _state(server)

    def close(self) -> None:
        """End all servers, and wait for them."""
        with self._lock:
            for server in self._servers.values():
                _signal(server, signal.SIGTERM)
            until = time.monotonic() + _END_SECONDS
            for server in self._servers.values():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    server.process.wait(max(0.1, until - time.monotonic()))
                _signal(server, signal.SIGKILL)
                server.process.wait()
            self._servers.clear()


def _started(kind: str, study: str, runs: Path) -> Server:
    # -P: nothing in the current folder may stand in for a module.
    command = [sys.executable, "-P", "-m", "hpo", kind, study, "--port", "0", "--runs", str(runs)]
    path = (folder_to_add(), os.environ.get("PYTHONPATH", ""))
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": os.pathsep.join(filter(None, path))},
        start_new_session=True,  # it is ended with all that it has started
    )
    server = Server(kind, process, time.monotonic())
    threading.Thread(target=_read, args=[server], daemon=True, name=f"hpo-ui-{kind}").start()
    return server


def _read(server: Server) -> None:
    """Keep what a server prints first; the rest is read too, as a full pipe would stop it."""
    assert server.process.stdout is not None
    for place, line in enumerate(server.process.stdout):
        if place < 50:
            server.lines.put(line.strip())


def _state(server: Server) -> ServerState:
    with contextlib.suppress(queue.Empty):
        while True:
            server.said.append(server.lines.get_nowait())
    name = COMMANDS[server.kind]
    links = [line for line in server.said if line.startswith(("http://", "https://"))]
    ended = server.process.poll()
    if links and ended == 0:  # the runs are on a server of somebody else
        return ServerState(server.kind, name, "ready", links[0])
    if ended is not None:
        said = " ".join(line for line in server.said if line)[-500:] or f"it ended with exit code {ended}"
        return ServerState(server.kind, name, "failed", said=presentable(said))
    now = time.monotonic()
    if links and not server.ready and now - server.looked > _LOOK_SECONDS:
        server.looked, server.ready = now, _answers(links[0])
    if server.ready:
        return ServerState(server.kind, name, "ready", links[0])
    if now - server.started > _START_SECONDS:
        _signal(server, signal.SIGKILL)
        return ServerState(server.kind, name, "failed", said=f"it did not answer within {_START_SECONDS:g} s")
    return ServerState(server.kind, name, "starting")


def _answers(link: str) -> bool:
    """Return True if a server answers at all, whatever it says."""
    parts = urllib.parse.urlsplit(link)
    try:
        with urllib.request.urlopen(f"{parts.scheme}://{parts.netloc}/", timeout=2):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def _signal(server: Server, kind: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(server.process.pid, kind)
