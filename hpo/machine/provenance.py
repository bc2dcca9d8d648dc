"""Facts of the machine and its software on which the numbers of a training may depend. Nothing is imported for them."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from hpo.text import redact

# A larger diff holds data or generated files: it is left out, and its size is kept.
MOST_DIFF_BYTES = 2**20
_DISTRIBUTION = re.compile(r"(.+?)-(\d[^-]*|[^-]+)\.dist-info")


@cache
def packages() -> dict[str, str]:
    """Return the version of each installed package by its normalised name (PEP 503).

    The names of the folders say both. To read the metadata of each package would take a hundred times as long.
    """
    found: dict[str, str] = {}
    for folder in sys.path:
        for path in sorted(Path(folder or ".").glob("*.dist-info")) if Path(folder or ".").is_dir() else ():
            if named := _DISTRIBUTION.fullmatch(path.name):
                found.setdefault(re.sub(r"[-_.]+", "-", named[1]).lower(), named[2])
    return dict(sorted(found.items()))


@cache
def machine() -> dict[str, Any]:
    """Return the interpreter, the platform, and the processor's model."""
    return {"python": platform.python_version(), "platform": platform.platform(), "processor": _processor()}


def git_state(folder: Path) -> dict[str, Any]:
    """Return the commit of a folder's git repository, and what the working tree has changed since.

    Passwords in the diff are left out, as everywhere. Files that git does not track are not in it.

    Returns:
        `commit`, `diff` (text against the commit, relative to the top of the repository) and `diff_bytes`; nothing
        where there is no repository or no commit. A diff of more than 1 MiB is left out, and one that cannot be had.
    """
    commit = git_output(folder, "rev-parse", "HEAD").strip()
    if not commit:
        return {}
    diff = git_output(folder, "diff", "HEAD", "--no-color", "--no-ext-diff", "--no-textconv")
    size = len(diff.encode(errors="replace"))
    return {"commit": commit, "diff": redact(diff) if size <= MOST_DIFF_BYTES else "", "diff_bytes": size}


def git_output(folder: Path, *arguments: str) -> str:
    """Return what git prints of a folder; empty if git is not there, fails or does not end."""
    return _output(["git", "-C", str(folder), *arguments])


def _output(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode(errors="replace")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())
