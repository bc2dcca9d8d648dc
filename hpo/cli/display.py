"""Display of a command that trains: where it is, how much it shows, and which logs are written."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click

from hpo import layout
from hpo.cli.output import echo
from hpo.trackers.base import Tracker

if TYPE_CHECKING:
    from hpo.cli.driver_log import DriverLog
    from hpo.cli.progress import StudyProgress
    from hpo.spec.models import StudySpec

F = TypeVar("F", bound=Callable[..., Any])


def display_options(command: F) -> F:
    """Add `--quiet`, passed on as the bool `quiet`, and `--log-file FILE`, as the absolute Path `log_file` or None."""
    command = click.option(
        "--log-file",
        metavar="FILE",
        callback=_writable,
        help="Append what happens to FILE too, a line each, with its time.",
    )(command)
    return click.option("-q", "--quiet", is_flag=True, help="Show only how it ended, and what went wrong.")(command)


def _writable(_context: click.Context, _option: click.Parameter, given: str | None) -> Path | None:
    """Return the file of --log-file, which can be written."""
    if given is None:
        return None
    from hpo.machine.access import reason
    from hpo.machine.files import plain_opener

    path = Path(given).expanduser().absolute()
    try:
        with open(path, "a", encoding="utf-8", opener=plain_opener):
            pass
    except (OSError, ValueError) as error:
        why = reason(error) if isinstance(error, OSError) else str(error)
        raise click.UsageError(f"--log-file {given} cannot be written: {why}") from None
    return path


class Complaints(Tracker):
    """Tracker that shows messages alone, for --quiet."""

    def message(self, text: str) -> None:
        """Print a message on stderr."""
        echo(text, err=True)


@dataclass
class Display:
    """Display of the studies that one command drives.

    Attributes:
        out: where progress is shown.
        command: the command line, for logs.
        quiet: messages alone are shown, on stderr.
        log_file: the file of --log-file.
        document: a JSON document says at the end what is to be said.
        progress: counts the study that is driven now.
    """

    out: IO[str]
    command: str
    quiet: bool = False
    log_file: Path | None = None
    document: bool = False
    progress: StudyProgress | None = field(default=None, init=False)
    _shown: Tracker = field(default_factory=Tracker, init=False)
    _logs: list[DriverLog] = field(default_factory=list, init=False)

    @property
    def shows_end(self) -> bool:
        """True unless a document is all that is to be seen."""
        return not (self.quiet and self.document)

    def trackers(self, spec: StudySpec, runs: Path) -> list[Tracker]:
        """Return what shows a study from now on.

        Args:
            spec: the study.
            runs: its runs folder.
        """
        from hpo.cli.driver_log import DriverLog

        def left() -> float | None:
            return _seconds_left(spec, runs)

        shown = None if self.quiet else _progress(spec, runs, self.out, left)
        self._shown = shown or Complaints()
        paths = [layout.study_directory(runs, spec.name) / layout.DRIVER_LOG]
        paths += [self.log_file] if self.log_file is not None else []
        self._logs = [DriverLog(spec, path, self.command, left) for path in paths]
        self.progress = shown or next(iter(self._logs), None)
        return [self._shown, *self._logs]

    def ends(self, verdict: str) -> None:
        """Write into the logs how it ended."""
        for log in self._logs:
            log.ends(verdict)

    def close(self) -> None:
        """Leave the terminal as it was: an error must not leave it in the state of the live display."""
        self._shown.close()


def _progress(spec: StudySpec, runs: Path, out: IO[str], left: Callable[[], float | None]) -> StudyProgress:
    from hpo.analysis.records import read_study
    from hpo.cli.progress import PlainProgress

    if out.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        from rich.console import Console

        from hpo.cli.live import LiveProgress

        return LiveProgress(spec, Console(file=out), left, earlier=lambda: read_study(runs, spec.name, histories=False))
    return PlainProgress(spec, out, left)


def _seconds_left(spec: StudySpec, runs: Path) -> float | None:
    """Return the seconds that are left of the budget's hours, or until its end by the clock; None without either."""
    if spec.search_budget.hours is None and spec.search_budget.by is None:
        return None
    from hpo.storage.budget import seconds_left, span_of
    from hpo.storage.load_study import load_study

    recorded, study = load_study(runs, spec.name)  # as it runs: the hours may have been extended
    spans = [span for trial in study.get_trials(deepcopy=False) if (span := span_of(trial.user_attrs))]
    return seconds_left(recorded.search_budget, spans, time.time())
