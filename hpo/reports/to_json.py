"""Conversion of anything that an analysis returns into what JSON can hold."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from itertools import islice
from typing import Any

from hpo.analysis.records import TrialRecord
from hpo.text import label, printable_json

_PIECES = 50_000  # of the encoder, some letters each, that are written at once


class Each(list[Any]):
    """A list of what is made of many things, one by one when it is read.

    Args:
        make: Makes one of them.
        things: What they are made of.
    """

    def __init__(self, make: Callable[[Any], Any], things: Sequence[Any]) -> None:
        super().__init__()
        self._make, self._things = make, things

    def __iter__(self) -> Iterator[Any]:
        return map(self._make, self._things)

    def __len__(self) -> int:
        return len(self._things)


def document(data: Mapping[str, Any] | Each, indent: int = 1) -> Iterator[str]:
    """Yield the text of a JSON file in pieces: the trials of a large study are never there as a whole."""
    plain: Any = {name: _later(value) for name, value in data.items()} if isinstance(data, Mapping) else _later(data)
    pieces = json.JSONEncoder(ensure_ascii=False, indent=indent, allow_nan=False).iterencode(plain)
    while piece := "".join(islice(pieces, _PIECES)):
        yield printable_json(piece)
    yield "\n"


def _later(value: Any) -> Any:
    return Each(to_plain_data, value) if isinstance(value, Each) else to_plain_data(value)


def to_plain_data(value: Any) -> Any:
    """Return a value as mappings, lists, numbers and texts.

    Dataclasses and mappings become objects, sequences become lists, a trial's record becomes its number. NaN and
    infinity become null, since JSON lacks them.
    """
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, TrialRecord):
        return value.number
    if is_dataclass(value) and not isinstance(value, type):
        # A field that was renamed keeps its old key, which programs may read.
        keys = {field.name: field.metadata.get("json_key", field.name) for field in fields(value)}
        return {key: to_plain_data(getattr(value, name)) for name, key in keys.items()}
    if hasattr(value, "model_dump"):  # of pydantic
        return to_plain_data(value.model_dump())
    if isinstance(value, Mapping):
        return {label(key): to_plain_data(part) for key, part in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_plain_data(part) for part in value]
    if hasattr(value, "tolist"):  # NumPy's arrays and numbers
        return to_plain_data(value.tolist())
    return str(value)
