"""Ownership of a study's folder: told by a random key, which the study in the storage and its folder both carry.

Names do not tell it. A study that was deleted in optuna-dashboard and run again, or whose `storage` was changed, has
the name, the folder and the trial numbers of another one. Inside the folder each history names the trial that it
belongs to (`hpo.storage.history`).
"""

from __future__ import annotations

import json
import os
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo import layout
from hpo.machine.files import read_json, write_atomically
from hpo.storage.histories import mark_in_storage
from hpo.storage.history import rows
from hpo.storage.lost_and_found import set_aside
from hpo.storage.trial_attributes import KEY

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

# What tells of a study's trials or steers it. The rest, such as logs and jobs, may stay.
_OF_A_STUDY = (layout.MLFLOW, layout.STEERING, layout.CONFIRMED, *layout.REPORTS)


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


def study_in(storage: optuna.storages.BaseStorage, name: str) -> tuple[int, str] | None:
    """Return Optuna's id and the key of the study of this name in a storage; None if there is none."""
    try:
        study = storage.get_study_id_from_name(name)
    except KeyError:
        return None
    return study, str(storage.get_study_user_attrs(study).get(KEY, ""))


def read_key(folder: Path) -> str:
    """Return the key that a folder carries; empty if it carries none."""
    key = _read(folder / layout.OWNER).get("key")
    return key if isinstance(key, str) else ""


def write_key(folder: Path, key: str, study: Path | None = None) -> None:
    """Write the key into a folder, and the place of the study's folder, by which a copy is told from the original.

    Args:
        folder: the study's folder, or one elsewhere that was made for it.
        key: the study's.
        study: the study's folder; None: `folder` itself.
    """
    record = {"key": key, **place_of(study or folder)}
    if _read(folder / layout.OWNER) != record:
        write_atomically(folder / layout.OWNER, json.dumps(record))


# --- copies


def place_of(study: Path) -> dict[str, Any]:
    """Return where a study's folder is, as a record that travels with a copy of it."""
    there = os.path.realpath(study)
    return {"folder": there, "host": socket.gethostname(), "inode": os.stat(there).st_ino}


def recorded_folder(study: Path) -> Path | None:
    """Return where the study's folder was when it was driven last; None if that was not noted."""
    there = _read(study / layout.OWNER).get("folder")
    return Path(there) if isinstance(there, str) else None


def original_of(folder: Path, study: Path | None = None) -> str:
    """Return the folder of which a study's folder is a copy, or `host:folder`; empty if it is none, or was moved.

    Args:
        folder: what carries the record: the study's folder, or one elsewhere that was made for it.
        study: the study's folder; None: `folder` itself.
    """
    record = _read(folder / layout.OWNER)
    return copied_from(record, study or folder, lambda there: there.get("key") == record.get("key"), layout.OWNER)


def copied_from(record: Mapping[str, Any], study: Path, has_it: Callable[[Mapping[str, Any]], bool], file: str) -> str:
    """Return the folder of which `study` is a copy, or `host:folder`; empty if it is none, or was moved.

    Args:
        record: what `place_of` returned of the folder in which it was written.
        study: the study's folder.
        has_it: says of the content of `file` in the folder there whether that is still the same study.
        file: the name of a JSON file in a study's folder.
    """
    there = record.get("folder")
    if not isinstance(there, str):
        return ""  # an earlier version of hpo noted none
    here = os.path.realpath(study)
    if there != here and has_it(_read(Path(there) / file)):
        return there
    if record.get("host") == socket.gethostname():
        return ""
    # Another machine's folders cannot be looked at. A folder that both see has one inode on both.
    try:
        seen = os.stat(here).st_ino == record.get("inode")
    except OSError:
        seen = False
    return "" if seen else f"{record.get('host')}:{there}"


def _read(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file; an empty one if there is none."""
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def is_foreign(directory: Path, key: str, trials: Sequence[FrozenTrial]) -> bool:
    """Return True if the folder of a study holds what another study of its name has left.

    Args:
        directory: the folder.
        key: that of the study in the storage; empty if it has none, or if there is no such study.
        trials: those of the study in the storage.
    """
    there = read_key(directory)
    if there == key and key:
        return False
    if not key and trials:
        return False  # an earlier version of hpo made it, which gave no keys
    if not there and key:
        return False  # the file is gone
    # A damaged file is told from a foreign folder by the histories.
    known = set(map(mark_in_storage, trials)) - {""}
    segments = layout.segments_directory(directory).glob("*.jsonl")
    histories = (*(folder / layout.HISTORY for folder in _trial_folders(directory)), *segments)
    return not any(row.owner in known for file in histories for row in rows(file))


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
    found = study_in(storage, name)
    key = found[1] if found else ""
    trials = storage.get_all_trials(found[0], deepcopy=False) if found else []
    if is_foreign(directory, key, trials):
        yield from move_aside(directory)


def move_aside(directory: Path, key: str = "") -> Iterator[str]:
    """Move the trials, the report, and the state of the study that a folder holds to `lost+found`.

    Args:
        directory: the folder.
        key: the study's; empty: that which the folder carries.

    Yields:
        A sentence for the user, if there were trials.
    """
    below = place_aside(key or read_key(directory))
    folders = _trial_folders(directory)
    for path in folders:
        set_aside(directory, path, f"{below}/trials/{path.name}")
    if (segments := layout.segments_directory(directory)).exists():
        set_aside(directory, segments, f"{below}/trials/{segments.name}")
    for path in (directory / file for file in _OF_A_STUDY):
        if path.exists():
            set_aside(directory, path, f"{below}/{path.name}")
    if folders:
        yield (
            f"{directory} held {len(folders)} trial{'' if len(folders) == 1 else 's'} of another study of this name "
            f"(it was deleted in its storage, or `storage` was changed); they are in "
            f"{layout.trials_place(directory) / layout.LOST_AND_FOUND / below} now, and count nowhere"
        )


def place_aside(key: str) -> str:
    """Return the name in `lost+found` of what a study of this key has left."""
    return f"study-{key[:8]}" if key else "study-before"


def _trial_folders(directory: Path) -> list[Path]:
    trials = layout.trials_directory(directory)
    return [path for path in trials.iterdir() if path.name.isdecimal()] if trials.is_dir() else []
