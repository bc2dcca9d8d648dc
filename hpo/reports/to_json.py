"""Anything that is known of a study as what JSON can hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from hpo.analysis.records import TrialRecord


def plain(value: Any) -> Any:
    """Dataclasses and mappings as objects, sequences as lists, a trial's record as its number; NaN and infinity,
    which JSON lacks, as null."""
    if isinstance(value, TrialRecord):
        return value.number
    if is_dataclass(value) and not isinstance(value, type):
        # A field that was renamed keeps its old key, which programs may read.
        return {
            field.metadata.get("json_key", field.name): plain(getattr(value, field.name)) for field in fields(value)
        }
    if hasattr(value, "model_dump"):  # of pydantic
        return plain(value.model_dump())
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(part) for part in value]
    if hasattr(value, "tolist"):  # NumPy's arrays and numbers
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
