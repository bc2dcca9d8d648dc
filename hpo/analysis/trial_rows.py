"""Trials as rows of a table, with the keys to sort them by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from hpo.analysis.axes import flat_params
from hpo.analysis.groups import group_labels
from hpo.analysis.records import StudyRecord, TrialRecord

# What every trial has. Its history is read only for the number of its steps.
_FACTS: Mapping[str, Callable[[TrialRecord], Any]] = {
    **{name: attrgetter(name) for name in ("state", "cause", "reason")},
    "red_flags": lambda trial: ", ".join(flag.name for flag in trial.flags),
    **{name: attrgetter(name) for name in ("source", "attempt", "retry_of", "requeued", "seed", "started", "seconds")},
    **{name: attrgetter(name) for name in ("gpu_seconds", "steps")},
    "imported_from": lambda trial: trial.imported and f"{trial.imported.study}, {trial.imported.trial}",
}


def trial_row(trial: TrialRecord) -> dict[str, Any]:
    """Return everything about a trial but its number and its history, by the names of columns."""
    return {
        **{name: fact(trial) for name, fact in _FACTS.items()},
        **{f"values_{name}": value for name, value in trial.values.items()},
        **{f"params_{name}": value for name, value in flat_params(trial.params).items()},
    }


def row_columns(study: StudyRecord, trials: Iterable[TrialRecord]) -> list[str]:
    """Return the columns of rows: what every trial has, the metrics, what else was returned, the parameters."""
    metrics = [f"values_{metric.name}" for metric in study.metrics]
    values: dict[str, None] = {}
    params: dict[str, None] = {}
    for trial in trials:
        values |= dict.fromkeys(trial.values)
        params |= dict.fromkeys(flat_params(trial.params))
    others = (*(f"values_{name}" for name in values), *(f"params_{name}" for name in params))
    return list(dict.fromkeys([*_FACTS, *metrics, *others]))


def trial_table(study: StudyRecord, trials: Sequence[TrialRecord]) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Return the columns and the rows of a table of trials, with their numbers first, in the order given."""
    columns = row_columns(study, study.trials)
    return ["trial", *columns], [(trial.number, *map(trial_row(trial).get, columns)) for trial in trials]


def sort_keys(study: StudyRecord, columns: Iterable[str]) -> list[str]:
    """Return what trials can be sorted by: metrics, parameters, `trial`, `group` and other columns of `trial_row`."""
    found = [column.removeprefix("values_").removeprefix("params_") for column in columns]
    return list(dict.fromkeys([*(metric.name for metric in study.metrics), "trial", "group", *found]))


def sorted_by(study: StudyRecord, key: str, trials: Iterable[TrialRecord], reverse: bool = False) -> list[TrialRecord]:
    """Return trials sorted by one of `sort_keys`; those that lack it come last, and equals in the order tried.

    A metric of the study begins with its best value, numbers with the smallest, texts with the first by letter.

    Args:
        study: The study.
        key: The key.
        trials: The trials.
        reverse: The other way round.
    """
    metric = next((one for one in study.metrics if one.name == key), None)
    group_of = group_labels(study) if key == "group" else {}

    def place(trial: TrialRecord) -> tuple[Any, ...]:
        value = _value(trial, key, group_of)
        if value is None:
            return (2, 0, trial.number)
        if isinstance(value, (int, float)):
            return (0, value if metric is None else metric.cost(value), trial.number)
        return (1, str(value), trial.number)

    found = sorted(trials, key=place)
    if not reverse:
        return found
    lack = sum(place(trial)[0] == 2 for trial in found)
    there = len(found) - lack
    return [*reversed(found[:there]), *found[there:]]


def _value(trial: TrialRecord, key: str, group_of: Mapping[int, str]) -> Any:
    """Return what a trial is sorted by; None if it lacks it."""
    if key in trial.values:
        return trial.values[key]
    params = flat_params(trial.params)
    if key in params:
        return params[key]
    if key in ("trial", "group"):
        return trial.number if key == "trial" else group_of.get(trial.number)
    return _FACTS[key](trial) if key in _FACTS else None
