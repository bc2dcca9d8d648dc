"""The terminal of this process, once it is gone."""

from __future__ import annotations

import errno
import os
import termios


def leave_closed_terminal() -> None:
    """Let this process write to nowhere where it wrote to a terminal that is closed: each write would fail."""
    for descriptor in (1, 2):
        try:
            termios.tcgetattr(descriptor)
        except termios.error as error:
            if error.args[0] == errno.EIO:
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, descriptor)
                os.close(null)
