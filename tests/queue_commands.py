"""Commands of queues that are not on this machine: they note how they were called, and answer."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest


class Commands:
    """A folder of commands that comes first on $PATH; `alone`: so that those of the machine are not found."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, alone: bool = False) -> None:
        self.folder = folder
        folder.mkdir()
        for name in ("cat", "sleep", "wc"):
            (folder / name).symlink_to(str(shutil.which(name)))
        monkeypatch.setattr("hpo.cluster.commands.QUERY_TIMEOUT", 60.0)  # bash on a busy machine
        monkeypatch.setenv("PATH", str(folder) if alone else f"{folder}{os.pathsep}{os.environ['PATH']}")

    def add(self, name: str, body: str = "") -> None:
        """`body`: bash, after the call is noted; $n is its number, counted from 1."""
        path = self.folder / name
        calls = self.folder / f"{name}.calls"
        path.write_text(f'#!/bin/bash\necho "$*" >> "{calls}"\nn=$(wc -l < "{calls}")\n{body}\n')
        path.chmod(0o755)

    def calls(self, name: str) -> list[str]:
        """The arguments of each call."""
        path = self.folder / f"{name}.calls"
        return path.read_text().splitlines() if path.exists() else []

    def keep(self, name: str, number: int) -> Path:
        """Where a command of `add(name, KEEP)` put what it read in call `number`."""
        return self.folder / f"{name}.{number}"


KEEP = 'cat > "$0.$n"'
