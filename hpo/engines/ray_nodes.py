"""Program that waits until some number of nodes has joined a Ray cluster.

`python -m hpo.engines.ray_nodes HOST:PORT NODES SECONDS` is called by the scripts of `hpo submit`, which start Ray over
an allocation. The exit code is 0 if they have joined in time.
"""

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
    """Wait for nodes. Return the exit code.

    Args:
        address: HOST:PORT of the cluster's head.
        nodes: how many are expected.
        seconds: how long to wait at most.
    """
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
    why = f" ({trouble})" if trouble else ""
    print(f"{joined} of {nodes} nodes have joined Ray at {address} in {seconds:g} s, so the study is not started{why}")
    return 1


def _joined(address: str, before: int) -> int:
    """Return how many nodes have joined, and print it if it is not `before`.

    It connects once the head listens; Ray itself would try for minutes.
    """
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
