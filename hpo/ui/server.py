"""The server of `hpo ui`: it listens, tells its link, and ends with all that it has started."""

from __future__ import annotations

import contextlib
import gc
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import uvicorn

from hpo.machine.memory import give_back_arrays
from hpo.machine.page_access import PageAccess
from hpo.ui.access import Guard
from hpo.ui.app import application
from hpo.ui.servers import Servers
from hpo.ui.studies import Studies

# Requests that are being answered when it is to end get so long.
_LAST_SECONDS = 2
# New objects until those in cycles are looked for, and how often also the older ones are: Python's are 700, 10 and 10,
# which slows down reading a large study.
_GARBAGE = (10_000, 20, 10)
WHERE = "`hpo ui` prints it where it was started"


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address; OSError or OverflowError if it cannot."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=128)


def _terminated(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


def serve(runs: Path, host: str, listener: socket.socket, tell: Callable[[str], None]) -> None:
    """Serve the studies of a runs folder until SIGINT or SIGTERM.

    Args:
        runs: The runs folder.
        host: Address that `listener` listens on.
        listener: The socket.
        tell: Is told the link that opens the pages, once it can be opened.
    """
    access = PageAccess(host, listener.getsockname()[1], WHERE)
    studies, servers = Studies(runs), Servers(runs)
    config = uvicorn.Config(
        Guard(application(studies, servers), access),
        log_level="error",
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=_LAST_SECONDS,
        h11_max_incomplete_event_size=64 * 1024,
    )
    # A command leaves what is in cycles until it ends, which is soon (hpo.cli.main): here each page leaves some. What
    # was loaded by now stays, and need not be looked through.
    give_back_arrays()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GARBAGE)
    # Studies are read while the browser opens.
    threading.Thread(target=studies.listed, daemon=True, name="hpo-ui-first").start()
    # After its own handler uvicorn sends itself the signal once more.
    signal.signal(signal.SIGTERM, _terminated)
    tell(access.link("/"))
    try:
        with listener, contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])
    finally:
        studies.close()
        servers.close()
