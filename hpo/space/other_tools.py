"""Declarations of a parameter as Optuna, Ray Tune, W&B sweeps and others write them, turned into hpo's."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from hpo.text import show

_LOW = ("low", "min", "lower", "from", "minimum", "start")
_HIGH = ("high", "max", "upper", "to", "maximum", "end", "stop")
_PAIRS = ("range", "bounds", "interval")
_CHOICES = ("choices", "values", "options", "categories", "list")
_STEPS = ("step", "q")
_KINDS = ("type", "distribution", "kind", "scale", "dist")
_ONE = ("value", "constant")
_FLAGS = ("log", "log_scale", "structural")
_REST = ("default", "description", "name", "probabilities", "base")  # which have nothing in their place here
# Text that YAML needs no quotes for.
_PLAIN = re.compile(r"(?!(?:true|false|null)\Z)[A-Za-z_][\w./-]*(?::\w+)?", re.IGNORECASE)
_KNOWN = frozenset((*_LOW, *_HIGH, *_PAIRS, *_CHOICES, *_STEPS, *_KINDS, *_ONE, *_FLAGS, *_REST))


def declaration(written: Any) -> Any:
    """Return what hpo writes for a parameter that is declared in another tool's words; None if that is not known.

    Args:
        written: such as `{distribution: log_uniform_values, min: 1e-4, max: 0.1}`, `{values: [a, b]}`, `{value: 3}`.
    """
    if not isinstance(written, Mapping) or not written.keys() <= _KNOWN:
        return None
    value = _first(written, _ONE)
    if value is not None and not isinstance(value, (list, Mapping)):
        return value
    choices = _first(written, _CHOICES)
    if isinstance(choices, list) and choices:
        found: dict[str, Any] | None = {"choices": choices}
    else:
        found = _range(written)
    return found and found | ({"structural": True} if written.get("structural") is True else {})


def inline(data: Any) -> str:
    """Return data as YAML in one line: `{low: 0.0001, high: 0.1, log: true}`; a mapping of one key without braces."""
    if isinstance(data, Mapping) and len(data) == 1:
        (key, value), *_ = data.items()
        return f"{key}: {_flow(value)}"
    return _flow(data)


def _range(written: Mapping[Any, Any]) -> dict[str, Any] | None:
    low, high = _first(written, _LOW), _first(written, _HIGH)
    for key in _PAIRS:
        pair = written.get(key)
        if isinstance(pair, list) and len(pair) == 2:
            low, high = pair
    if not _number(low) or not _number(high):
        return None
    kind = " ".join(str(written[key]).lower() for key in _KINDS if key in written)
    if "normal" in kind:
        return None
    if kind in ("log_uniform", "q_log_uniform"):  # of W&B: the exponents are given
        low, high = float(f"{math.exp(low):.4g}"), float(f"{math.exp(high):.4g}")
    found: dict[str, Any] = {"low": low, "high": high}
    step = _first(written, _STEPS)
    if "log" in kind or written.get("log") is True or written.get("log_scale") is True:
        found["log"] = True
    elif _number(step):
        found["step"] = step
    elif any(word in kind for word in ("int", "discrete")):
        found = {"low": round(low), "high": round(high)}
    elif all(isinstance(bound, int) for bound in (low, high)) and any(
        w in kind for w in ("uniform", "float", "double")
    ):
        found["high"] = float(high)  # two whole numbers would be a range of whole numbers
    return found


def _first(written: Mapping[Any, Any], keys: tuple[str, ...]) -> Any:
    return next((written[key] for key in keys if key in written), None)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return json.dumps(value) if isinstance(value, str) and not _PLAIN.fullmatch(value) else show(value)
