"""How much of the host's memory a process and what it started have held (Linux; elsewhere nobody knows).

A worker lives over many trials, and the kernel's peak over all of them: `forget_peak` starts it anew."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")
_KIB = re.compile(r"^(VmHWM|VmRSS):\s+(\d+) kB$", re.MULTILINE)


def forget_peak() -> None:
    """From here on the peak of this process counts anew (proc(5): clear_refs)."""
    with contextlib.suppress(OSError):
        (_PROC / "self" / "clear_refs").write_text("5")


def host_memory() -> int:
    """Bytes: the most that this process has held since `forget_peak`, and the most of each process below it that
    still runs. What several of them share is counted once for each. 0 where nobody knows."""
    return sum(map(_peak, _family("self")))


def _family(pid: str) -> Iterator[str]:
    yield pid
    for task in (_PROC / pid / "task").glob("*"):
        with contextlib.suppress(OSError):
            for child in (task / "children").read_text().split():
                yield from _family(child)


def _peak(pid: str) -> int:
    """0 of a process that has just ended."""
    try:
        found: dict[str, str] = dict(_KIB.findall((_PROC / pid / "status").read_text()))
    except OSError:
        return 0
    return 1024 * int(found.get("VmHWM") or found.get("VmRSS") or 0)
