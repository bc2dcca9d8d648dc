"""A page followed from top to bottom in a folder of its own, as a reader does who types what it shows."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpo.spec.yaml_document import load_text

from .blocks import ROOT, Block, blocks_of

FILES = Path(__file__).parent / "files"


@dataclass
class Walk:
    """What came of a page.

    Attributes:
        folder: where its commands run.
        printed: of each command, in order, the command and what it printed.
        names: what its Python has defined.
        output: what its Python printed.
    """

    folder: Path
    printed: list[tuple[str, str]] = field(default_factory=list)
    names: dict[str, Any] = field(default_factory=dict)
    output: str = ""

    def follow(self, page: Path) -> Walk:
        """Do what each block says."""
        for block in blocks_of(page):
            self.shell(block.setup, block)
            if block.file:
                self.write(block)
            elif block.kind == "yaml" and not block.not_run and is_study(block):
                (self.folder / "study.yaml").write_text(block.text)
            elif block.kind == "python" and not block.not_run:
                self.execute(block)
            elif block.kind == "console" and not block.not_run:
                for command in block.commands:
                    self.shell(command, block)
        return self

    def write(self, block: Block) -> None:
        """Write the file that the block is, or behind what it holds already."""
        path = self.folder / block.file
        path.parent.mkdir(parents=True, exist_ok=True)
        assert block.continues == path.exists(), f"{block.place}: {block.file} is shown before, or is not"
        earlier = f"{path.read_text()}\n\n" if block.continues else ""
        path.write_text(earlier + block.text)

    def execute(self, block: Block) -> None:
        """Execute Python with the names that the page's Python has defined so far."""
        printed, before = io.StringIO(), Path.cwd()
        os.chdir(self.folder)
        try:
            with contextlib.redirect_stdout(printed):
                exec(compile("\n" * block.line + block.text, str(block.page), "exec"), self.names)
        finally:
            os.chdir(before)
            self.output += printed.getvalue()

    def shell(self, command: str, block: Block) -> None:
        """Run a shell's line; one that fails is an error with what was printed."""
        if not command:
            return
        for place in ("/path/to/", "/data/"):  # where pages have the reader's own files
            command = command.replace(f"={place}", f"={self.folder}/").replace(f" {place}", f" {self.folder}/")
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", command],
            cwd=self.folder,
            env=environment(self.folder),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=900,  # of a command that waits for somebody, such as a server's, which is not to be run
        )
        assert done.returncode == 0, f"{block.place}: {command}\n{done.stdout}\n{done.stderr}"
        self.printed.append((command, done.stdout + done.stderr))


def is_study(block: Block) -> bool:
    """Return True if the block is a whole study."""
    data = load_text(block.text, block.place).data
    return isinstance(data, dict) and {"metrics", "search_space", "budget"} <= set(data)


def environment(folder: Path) -> dict[str, str]:
    """Return that of a shell in which this Python's environment is activated; `hpo` is this checkout's."""
    programs = folder.parent / f"{folder.name}-bin"
    if not programs.exists():
        programs.mkdir()
        (programs / "hpo").write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m hpo "$@"\n')
        (programs / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        for program in programs.iterdir():
            program.chmod(0o755)
        (programs / "home").mkdir()
    kept = {key: value for key, value in os.environ.items() if key not in ("HPO_RUNS", "MLFLOW_TRACKING_URI")}
    path = f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    # A page may write to the reader's settings, and open a browser.
    home = {"HOME": str(programs / "home"), "XDG_CONFIG_HOME": str(programs / "home" / ".config"), "BROWSER": "true"}
    return kept | home | {"PATH": path, "PYTHONPATH": str(ROOT), "FILES": str(FILES), "COLUMNS": "120"}
