"""A cluster of real `ray start` processes on this machine, whose nodes can be killed like a power cut."""

from __future__ import annotations

import contextlib
import gc
import os
import secrets
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import psutil

# `ray`, but that it takes 127.0.0.1 for an answer, so that nothing listens on another address of the machine.
_RAY = """
import sys
from ray._private import services
services.resolve_ip_for_localhost = lambda host: host
from ray.scripts.scripts import main
sys.exit(main())
"""


@contextlib.contextmanager
def collecting_files_of_ray() -> Iterator[None]:
    """Collect files that Ray leaves open in reference cycles, which would otherwise fail some later test."""
    try:
        yield
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()


class RayCluster:
    """A head without CPUs, so that no trial runs on it, and nodes that come and go. `address` is HOST:PORT."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # The sockets' paths must be short.
        self._temp = f"/tmp/hpo-ray-{os.getpid()}-{time.monotonic_ns() % 10**9}"
        self._token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
        self._nodes: list[subprocess.Popen[bytes]] = []
        self._log = folder / "ray.log"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        self._head = self._start(
            "--head", f"--port={port}", "--num-cpus=0", "--include-dashboard=false", f"--temp-dir={self._temp}"
        )

    def add(self, cpus: int = 1, *arguments: str) -> subprocess.Popen[bytes]:
        """Starts a node; returns when the head knows it."""
        node = self._start(f"--address={self.address}", f"--num-cpus={cpus}", *arguments)
        self._nodes.append(node)
        return node

    @property
    def environment(self) -> dict[str, str]:
        """Of a driver: what lets it in, and makes it take 127.0.0.1 for an answer too."""
        return self._token | {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}

    @property
    def nodes(self) -> list[subprocess.Popen[bytes]]:
        """The nodes that were added and not killed."""
        return list(self._nodes)

    def kill(self, node: subprocess.Popen[bytes]) -> None:
        """SIGKILL to every process of a node."""
        self._nodes.remove(node)
        _kill(node)

    def preempt(self) -> None:
        """Takes a node away as a cloud does a spot instance: a notice to Ray, and a second later the end."""
        node = self._nodes[0]
        (raylet,) = [p for p in psutil.Process(node.pid).children(recursive=True) if p.name() == "raylet"]
        (node_id,) = [part.partition("=")[2] for part in raylet.cmdline() if part.startswith("--node_id=")]
        notice = [
            *("drain-node", f"--address={self.address}", f"--node-id={node_id}", "--deadline-remaining-seconds=1"),
            *("--reason=DRAIN_NODE_REASON_PREEMPTION", "--reason-message=spot"),
        ]
        subprocess.run([sys.executable, "-c", _RAY, *notice], check=True, env=os.environ | self.environment)
        time.sleep(1.0)
        self.kill(node)

    def workers(self) -> list[psutil.Process]:
        """The processes that train, on all nodes: the actors of Ray and the workers of hpo that they keep."""
        found = []
        for node in self._nodes:
            with contextlib.suppress(psutil.Error):
                for process in psutil.Process(node.pid).children(recursive=True):
                    with contextlib.suppress(psutil.Error):
                        command = " ".join(process.cmdline())
                        if "WorkerTrainable" in command or "hpo.worker.main" in command:
                            found.append(process)
        return found

    def close(self) -> None:
        for node in [*self._nodes, self._head]:
            _kill(node)
        subprocess.run(["rm", "-rf", self._temp], check=False)

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", _RAY, "start", "--block", "--node-ip-address=127.0.0.1", *arguments]
        known = self._said()
        variables = os.environ | self._token | {"RAY_USAGE_STATS_ENABLED": "0"}
        with self._log.open("ab") as log:
            node = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=variables)
        until = time.monotonic() + 300
        while self._said() == known:
            assert node.poll() is None, self._log.read_text(errors="replace")
            assert time.monotonic() < until, self._log.read_text(errors="replace")
            time.sleep(0.1)
        return node

    def _said(self) -> int:
        return self._log.read_bytes().count(b"Ray runtime started") if self._log.exists() else 0


def _kill(node: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(psutil.Error):
        family = psutil.Process(node.pid)
        processes = [*family.children(recursive=True), family]
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.suspend()
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.kill()
    node.wait()
