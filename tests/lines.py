"""Count of the lines of Python that a call runs: what it does, however fast the machine is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


def lines_of(call: Callable[[], object]) -> int:
    """Return how many lines of Python a call runs. A loop counts as many as it has turns."""
    count = 0

    def trace(frame: Any, event: str, arg: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count
