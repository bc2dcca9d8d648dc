"""Log of a run: `runs/<study>/driver.log` holds what it says, for `hpo logs`, and so does the file of --log-file."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING

from hpo.cli.progress import LineProgress
from hpo.machine.files import plain_opener
from hpo.text import presentable
from hpo.trackers.base import Progress

if TYPE_CHECKING:
    from hpo.spec.models import StudySpec


class DriverLog(LineProgress):
    """Tracker that appends each line, with its time, to a log.

    The first line says who began the run, and with which command. The file is opened with the first line, so that a run
    that finds the study locked writes nothing.
    """

    def __init__(
        self, spec: StudySpec, path: Path, command: str, seconds_left: Callable[[], float | None] = lambda: None
    ) -> None:
        super().__init__(spec, seconds_left)
        self._path = path
        self._command = command
        self._file: IO[str] | None = None

    def study_started(self, progress: Progress) -> None:
        """Log the number of trials that are finished already."""
        super().study_started(progress)
        self.say(f"begins with {self.count} trials finished")

    def say(self, line: str) -> None:
        """Log a line."""
        if self._file is None:
            self._file = open(  # noqa: SIM115
                self._path, "a", encoding="utf-8", buffering=1, opener=plain_opener
            )
            self._write(f"--- {socket.gethostname()}, process {os.getpid()}: {self._command}")
        self._write(line)

    def ends(self, verdict: str) -> None:
        """Log how the run ended, and close the file; a run that never began logs nothing."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # a full disk takes nothing back
                self.say(" ".join(verdict.split()))
            with contextlib.suppress(OSError):
                self._file.close()

    def _write(self, line: str) -> None:
        assert self._file is not None
        self._file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {presentable(line)}\n")
