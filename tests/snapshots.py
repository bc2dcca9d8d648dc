"""Everything that can be seen of a folder, to be compared after something that must not change it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

Snapshot = dict[str, tuple[int, int, int, str]]


def snapshot(folder: Path) -> Snapshot:
    """Mode, size, time of the last change and content of each file and folder, by its path."""
    found: Snapshot = {}
    for path in (folder, *sorted(folder.rglob("*"))):
        status = path.lstat()
        content = ""
        if path.is_symlink():
            content = os.readlink(path)
        elif path.is_file():
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        size = 0 if path.is_dir() else status.st_size
        found[str(path.relative_to(folder))] = (status.st_mode, size, status.st_mtime_ns, content)
    return found
