"""Saved studies: entries of the trash and of backups, in one format.

An entry is a folder with `saved.json` (what it is), `optuna.log` (the Optuna study as a journal of its own, unless its
storage had none any more) and `folder/` (the study's folder).
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from hpo import layout
from hpo.errors import NotRestored
from hpo.machine.files import write_atomically


@dataclass(frozen=True)
class SavedStudy:
    """Content of `saved.json`.

    Attributes:
        study: The study's name.
        key: Its key; empty for a study of an earlier version of hpo.
        saved: When it was saved, in seconds since the epoch.
        trials: Number of its trials in Optuna; None if its storage had none.
        folder: Its folder at that time.
        storage: The URL of its storage, without a password.
        driven: A driver was at work on it.
        deleting: Its deletion has not ended: the study is in its storage, or its runs are in MLflow.
        mlflow_runs: IDs of its runs in MLflow that went to MLflow's trash with it.
    """

    study: str
    key: str
    saved: float
    trials: int | None
    folder: str
    storage: str
    driven: bool = False
    deleting: bool = False
    mlflow_runs: tuple[str, ...] = ()

    @property
    def when(self) -> str:
        """The time in words."""
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.saved))

    def to_json(self) -> str:
        """Return the content of the file."""
        return json.dumps(asdict(self), indent=1)


def write_saved(entry: Path, saved: SavedStudy) -> None:
    """Write what an entry is."""
    write_atomically(entry / layout.SAVED, saved.to_json())


def read_saved(entry: Path) -> SavedStudy:
    """Read what an entry is.

    Raises:
        NotRestored: the file is gone or damaged.
    """
    path = entry / layout.SAVED
    try:
        return parse_saved(path.read_bytes())
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise NotRestored(
            f"{path} cannot be read ({error}); expected what `hpo backup` or `hpo delete` wrote"
        ) from error


def parse_saved(content: bytes) -> SavedStudy:
    """Return what the content of `saved.json` says. Raises ValueError, TypeError or KeyError if it says nothing."""
    written: dict[str, Any] = json.loads(content)
    known = {field.name: written[field.name] for field in fields(SavedStudy) if field.name in written}
    saved = SavedStudy(**known | {"mlflow_runs": tuple(written.get("mlflow_runs", ()))})
    if not isinstance(saved.study, str) or Path(saved.study).name != saved.study or saved.study.startswith("."):
        raise ValueError(f"{saved.study!r} is not the name of a study")
    if not isinstance(saved.saved, (int, float)):
        raise ValueError(f"{saved.saved!r} is no time")
    return saved


def trash_entries(runs: Path) -> list[tuple[Path, SavedStudy]]:
    """Return the deleted studies that the trash holds, the latest first.

    Left out are entries that cannot be read, and those without a folder: of a deletion that was cut short before it
    took anything away.
    """
    trash = layout.trash_directory(runs)
    found = []
    for entry in trash.iterdir() if trash.is_dir() else ():
        with contextlib.suppress(OSError, NotRestored):
            if not entry.name.startswith(".") and os.path.lexists(entry / layout.SAVED_FOLDER):
                found.append((entry, read_saved(entry)))
    return sorted(found, key=lambda one: one[1].saved, reverse=True)


def unfinished_deletions(runs: Path, name: str) -> list[Path]:
    """Return the entries of the trash of studies of this name whose deletion was cut short."""
    return [entry for entry, saved in trash_entries(runs) if saved.study == name and saved.deleting]
