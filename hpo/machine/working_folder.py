"""Working folder of a process: libraries fail to load in one that was removed, MKL and MLflow among them."""

from __future__ import annotations

# Bound here: an objective may replace those of `os`.
from os import chdir, getcwd
from pathlib import Path


def leave_removed(folder: Path) -> str | None:
    """Change to `folder` if this process's working folder is not there any more.

    Returns:
        What was done, in a sentence; None if nothing was.
    """
    try:
        getcwd()
    except FileNotFoundError:
        chdir(folder)
        return f"the folder in which this was started is not there any more; it goes on in {folder}"
    return None
