"""Where the doctor puts what it takes away: nothing that may hold a result is deleted."""

from __future__ import annotations

import shutil
from pathlib import Path

from hpo import layout


def set_aside(study: Path, path: Path, below: str) -> Path:
    """Moves a file or folder to `lost+found/<below>` of the study's folder, under a number of its own if something is
    there; returns where it is now."""
    target = free_name(study / layout.LOST_AND_FOUND / below)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(path, target)  # the trials may be on another file system
    return target


def keep_damaged(path: Path) -> Path:
    """Copies a file that is about to be mended to `<file>.damaged`; returns where."""
    target = free_name(path.with_name(f"{path.name}.damaged"))
    shutil.copyfile(path, target)
    return target


def free_name(path: Path) -> Path:
    """`path`, or the first of `path.2`, `path.3`, ... where nothing is."""
    candidate, number = path, 1
    while candidate.exists() or candidate.is_symlink():
        number += 1
        candidate = path.with_name(f"{path.name}.{number}")
    return candidate
