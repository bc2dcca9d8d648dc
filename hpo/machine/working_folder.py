"""Working folder of a process: libraries fail to load in one that was removed, MKL and MLflow among them."""

from __future__ import annotations

import os
from pathlib import Path


def leave_removed(folder: Path) -> str | None:
    """Change to `folder` if this process's working folder is not there any more.

    Returns:
        What was done, in a sentence; None if nothing was.
    """
    try:
        os.getcwd()
    except FileNotFoundError:
        os.chdir(folder)
        return f"the folder in which this was started is not there any more; it goes on in {folder}"
    return None
