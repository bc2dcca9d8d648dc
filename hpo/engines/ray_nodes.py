"""`python -m hpo.engines.ray_nodes HOST:PORT NODES SECONDS`: waits until so many nodes have joined a Ray cluster.

For the scripts of `hpo submit`, which start Ray over an allocation. The exit code is 0 when they have."""

from __future__ import annotations

import logging
import socket
import sys
import time
from typing import Any

import ray
from ray.exceptions import RayError

from hpo.text import one_line


def main(address: str, nodes: int, seconds: float) -> int:
    until = time.monotonic() + seconds
    joined, trouble = 0, "its head does not answer"
    while joined < nodes and time.monotonic() < until:
        try:
            joined, trouble = _joined(address, joined), ""
        except (OSError, ValueError, RuntimeError, RayError) as error:
            trouble = one_line(error)
        time.sleep(1.0)
    if joined >= nodes:
        print(f"all {nodes} nodes have joined Ray at {address}", flush=True)
        return 0
    said = f" ({trouble})" if trouble else ""
    print(f"{joined} of {nodes} nodes have joined Ray at {address} in {seconds:g} s, so the study is not started{said}")
    return 1


def _joined(address: str, before: int) -> int:
    """How many nodes there are. A connection is made when the head listens, for Ray would try for long."""
    if not ray.is_initialized():
        host, _, port = address.rpartition(":")
        socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL, namespace="hpo")
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    joined = sum(1 for node in nodes if node["Alive"])
    if joined != before:
        print(f"{joined} node{'s have' if joined > 1 else ' has'} joined Ray", flush=True)
    return joined


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
