"""Contradictions in what a storage says of a trial: a record of it was damaged.

What a trial was given and what it returned is stored twice, for Optuna and in the attributes that hpo writes. A flipped
digit leaves a record that can be read, and says another number.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from hpo.storage.trial_attributes import JOB, OUTCOME
from hpo.text import brief

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from hpo.space.search_space import SearchSpace


def contradiction(trial: FrozenTrial, space: SearchSpace, names: Iterable[str]) -> str:
    """Return what contradicts itself in a finished trial, as a sentence; else an empty string.

    Such a trial has no result, or no parameters, that can be believed. Of a trial that hpo did not run, nothing is
    stored twice.

    Args:
        trial: the trial.
        space: the search space.
        names: those of the study's metrics.
    """
    job, outcome = trial.user_attrs.get(JOB), trial.user_attrs.get(OUTCOME)
    if not trial.state.is_finished() or not isinstance(job, dict) or not isinstance(outcome, dict):
        return ""
    if trial.state.name == "COMPLETE":
        noted = outcome.get("metrics") or {}
        for name, value in zip(names, trial.values or (), strict=False):
            if name in noted and noted[name] != value:
                return f"its {name} is {brief(value)} in Optuna and {brief(noted[name])} in what hpo noted at its end"
        if outcome.get("state", "COMPLETE") != "COMPLETE":
            return f"it is COMPLETE in Optuna and {brief(outcome.get('state'))} in what hpo noted at its end"
    return _of_parameters(trial, job.get("params"), space)


def agreed_params(trial: FrozenTrial, space: SearchSpace) -> dict[str, Any]:
    """Return the parameters of a trial of which Optuna and what hpo noted say the same, by the objective's names."""
    given = trial.user_attrs[JOB].get("params") or {}
    try:
        params = space.resolve(trial.params)
    except (LookupError, ValueError, TypeError):
        return {}
    return {name: value for name, value in params.items() if name in given and _text(given[name]) == _text(value)}


def _of_parameters(trial: FrozenTrial, given: object, space: SearchSpace) -> str:
    if not isinstance(given, dict):
        return ""
    try:
        params = space.resolve(trial.params)
    except (LookupError, ValueError, TypeError):
        return "its parameters in Optuna are none of the search space"
    for name in [*params, *(name for name in given if name not in params)]:
        if _text(params.get(name)) != _text(given.get(name)):
            return f"its {name} is {brief(params.get(name))} in Optuna and {brief(given.get(name))} in what hpo noted"
    return ""


def _text(value: object) -> str:
    """Return a value as the storage gives it back: a tuple as a list."""
    return json.dumps(value, sort_keys=True, default=str)
