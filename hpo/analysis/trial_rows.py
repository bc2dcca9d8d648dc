"""Trials as rows of a table, with the keys to sort them by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hpo.analysis.axes import flat_params
from hpo.analysis.groups import group_labels
from hpo.analysis.records import StudyRecord, TrialRecord

Row = tuple[TrialRecord, dict[str, Any]]


def trial_row(trial: TrialRecord) -> dict[str, Any]:
    """Return everything about a trial but its number and its history, by the names of columns."""
    return {
        "state": trial.state,
        "cause": trial.cause,
        "reason": trial.reason,
        "red_flags": ", ".join(flag.name for flag in trial.flags),
        "source": trial.source,
        "attempt": trial.attempt,
        "retry_of": trial.retry_of,
        "requeued": trial.requeued,
        "seed": trial.seed,
        "started": trial.started,
        "seconds": trial.seconds,
        "gpu_seconds": trial.gpu_seconds,
        "steps": trial.steps,
        **{f"values_{name}": value for name, value in trial.values.items()},
        **{f"params_{name}": value for name, value in flat_params(trial.params).items()},
    }


def row_columns(study: StudyRecord, rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the columns of rows: what every trial has, the metrics, what else was returned, the parameters."""
    fixed = list(trial_row(TrialRecord(0, "", {})))
    found = list(dict.fromkeys(column for row in rows for column in row))
    metrics = [f"values_{metric.name}" for metric in study.metrics]
    values = [column for column in found if column.startswith("values_")]
    params = [column for column in found if column.startswith("params_")]
    return list(dict.fromkeys([*fixed, *metrics, *values, *params]))


def sort_keys(study: StudyRecord, columns: Iterable[str]) -> list[str]:
    """Return what trials can be sorted by: metrics, parameters, `trial`, `group` and other columns of `trial_row`."""
    found = [column.removeprefix("values_").removeprefix("params_") for column in columns]
    return list(dict.fromkeys([*(metric.name for metric in study.metrics), "trial", "group", *found]))


def sorted_by(study: StudyRecord, key: str, rows: Iterable[Row]) -> list[Row]:
    """Return trials sorted by one of `sort_keys`; those that lack it come last, and equals in the order tried.

    A metric of the study begins with its best value, numbers with the smallest, texts with the first by letter.

    Args:
        study: The study.
        key: The key.
        rows: Trials, each with its `trial_row`.
    """
    metric = next((one for one in study.metrics if one.name == key), None)
    group_of = group_labels(study)

    def place(one: Row) -> tuple[Any, ...]:
        trial, own = one
        row = {"trial": trial.number, "group": group_of.get(trial.number), **own}
        value = next((row[name] for name in (f"values_{key}", f"params_{key}", key) if name in row), None)
        if value is None:
            return (2, 0, trial.number)
        if isinstance(value, (int, float)):
            return (0, value if metric is None else metric.cost(value), trial.number)
        return (1, str(value), trial.number)

    return sorted(rows, key=place)
