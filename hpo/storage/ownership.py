"""Ownership of a study's folder: told by a random key, which the study in the storage and its folder both carry.

Names do not tell it. A study that was deleted in optuna-dashboard and run again, or whose `storage` was changed, has
the name, the folder and the trial numbers of another one. Inside the folder each history names the trial that it
belongs to (`hpo.storage.history`).
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hpo import layout
from hpo.machine.files import write_atomically
from hpo.storage.history import Owner, owners_in
from hpo.storage.lost_and_found import set_aside
from hpo.storage.trial_attributes import KEY

if TYPE_CHECKING:
    import optuna

# What tells of a study's trials or steers it. The rest, such as logs and jobs, may stay.
_OF_A_STUDY = (layout.MLFLOW, layout.STEERING, *layout.REPORTS)


def key_of(study: optuna.Study) -> str:
    """Return the key of a study; empty if it was made by an earlier version of hpo, or not by hpo."""
    return str(study.user_attrs.get(KEY, ""))


def give_key(study: optuna.Study) -> str:
    """Return the key of a study, which gets one if it has none."""
    known = key_of(study)
    if not known:
        known = secrets.token_hex(16)
        study.set_user_attr(KEY, known)
    return known


def read_key(folder: Path) -> str:
    """Return the key that a folder carries; empty if it carries none."""
    try:
        key = json.loads((folder / layout.OWNER).read_text(encoding="utf-8"))["key"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return ""
    return key if isinstance(key, str) else ""


def write_key(folder: Path, key: str) -> None:
    """Write the key into a folder, unless the folder carries it."""
    if read_key(folder) != key:
        write_atomically(folder / layout.OWNER, json.dumps({"key": key}))


def is_foreign(directory: Path, key: str, has_trials: bool) -> bool:
    """Return True if the folder of a study holds what another study of its name has left.

    Args:
        directory: the folder.
        key: that of the study in the storage; empty if it has none, or if there is no such study.
        has_trials: the study in the storage has trials.
    """
    there = read_key(directory)
    if there == key and key:
        return False
    if not key and has_trials:
        return False  # an earlier version of hpo made it, which gave no keys
    if not there and key:
        return False  # the file is gone
    # A damaged file is told from a foreign folder by the histories.
    return not (key and any(owner.study == key for owner in _owners(directory)))


def set_foreign_aside(directory: Path, name: str, storage: optuna.storages.BaseStorage) -> Iterator[str]:
    """Move what another study of the same name has left in the study's folder to `lost+found`.

    Args:
        directory: the study's folder.
        name: the study's.
        storage: where the study is, or will be made.

    Yields:
        A sentence for the user, if anything was moved.

    Raises:
        OSError: a file cannot be moved.
    """
    found = {study.study_name: study for study in storage.get_all_studies()}.get(name)
    key = str(found.user_attrs.get(KEY, "")) if found else ""
    has_trials = found is not None and storage.get_n_trials(found._study_id) > 0
    if is_foreign(directory, key, has_trials):
        yield from move_aside(directory)


def move_aside(directory: Path) -> Iterator[str]:
    """Move the trials, the report, and the state of the study that a folder holds to `lost+found`.

    Yields:
        A sentence for the user, if there were trials.
    """
    trials = layout.trials_directory(directory)
    there = read_key(directory)
    below = f"study-{there[:8]}" if there else "study-before"
    folders = _trial_folders(directory)
    for path in folders:
        set_aside(directory, path, f"{below}/trials/{path.name}")
    for path in (directory / file for file in _OF_A_STUDY):
        if path.exists():
            set_aside(directory, path, f"{below}/{path.name}")
    if folders:
        yield (
            f"{directory} held {len(folders)} trial{'' if len(folders) == 1 else 's'} of another study of this name "
            f"(it was deleted in its storage, or `storage` was changed); they are in "
            f"{trials.resolve().parent / layout.LOST_AND_FOUND / below} now, and count nowhere"
        )


def _owners(directory: Path) -> Iterator[Owner]:
    for folder in _trial_folders(directory):
        yield from owners_in(folder / layout.HISTORY)


def _trial_folders(directory: Path) -> list[Path]:
    trials = layout.trials_directory(directory)
    return [path for path in trials.iterdir() if path.name.isdecimal()] if trials.is_dir() else []
