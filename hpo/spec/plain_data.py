"""Plain data: what a YAML file can hold, and so what a study made in Python may hold."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any

from hpo.errors import KeyPath, dotted
from hpo.text import show

_EXPECTED = "expected numbers, text, true, false, null, and lists and mappings of these"


def plain_data(data: Any) -> Any:
    """Return data with lists for tuples and Python's numbers for NumPy's, as they are read back from a YAML file.

    Raises:
        ValueError: a file cannot hold a part of it; the message is a sentence.
    """
    return _plain(data, ())


def _plain(data: Any, path: KeyPath) -> Any:
    if isinstance(data, Mapping):
        return {_scalar(key, path): _plain(value, (*path, key)) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_plain(entry, (*path, index)) for index, entry in enumerate(data)]
    return _scalar(data, path)


def _scalar(data: Any, path: KeyPath) -> Any:
    if data is None or isinstance(data, bool):
        return data
    try:
        if isinstance(data, str):
            data.encode("utf-8")
            return str.__str__(data)
        if isinstance(data, numbers.Integral):
            int.__repr__(int(data))
            return int(data)
        if isinstance(data, numbers.Real):
            return float(data)
    except ValueError as error:  # a lone surrogate, or more digits than Python writes
        raise ValueError(f"{_at(path)}cannot be written to a file: {error}") from None
    raise ValueError(f"{_at(path)}{show(data)} ({type(data).__name__}) is not plain data; {_EXPECTED}")


def _at(path: KeyPath) -> str:
    return f"{dotted(path)}: " if path else ""
