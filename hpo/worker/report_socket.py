"""The Unix socket over which a program reports to the worker that runs it.

On Linux it has a name without a file ("abstract", unix(7)): no path that could be too long, and nothing that a killed
worker leaves behind. Anybody on the machine can connect to such a name, so the kernel is asked who it is.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import struct
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hpo.machine.temporary import short_folder

_ABSTRACT = sys.platform == "linux"
# What stands for the NUL byte before an abstract name, which an environment variable cannot hold.
_MARK = "@"
# Most bytes of a temporary folder's path that leave room for a folder and a socket in it; macOS has 103 in all.
_LONGEST_FOLDER = 80
# pid, uid, gid of SO_PEERCRED.
_CREDENTIALS = struct.Struct("iII")


@contextlib.contextmanager
def listening() -> Iterator[tuple[socket.socket, str]]:
    """Yield a socket that listens, and its address for `connect`."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        if _ABSTRACT:
            address = f"{_MARK}hpo-{secrets.token_hex(16)}"
        else:
            folder = tempfile.TemporaryDirectory(prefix="hpo-", dir=short_folder(_LONGEST_FOLDER))
            address = str(Path(stack.enter_context(folder)) / "report")
        listener.bind(_real(address))
        listener.listen()
        yield listener, address


def connect(address: str) -> socket.socket:
    """Return a connection to the worker that listens at an address.

    Raises:
        OSError: nobody listens there.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(_real(address))
    except OSError:
        connection.close()
        raise
    return connection


def accepted(listener: socket.socket) -> Iterator[socket.socket]:
    """Yield the next connection, unless it is gone already, or of another user."""
    with contextlib.suppress(OSError):
        peer, _ = listener.accept()
        if _ABSTRACT and _user(peer) not in (os.getuid(), 0):
            peer.close()
            return
        # A peer that does not read its answers must not hold up the others.
        peer.setblocking(False)
        yield peer


def _user(peer: socket.socket) -> int:
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    user: int = _CREDENTIALS.unpack(credentials)[1]
    return user


def _real(address: str) -> str:
    return f"\0{address.removeprefix(_MARK)}" if address.startswith(_MARK) else address
