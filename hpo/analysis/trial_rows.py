"""Trials as rows of a table, with the keys to sort them by."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hpo.analysis.axes import flat_params
from hpo.analysis.groups import group_labels
from hpo.analysis.records import StudyRecord, TrialRecord


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


def row_columns(study: StudyRecord) -> list[str]:
    """Return the columns of all trials: what every trial has, the metrics, what else was returned, the parameters."""
    fixed = list(trial_row(TrialRecord(0, "", {})))
    found = list(dict.fromkeys(column for trial in study.trials for column in trial_row(trial)))
    metrics = [f"values_{metric.name}" for metric in study.metrics]
    values = [column for column in found if column.startswith("values_") and column not in fixed]
    params = [column for column in found if column.startswith("params_") and column not in fixed]
    return list(dict.fromkeys([*fixed, *metrics, *values, *params]))


def sort_keys(study: StudyRecord) -> list[str]:
    """Return what trials can be sorted by: metrics, parameters, `trial`, `group` and columns of `trial_row`."""
    found = [column.removeprefix("values_").removeprefix("params_") for column in row_columns(study)]
    return list(dict.fromkeys([*(metric.name for metric in study.metrics), "trial", "group", *found]))


def sorted_by(study: StudyRecord, key: str, trials: Iterable[TrialRecord]) -> tuple[TrialRecord, ...]:
    """Return trials sorted by one of `sort_keys`; those that lack it come last, and equals in the order tried.

    A metric of the study begins with its best value, numbers with the smallest, texts with the first by letter.
    """
    metric = next((one for one in study.metrics if one.name == key), None)
    group_of = group_labels(study)

    def place(trial: TrialRecord) -> tuple[Any, ...]:
        row = {"trial": trial.number, "group": group_of.get(trial.number)} | trial_row(trial)
        value = next((row[name] for name in (f"values_{key}", f"params_{key}", key) if name in row), None)
        if value is None:
            return (2, 0, trial.number)
        if isinstance(value, (int, float)):
            return (0, value if metric is None else metric.cost(value), trial.number)
        return (1, str(value), trial.number)

    return tuple(sorted(trials, key=place))
