"""Files of `hpo evaluate` in a trial's folder and of `hpo ensemble` in a study's: JSON, never changed afterwards."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from hpo import layout
from hpo.machine.files import read_json, write_atomically


def write_evaluation(folder: Path, when: float, content: bytes, kind: str = layout.EVALUATIONS) -> Path:
    """Write a new file beside those of earlier evaluations and return its path.

    Args:
        folder: The folder of the trial, or of the study.
        when: Seconds since the epoch.
        content: The JSON.
        kind: The name of the folder in it.

    Raises:
        OSError: It cannot be written.
    """
    directory = folder / kind
    directory.mkdir(exist_ok=True)
    path = directory / f"{datetime.fromtimestamp(when):%Y-%m-%d-%H-%M-%S-%f}.json"
    write_atomically(path, content)
    return path


def stored_evaluations(folder: Path, kind: str = layout.EVALUATIONS) -> list[dict[str, Any]]:
    """Return what the files of a folder hold, the oldest first; what cannot be read is left out."""
    found = []
    for path in sorted((folder / kind).glob("*.json")):
        try:
            data = read_json(path)
        except (OSError, ValueError):
            continue
        if isinstance(data, dict):
            found.append(data)
    return found
