"""Pieces of the sentences in which the tasks say what is wrong with their input."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


def meant(name: object, options: Iterable[object], cutoff: float = 0.6) -> str:
    """Return the end of a sentence that names the nearest option, or nothing when none is near.

    Args:
        name: What was given.
        options: What there is.
        cutoff: Likeness, from 0 to 1, below which an option is not near.

    Returns:
        " Did you mean 'x'?" or "".
    """
    match = difflib.get_close_matches(str(name), [str(option) for option in options], n=1, cutoff=cutoff)
    return f" Did you mean '{match[0]}'?" if match else ""


def holds(names: Sequence[str], limit: int = 8) -> str:
    """Return what a folder does that has files of these names: it "is empty", or "holds a, b, ... (12 in all)"."""
    if not names:
        return "is empty"
    return f"holds {listed(names, limit)}"


def listed(names: Sequence[str], limit: int = 12) -> str:
    """Return names one after the other, those beyond `limit` as their number."""
    more = f", ... ({len(names)} in all)" if len(names) > limit else ""
    return f"{', '.join(names[:limit])}{more}"


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or its name where it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]
