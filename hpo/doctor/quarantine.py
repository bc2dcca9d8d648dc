"""Quarantine for what the doctor takes away: nothing that may hold a result is deleted."""

from __future__ import annotations

import shutil
from pathlib import Path

from hpo import layout


def quarantine(study: Path, path: Path, below: str) -> Path:
    """Move a file or folder to `lost+found/<below>` of the study's folder; return where it is now.

    If something is there, it gets a number of its own.
    """
    target = free_name(study / layout.LOST_AND_FOUND / below)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(path, target)  # the trials may be on another file system
    return target


def keep_damaged(path: Path) -> Path:
    """Copy a file that is about to be fixed to `<file>.damaged`; return where."""
    target = free_name(path.with_name(f"{path.name}.damaged"))
    shutil.copyfile(path, target)
    return target


def free_name(path: Path) -> Path:
    """Return `path`, or the first of `path.2`, `path.3`, ... where nothing is."""
    candidate, number = path, 1
    while candidate.exists() or candidate.is_symlink():
        number += 1
        candidate = path.with_name(f"{path.name}.{number}")
    return candidate
