"""Memory that a process gives back, measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import ctypes, sys
import psutil
from hpo.machine.memory import give_back_arrays

if sys.argv[1] == "with":
    give_back_arrays()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
MIB = 1 << 20
libc.free(libc.malloc(24 * MIB))  # from here on glibc keeps arrays of up to 24 MiB
before = psutil.Process().memory_full_info().uss
array = libc.malloc(16 * MIB)
ctypes.memset(array, 1, 16 * MIB)
pinned = libc.malloc(1000)  # above it, so that the heap cannot shrink
libc.free(array)
print((psutil.Process().memory_full_info().uss - before) // MIB)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's mallopt")
def test_freed_arrays_are_given_back() -> None:
    kept = {}
    for how in ("with", "without"):
        done = subprocess.run([sys.executable, "-c", SCRIPT, how], capture_output=True, text=True, check=True)
        kept[how] = int(done.stdout)
    assert kept["with"] <= 1
    assert kept["without"] >= 15  # what the call is for; a C library that does otherwise needs it no longer
