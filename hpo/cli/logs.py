"""`hpo logs`: what the drivers of a study said, or what a trial printed."""

from __future__ import annotations

import codecs
import os
import re
import shlex
import time
from collections.abc import Callable
from pathlib import Path

import click

from hpo import layout
from hpo.cli.common import (
    find_study,
    follow_up,
    one_trial,
    runs_option,
    study_argument,
    trial_argument,
    trial_option,
)
from hpo.cli.output import echo, echo_output
from hpo.errors import HpoError
from hpo.machine.files import NotPlainError, open_plain, tail_of
from hpo.storage.trial_attributes import ORIGIN, waits
from hpo.text import LONGEST_REASON, cut, listing

# How often a file is looked at, and how often whether more may come.
_LOOK_SECONDS, _ENDED_SECONDS = 0.25, 1.0
# After the end, what is said last comes a moment later.
_LAST_SECONDS = 0.5
_BLOCK = 65536
# A progress bar that is drawn anew begins a line too. So many bytes without the end of a line are one.
_LINE_END = re.compile(rb"\r\n|\r|\n")
_LONGEST_LINE = 2**20


@click.command(
    epilog="""\b
Examples:
  hpo logs                              of the study last driven
  hpo logs quickstart --follow          until its driver ends
  hpo logs quickstart 7                 what trial 7 printed
  hpo logs quickstart 7 -f -n 0
  hpo logs quickstart --lines 1000 | grep ' FAIL '
"""
)
@study_argument
@trial_argument
@trial_option("The same as N: print the output of this trial.")
@click.option("-f", "--follow", is_flag=True, help="Continue until the driver, or the trial, ends.")
@click.option(
    "-n", "--lines", type=click.IntRange(min=0), default=50, show_default=True, metavar="N", help="The last N lines."
)
@runs_option
def logs(study: str | None, trial: int | None, named: int | None, follow: bool, lines: int, runs: Path) -> None:
    """Print the log of a study, or the output of a trial.

    The log of a study has every finished trial and all messages of its drivers, run after run. The output of a trial is
    followed, on stderr, by the place of its error. The study may run on any machine that sees the folder.
    """
    trial = one_trial(trial, named)
    name = find_study(runs, study)
    directory = layout.study_directory(runs, name)
    try:
        if trial is None:
            _of_drivers(directory, runs, follow, lines)
        else:
            _of_trial(directory, runs, trial, follow, lines)
    except NotPlainError as error:
        raise HpoError(f"{error.filename} cannot be shown: {error.strerror}") from error
    except KeyboardInterrupt:
        if not follow:
            raise


def _of_drivers(directory: Path, runs: Path, follow: bool, lines: int) -> None:
    from hpo.storage.driver_lock import driver_of

    def ended() -> bool:
        return driver_of(directory) is None

    path = directory / layout.DRIVER_LOG
    if not path.exists() and not (follow and not ended()):
        echo(f"no driver of study '{directory.name}' has left a log ({path}); `hpo run` writes one", err=True)
        return
    _print(path, lines, ended if follow else None)
    if follow:
        status = follow_up(f"status {shlex.quote(directory.name)}", runs)
        echo(f"no driver is at work; `{status}` says where it stands", err=True)


def _of_trial(directory: Path, runs: Path, number: int, follow: bool, lines: int) -> None:
    from hpo.storage.driver_lock import driver_of
    from hpo.storage.load_study import load_study

    name = directory.name
    _, study = load_study(runs, name)
    numbers = [trial.number for trial in study.get_trials(deepcopy=False)]
    if number not in numbers:
        there = f"its trials are 0 to {numbers[-1]}" if numbers else "it has none yet"
        raise HpoError(f"study '{name}' has no trial {number}; {there}")

    def state() -> str:
        trial = study.get_trials(deepcopy=False)[number]
        return "it waits at a rung" if waits(trial) else str(trial.state.name)

    def ended() -> bool:
        # Nobody waits for a trial that waits for a driver.
        return state() not in ("RUNNING", "WAITING") or driver_of(directory) is None

    folder = layout.trial_directory(directory, number)
    path = folder / layout.OUTPUT
    if not path.exists() and not (follow and not ended()):
        where = _elsewhere(directory)
        echo(f"trial {number} of study '{name}' ({state()}) has printed nothing ({path}){where}", err=True)
    else:
        _print(path, lines, ended if follow else None)
    _note_error(folder, number, state())
    origin = study.get_trials(deepcopy=False)[number].user_attrs.get(ORIGIN, {})
    if (earlier := origin.get("retry_of")) is not None:
        command = follow_up(f"logs {shlex.quote(name)} {earlier}", runs)
        echo(f"it is a further attempt at trial {earlier}: `{command}`", err=True)


def _elsewhere(directory: Path) -> str:
    """Return a sentence about what workers printed between trials, into files of their own."""
    workers = layout.workers_directory(directory)
    found = sorted(path.name for path in workers.glob("*.log") if path.stat().st_size) if workers.is_dir() else []
    return f"; what workers printed outside of trials: {workers} ({listing(found)})" if found else ""


def _note_error(folder: Path, number: int, state: str) -> None:
    for name, what in ((layout.ERROR, "traceback"), (layout.CRASH, "Python stacks")):
        path = folder / name
        try:
            written = tail_of(path, _BLOCK).decode(errors="replace").split("\n")
        except (FileNotFoundError, NotPlainError):
            continue
        if last := next((line.strip() for line in reversed(written) if line.strip()), ""):
            echo(f"trial {number} is {state}; its {what}: {path} ({cut(last, LONGEST_REASON)})", err=True)
            return


def _print(path: Path, lines: int, ended: Callable[[], bool] | None) -> None:
    """Print the last lines of a file; with `ended` also what is added until that returns True."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    position = _start_of_last(path, lines) if path.exists() else 0
    looked, last = float("-inf"), float("inf")
    while True:
        position = _print_from(path, position, decoder)
        now = time.monotonic()
        if ended is None or now > last:
            return
        if last == float("inf") and now - looked > _ENDED_SECONDS:
            looked = now
            if ended():
                last = now + _LAST_SECONDS
        time.sleep(_LOOK_SECONDS)


def _print_from(path: Path, position: int, decoder: codecs.IncrementalDecoder) -> int:
    """Print a file from a position, and return where it ends; a file that became shorter is begun anew."""
    try:
        with open_plain(path) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(position if position <= size else 0)
            while block := file.read(_BLOCK):
                echo_output(decoder.decode(block))
            return file.tell()
    except FileNotFoundError:
        return position


def _start_of_last(path: Path, lines: int) -> int:
    """Return where the last `lines` lines of a file begin; its last line may lack the end.

    The file is read backwards, as far as it is needed.
    """
    with open_plain(path) as file:
        size = start = last = file.seek(0, os.SEEK_END)
        left, following = lines, b""
        while start > 0 and left > 0:
            before = max(0, start - _BLOCK)
            file.seek(before)
            block = file.read(start - before)
            ends = [before + end.end() for end in _LINE_END.finditer(block + following) if end.start() < len(block)]
            for end in reversed(ends):
                # The end of the file begins no line, and blocks may part the two characters of one end.
                if end < last:
                    left, last = left - 1, end
                    if left == 0:
                        return last
            if last - before > _LONGEST_LINE:
                return before
            start, following = before, block[:1]
    return size if lines == 0 else 0
