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
    for name, (stored, given) in _differing(trial, space).items():
        return f"its {name} is {brief(stored)} in Optuna and {brief(given)} in what hpo noted"
    return ""


def agreed_params(trial: FrozenTrial, space: SearchSpace) -> dict[str, Any]:
    """Return the parameters that hpo noted of a trial, by the objective's names, without those that Optuna denies."""
    differing = _differing(trial, space)
    return {name: value for name, value in _noted(trial).items() if name not in differing}


def _differing(trial: FrozenTrial, space: SearchSpace) -> dict[str, tuple[Any, Any]]:
    """Return the parameters that are one value in Optuna and another in what hpo noted.

    One that Optuna lacks is not among them: its record was lost, and what was noted stands.
    """
    noted, params = _noted(trial), trial.params
    # As with most spaces and trials; it is many times as fast.
    if noted == params and list(map(type, noted.values())) == list(map(type, map(params.get, noted))):
        return {}
    try:
        stored = space.resolve(trial.params)
    except (LookupError, ValueError, TypeError):  # of a choice that the space does not have
        return {name: (trial.params[name], noted[name]) for name in noted if name in trial.params}
    return {
        name: (value, noted[name]) for name, value in stored.items() if name in noted and not _alike(value, noted[name])
    }


def _noted(trial: FrozenTrial) -> dict[str, Any]:
    job = trial.user_attrs.get(JOB)
    params = job.get("params") if isinstance(job, dict) else None
    return params if isinstance(params, dict) else {}


def _alike(stored: object, noted: object) -> bool:
    """Return True if two values are the same as the storage gives them back: a tuple as a list."""
    if type(stored) is type(noted) and isinstance(stored, (str, int, float)) and stored == noted:
        return True  # nearly all, of a hundred thousand trials
    first, second = (json.dumps(value, sort_keys=True, default=str) for value in (stored, noted))
    return first == second
