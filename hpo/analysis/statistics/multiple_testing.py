"""Correct the p values of several tests that are made at once."""

from __future__ import annotations

from collections.abc import Sequence


def holm(raw: Sequence[float]) -> list[float]:
    """Return each p corrected for the number of tests, in the order given.

    Source: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6, 1979.
    The k-th smallest of m values is multiplied by m - k + 1. No result is above 1 or below that of a smaller p.
    """
    if not raw:
        return []
    from statsmodels.stats.multitest import multipletests

    return [float(p) for p in multipletests(raw, method="holm")[1]]
