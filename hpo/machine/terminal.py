"""Standard streams of this process that are gone, full, or were never there."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import termios
from typing import IO


def leave_closed_terminal() -> None:
    """Let this process write to nowhere where it wrote to a terminal that is closed: each write would fail."""
    for descriptor in (1, 2):
        try:
            termios.tcgetattr(descriptor)
        except termios.error as error:
            if error.args[0] == errno.EIO:
                _lead_nowhere(descriptor)


def open_missing_streams() -> None:
    """Give this process the standard streams that it was started without (`hpo run study.yaml >&-`).

    Otherwise the next file that it opens, a database perhaps, gets the number to which prints go.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def discard(stream: IO[str]) -> None:
    """Let what a stream could not write, and all that follows, go nowhere: the interpreter writes it at its end."""
    with contextlib.suppress(OSError, ValueError):
        _lead_nowhere(stream.fileno())
        stream.flush()


def fails(stream: IO[str]) -> bool:
    """Return True if a stream cannot write what it holds."""
    try:
        stream.flush()
    except (OSError, ValueError):
        return True
    return False


def _lead_nowhere(descriptor: int) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)
