"""Lost and found: files that are taken away from where they are found. Nothing that may hold a result is deleted."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from hpo import layout


def set_aside(study: Path, path: Path, below: str) -> Path:
    """Move a file or folder to `lost+found/<below>`; return where it is now.

    That is in the study's folder, or beside the trials' folders if those are on another file system. If something is
    there, it gets a number of its own. Links are moved as links.

    Args:
        study: the study's folder.
        path: what is moved.
        below: its new path in `lost+found`.

    Raises:
        OSError: it cannot be moved.
    """
    at = layout.trials_place(study) if path.parent == layout.trials_directory(study) else study
    target = free_name(at / layout.LOST_AND_FOUND / below)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.move(path, target)  # to another file system
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
