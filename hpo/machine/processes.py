"""Processes of this machine, as Linux describes them."""

from __future__ import annotations

from pathlib import Path


def status_fields(pid: int) -> list[str]:
    """Return the fields of `/proc/<pid>/stat` from the state on: see proc(5), whose field 3 is the first here.

    Raises:
        OSError: there is no such process.
    """
    # The name before them may hold spaces and parentheses.
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
