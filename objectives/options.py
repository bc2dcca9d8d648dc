"""The options of a task: what its study holds constant and what it searches, over the task's defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpo.trial import Trial
from objectives.wording import meant


def chosen(trial: Trial, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The trial's constants over `defaults`, and its parameters over both: one name is one setting, whether a
    study searches it or not.

    Raises ValueError for a name that has no default, with the nearest one that has: misspelt, it would be a
    setting that silently does nothing."""
    return with_defaults(trial.params, with_defaults(trial.constants, defaults, "constants"), "search_space")


def with_defaults(given: Mapping[str, Any], defaults: Mapping[str, Any], where: str) -> dict[str, Any]:
    """`defaults` overridden by `given`; a mapping in both is merged likewise. `where`: for messages, the key of
    study.yaml that `given` stands under.

    Raises ValueError for a name that has no default."""
    merged = dict(defaults)
    for name, value in given.items():
        if name not in defaults:
            raise ValueError(f"{where}.{name} is not known; expected {', '.join(defaults)}.{meant(name, defaults)}")
        inner = defaults[name]
        if isinstance(inner, Mapping) and not isinstance(value, Mapping):
            raise ValueError(f"{where}.{name} is {value!r}; expected a mapping with {', '.join(inner)}")
        merged[name] = with_defaults(value, inner, f"{where}.{name}") if isinstance(inner, Mapping) else value
    return merged


def hashable(options: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """The items of `options`, sorted, as an argument of a function whose results are cached."""
    return tuple(sorted(options.items()))
