"""Checks for files in a study's folder that belong to nobody: half written ones, and unknown ones."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from hpo import layout
from hpo.control.requests import read_steering
from hpo.doctor.context import Check, StudyContext
from hpo.doctor.finding import Finding
from hpo.errors import ControlError
from hpo.storage.lost_and_found import set_aside
from hpo.storage.ownership import is_foreign, key_of, move_aside, read_key, write_key
from hpo.storage.shared_trials import original_of_trials
from hpo.text import count

# Seconds after which nobody waits for an answer any more.
_UNANSWERED = 60.0
_NAMES = {
    *(layout.HISTORY, layout.WEIGHTS, layout.STEPS, layout.EPOCHS, layout.DATA),
    *(layout.SPEC, layout.MLFLOW, layout.STEERING, Path(layout.CHECKPOINT).stem),
}
_HALF = re.compile(r"(?P<name>.+?)\.partial$")
# Others are written by commands too, which hold no lock: by the process whose number is in the name.
_NUMBERED = re.compile(r"\.(\d+)\.partial(-journal|-wal|-shm)?$")


def trials_away(context: StudyContext) -> Iterator[Finding]:
    """Find trials' folders that are on a file system which is not there, or that are another study folder's."""
    trials = layout.trials_directory(context.directory)
    if original := original_of_trials(context.directory):
        yield Finding(
            "trials-of-original", context.name, None,
            f"{trials} is a link to {os.readlink(trials)}, whose trials are those of {original}: this folder is a copy "
            "of it",
            "certain", "look at the original; `hpo backup` and `hpo restore` make a copy with trials of its own",
        )  # fmt: skip
    elif away(context):
        yield Finding(
            "trials-away", context.name, None, f"{trials} is a link to {os.readlink(trials)}, which is not there",
            "certain", "bring that folder back (is it mounted here?); without it the histories cannot be looked at",
        )  # fmt: skip


def foreign_folder(context: StudyContext) -> Iterator[Finding]:
    """Find a folder that another study of the same name has left, and one that does not carry its study's key."""
    key, there = key_of(context.study), read_key(context.directory)
    if not key or key == there or context.driver is not None:
        return
    path = context.directory / layout.OWNER
    if is_foreign(context.directory, key, context.trials):
        yield Finding(
            "folder-foreign", context.name, None,
            f"{context.directory} holds the trials of another study of this name: its key is not that of the study in "
            "the storage", "certain", f"move them to {layout.LOST_AND_FOUND}", partial(_take_over, context, key),
        )  # fmt: skip
    else:
        what = "is damaged" if path.exists() else "is gone"
        yield Finding(
            "folder-without-key", context.name, None, f"{path}, which says that the folder is this study's, {what}",
            "certain", "write it again", partial(write_key, context.directory, key),
        )  # fmt: skip


def _take_over(context: StudyContext, key: str) -> None:
    list(move_aside(context.directory))
    write_key(context.directory, key)


def unknown_trials(context: StudyContext) -> Iterator[Finding]:
    """Find folders of trials that Optuna does not know: another study's, or those of a storage that was replaced.

    Optuna gets a trial before its folder is made.
    """
    trials = layout.trials_directory(context.directory)
    if context.driver is not None or not trials.is_dir():
        return
    known = {str(trial.number) for trial in context.trials}
    for folder in sorted(trials.iterdir()):
        if folder.is_dir() and folder.name.isdecimal() and folder.name not in known:
            below = f"trials/{folder.name}"
            yield Finding(
                "trial-unknown", context.name, None, f"{folder}: Optuna knows no trial {folder.name} of this study",
                "certain", f"move it to {layout.LOST_AND_FOUND}/{below}",
                partial(_move, context.directory, folder, below),
            )  # fmt: skip


def half_written(context: StudyContext) -> Iterator[Finding]:
    """Find files that were to replace others, and whose writer died before; the others are whole.

    Files of names that hpo does not give may be somebody's results.
    """
    if context.driver is not None:
        return
    folders = [
        context.directory,
        context.directory / layout.REQUESTS,
        *(context.folder(trial.number) for trial in context.trials),
    ]
    for folder in folders:
        for path in sorted(folder.glob("*.partial")):
            if not path.is_file() or _being_written(path):
                continue
            said = f"{path} was never finished: its writer died"
            half = _HALF.match(path.name)
            if (half and half["name"] in _NAMES) or _NUMBERED.search(path.name) or folder.name == layout.REQUESTS:
                yield Finding(
                    "half-written", context.name, None, said, "certain",
                    "remove it; the file that it was to replace is as it was", partial(path.unlink, missing_ok=True),
                )  # fmt: skip
            else:
                below = str(path.relative_to(context.directory))
                yield Finding(
                    "half-written", context.name, None, said, "likely", f"move it to {layout.LOST_AND_FOUND}/{below}",
                    partial(_move, context.directory, path, below),
                )  # fmt: skip


def left_in(runs: Path) -> Iterator[Finding]:
    """Find half written files in the runs folder: MLflow's store while it was made, a journal, a backup."""
    patterns = (f"{layout.MLFLOW_STORE}.*.partial*", f"{layout.JOURNAL}.*.partial", f"{layout.BACKUPS}/*.partial")
    for path in sorted(path for pattern in patterns for path in runs.glob(pattern)):
        if _NUMBERED.search(path.name) and not _being_written(path):
            yield Finding(
                "half-written", "", None, f"{path} was never finished: its writer died", "certain", "remove it",
                partial(path.unlink, missing_ok=True),
            )  # fmt: skip


def unanswered_requests(context: StudyContext) -> Iterator[Finding]:
    """Find requests to a driver that did not answer; whoever made them has gone."""
    files = [path for path in sorted((context.directory / layout.REQUESTS).glob("*.json")) if _age(path) > _UNANSWERED]
    if not files:
        return
    what = f"{count(len(files), 'request')} in {context.directory / layout.REQUESTS}"
    if context.driver is None:
        yield Finding(
            "requests-left", context.name, None, f"{what} for a driver that is gone", "certain",
            "remove them: they were asked of that driver", partial(_remove, files),
        )  # fmt: skip
    else:
        yield Finding(
            "requests-left", context.name, None, f"{what}, unanswered for more than {_UNANSWERED:.0f} s by the driver",
            "possible", "look whether the driver hangs (`hpo logs`); the next driver removes them",
        )  # fmt: skip


def damaged_steering(context: StudyContext) -> Iterator[Finding]:
    """Find a steering.json that cannot be read: commands and the next run refuse to guess what it said."""
    try:
        read_steering(context.directory)
    except ControlError:
        yield Finding(
            "steering-damaged", context.name, None,
            f"{context.directory / layout.STEERING} cannot be read: whether the study is paused, and how far its "
            "budget was extended, is not known",
            "certain",
            f"move it to {layout.LOST_AND_FOUND}/{layout.STEERING}: the study then goes on as study.yaml says",
            partial(_move, context.directory, context.directory / layout.STEERING, layout.STEERING),
        )  # fmt: skip


def away(context: StudyContext) -> bool:
    """Return True if the trials' folders are a link to a folder that is not there, or to those of the original."""
    trials = layout.trials_directory(context.directory)
    return trials.is_symlink() and (not trials.exists() or bool(original_of_trials(context.directory)))


def _being_written(path: Path) -> bool:
    numbered = _NUMBERED.search(path.name)
    return numbered is not None and Path(f"/proc/{numbered[1]}").exists() and _age(path) < _UNANSWERED


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:  # answered just now
        return 0.0


def _move(study: Path, path: Path, below: str) -> None:
    if os.path.lexists(path):
        set_aside(study, path, below)


def _remove(files: list[Path]) -> None:
    for path in files:
        path.unlink(missing_ok=True)


CHECKS: tuple[Check, ...] = (
    trials_away,
    foreign_folder,
    unknown_trials,
    half_written,
    unanswered_requests,
    damaged_steering,
)
