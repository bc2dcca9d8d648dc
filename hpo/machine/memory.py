"""Peak memory of a process and of its children, on Linux; 0 on other systems. And memory given back.

A worker lives over many trials, and the kernel keeps the peak over all of them. `reset_peak` starts it anew.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")
_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD in malloc.h
_KIB = re.compile(r"^(VmHWM|VmRSS):\s+(\d+) kB$", re.MULTILINE)


def reset_peak() -> None:
    """Start a new peak of this process (proc(5): clear_refs)."""
    with contextlib.suppress(OSError):
        (_PROC / "self" / "clear_refs").write_text("5")


def host_memory() -> int:
    """Return the peak memory of this process and of its running children, in bytes.

    The peak of this process counts from `reset_peak`. Memory that processes share counts once for each of them.
    Returns 0 where the system does not say.
    """
    return sum(map(_peak, _process_tree("self")))


def machine_memory() -> int:
    """Return the memory that the processes of this machine, or of this container, can hold, in bytes; 0 if unknown."""
    found = []
    with contextlib.suppress(OSError, ValueError):
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):  # of control groups, the second and the first version
        with contextlib.suppress(OSError, ValueError):  # `max`: no limit
            found.append(int(Path("/sys/fs/cgroup", limit).read_text()))
    return min(found, default=0)


def children_of(pid: str) -> Iterator[str]:
    """Yield the ids of the children of a process (`self`: of this one), as long as it is there."""
    for task in (_PROC / pid / "task").glob("*"):
        with contextlib.suppress(OSError):
            yield from (task / "children").read_text().split()


def _process_tree(pid: str) -> Iterator[str]:
    yield pid
    for child in children_of(pid):
        yield from _process_tree(child)


def _peak(pid: str) -> int:
    """Return the peak of a process in bytes; 0 if it has just ended."""
    try:
        found: dict[str, str] = dict(_KIB.findall((_PROC / pid / "status").read_text()))
    except OSError:
        return 0
    return 1024 * int(found.get("VmHWM") or found.get("VmRSS") or 0)


def give_back_arrays() -> None:
    """Have this process return each array of 128 KiB or more to the system as soon as it is freed.

    glibc does so at first, and keeps ever larger ones (up to 32 MiB) once one was freed: `mallopt(3)`,
    M_MMAP_THRESHOLD. Another C library is left as it is.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, 128 << 10)
