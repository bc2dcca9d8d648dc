"""`runs/<study>/driver.log`: what a run says, whatever its terminal shows, for `hpo logs`."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING

from hpo import layout
from hpo.cli.progress import LineProgress
from hpo.trackers.base import Progress

if TYPE_CHECKING:
    from hpo.spec.models import StudySpec


class DriverLog(LineProgress):
    """Appends to the log of the study in `directory`, each line with its time; the first says who began the run, and
    with which `command`. The file is opened with the first line, which no run has that finds the study locked."""

    def __init__(
        self, spec: StudySpec, directory: Path, command: str, seconds_left: Callable[[], float | None] = lambda: None
    ) -> None:
        super().__init__(spec, seconds_left)
        self._path = directory / layout.DRIVER_LOG
        self._command = command
        self._file: IO[str] | None = None

    def study_started(self, progress: Progress) -> None:
        super().study_started(progress)
        self.say(f"begins with {self.count} trials finished")

    def say(self, line: str) -> None:
        if self._file is None:
            self._file = self._path.open("a", encoding="utf-8", buffering=1)
            self._write(f"--- {socket.gethostname()}, process {os.getpid()}: {self._command}")
        self._write(line)

    def ends(self, verdict: str) -> None:
        """The last words of a run; one that never began has none."""
        if self._file is not None:
            self.say(" ".join(verdict.split()))
            self._file.close()

    def _write(self, line: str) -> None:
        assert self._file is not None
        self._file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")
