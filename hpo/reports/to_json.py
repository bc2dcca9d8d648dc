"""Conversion of anything that an analysis returns into what JSON can hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from hpo.analysis.records import TrialRecord
from hpo.text import label


def to_plain_data(value: Any) -> Any:
    """Return a value as mappings, lists, numbers and texts.

    Dataclasses and mappings become objects, sequences become lists, a trial's record becomes its number. NaN and
    infinity become null, since JSON lacks them.
    """
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
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
