"""The options of a task: the constants and parameters of a study over the task's defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpo.trial import Trial
from objectives.losses.own import find_loss, is_own, make_loss, parameters_of
from objectives.wording import meant

OWN_LOSS = "own_loss"


def chosen(trial: Trial, defaults: Mapping[str, Any], tensors: int = 2) -> dict[str, Any]:
    """Return a trial's options: its constants over the defaults, and its parameters over both.

    So one name is one setting, whether a study searches it or not. If the option `loss` is a user's own
    (`package.module:loss`), the study may give its parameters too, and the options have an `own_loss`, ready to be
    called.

    Args:
        trial: Its constants and parameters.
        defaults: The options that the task has.
        tensors: How many leading arguments of a user's own loss are tensors.

    Raises:
        ValueError: A name has no default; misspelt, it would be a setting that silently does nothing. Or the user's
            own loss cannot be had.
    """
    given = {**trial.constants, **trial.params}
    target = given.get("loss")
    if "loss" not in defaults or not isinstance(target, str) or not is_own(target):
        return _over(trial, defaults)
    loss = find_loss(target, trial.root)
    options = _over(trial, {**dict.fromkeys(parameters_of(loss, tensors)), **defaults})
    return options | {OWN_LOSS: make_loss(target, loss, given, tensors)}


def _over(trial: Trial, defaults: Mapping[str, Any]) -> dict[str, Any]:
    return with_defaults(trial.params, with_defaults(trial.constants, defaults, "constants"), "search_space")


def with_defaults(given: Mapping[str, Any], defaults: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the defaults overridden by what was given; a mapping in both is merged likewise.

    Args:
        given: Options of a study.
        defaults: All options that there are.
        where: The key of study.yaml that `given` stands under, for messages.

    Raises:
        ValueError: A name has no default, or a value is no mapping where the default is one.
    """
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
    """Return the items of `options`, sorted, as an argument of a function whose results are cached."""
    return tuple(sorted(options.items()))
