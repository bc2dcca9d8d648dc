"""p values of several tests at once."""

from __future__ import annotations

from collections.abc import Sequence


def holm(raw: Sequence[float]) -> list[float]:
    """Each p corrected for their number, in the same order (Holm, Scandinavian Journal of Statistics 6, 1979): the k-th
    smallest of m times m - k + 1, at most 1 and never below a smaller one's."""
    corrected, least = [0.0] * len(raw), 0.0
    for rank, k in enumerate(sorted(range(len(raw)), key=lambda k: raw[k])):
        least = max(least, min(1.0, (len(raw) - rank) * raw[k]))
        corrected[k] = least
    return corrected
