"""A terminal of any size, and a program that runs on it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Callable, Mapping, Sequence

import pyte
from waiting import PATIENCE, wait_until


class Terminal:
    """Program on a terminal, which pyte shows.

    Attributes:
        process: the program.
        output: all that it has written.
        screens: what was to be seen after each piece of that, without lines that are empty.

    Args:
        command: the program and its arguments.
        environment: its variables.
        columns: of the terminal.
        lines: of the terminal.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], columns: int, lines: int) -> None:
        self.output = b""
        self.screens: list[list[str]] = []
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()
        self._leader, follower = pty.openpty()
        self._set_size(columns, lines)
        kept = {key: value for key, value in environment.items() if key not in ("COLUMNS", "LINES", "NO_COLOR")}
        self.process = subprocess.Popen(
            command,
            stdin=follower,
            stdout=follower,
            stderr=follower,
            env={"TERM": "xterm-256color", **kept},
            start_new_session=True,
        )
        os.close(follower)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def ends(self) -> int:
        """Wait for the end of the program, and return its exit code."""
        code = self.process.wait(timeout=PATIENCE)
        self._reader.join()
        os.close(self._leader)
        return code

    def shows(self, condition: Callable[[list[str]], object]) -> list[str]:
        """Wait until a screen meets a condition, and return its lines."""
        found: list[list[str]] = []
        wait_until(
            lambda: found.extend(filter(condition, self.screens[-1:])) or found or self.process.poll() is not None
        )
        assert found, self.screens[-1:]
        return found[0]

    def resize(self, columns: int, lines: int) -> None:
        """Give the terminal another size."""
        with self._lock:
            self._set_size(columns, lines)
            self._screen.resize(lines, columns)
        os.killpg(self.process.pid, signal.SIGWINCH)

    def _set_size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._leader, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def _read(self) -> None:
        while self.process.poll() is None or select.select([self._leader], [], [], 0)[0]:
            if not select.select([self._leader], [], [], 0.1)[0]:
                continue
            try:
                piece = os.read(self._leader, 65536)
            except OSError:  # how Linux says that the other side has closed
                return
            with self._lock:
                self.output += piece
                self._stream.feed(piece)
                self.screens.append([line.rstrip() for line in self._screen.display if line.strip()])
