"""A curve in one line of characters."""

from __future__ import annotations

import math
from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"
# Of a terminal without block elements: the more ink, the higher.
ASCII = ".:-=+*#@"


def sparkline(values: Sequence[float], width: int, *, ascii_only: bool = False) -> str:
    """Return a curve, scaled from its lowest to its highest value; a value that is no finite number is a space.

    It takes as long for a million values as for `width` of them: a longer curve is drawn by every n-th value, the last
    one always.

    Args:
        values: the curve.
        width: characters at most.
        ascii_only: without block elements.
    """
    n = len(values)  # another thread may append meanwhile
    shown = [values[(place + 1) * n // width - 1] for place in range(width)] if n > width else list(values[:n])
    finite = [value for value in shown if math.isfinite(value)]
    if not finite:
        return " " * len(shown)
    low, high, levels = min(finite), max(finite), ASCII if ascii_only else BLOCKS
    # Halves, for the difference of two doubles may be infinite.
    span = high / 2 - low / 2
    return "".join(_level(value, low, span, levels) for value in shown)


def _level(value: float, low: float, span: float, levels: str) -> str:
    if not math.isfinite(value):
        return " "
    if span == 0:
        return levels[len(levels) // 2 - 1]
    part = (value / 2 - low / 2) / span
    return levels[min(len(levels) - 1, int(part * len(levels)))]
