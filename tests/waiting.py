"""Waiting in tests: for the thing itself, never for a time in which it may have happened."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import psutil

# A deadline only says "this never comes": wide enough for a machine that does ten other things at once.
PATIENCE = 120.0


def wait_until(condition: Callable[[], object], seconds: float = PATIENCE, every: float = 0.02) -> None:
    """Return once `condition` is true; fail after `seconds`."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"it did not come to that within {seconds:g} s"
        time.sleep(every)


def leftover(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """The processes that have not ended by themselves within a minute; a test expects none."""
    return list(psutil.wait_procs(list(processes), timeout=60)[1])
