"""The best trials among those that recorded arrays of some kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import TypeVar

from hpo import layout
from hpo.analysis.groups import Group, groups_of
from hpo.analysis.records import StudyRecord, TrialRecord
from hpo.analysis.training.training_log import TrainingLog, read_arrays
from hpo.translation.catalogue import tr

T = TypeVar("T")
# Files of a group that are opened, from its best trial on.
MOST_FILES = 50


def best_recorded(
    study: StudyRecord, read: Callable[[TrainingLog], T | None], wanted: Callable[[T], bool] = lambda data: True
) -> list[tuple[str, TrialRecord, T]]:
    """(group, trial, what it recorded): of each group the best complete trial of which `read` makes something that is
    `wanted`; where none is, the best of which it makes anything. A group without either is left out."""
    found: list[tuple[str, TrialRecord, T]] = []
    for group in groups_of(study):
        other: tuple[str, TrialRecord, T] | None = None
        for trial, log in islice(_logs(study, group), MOST_FILES):
            data = read(log)
            if data is not None and (wanted(data) or other is None):
                other = (group.label, trial, data)
                if wanted(data):
                    break
        if other is not None:
            found.append(other)
    return found


def _logs(study: StudyRecord, group: Group) -> Iterator[tuple[TrialRecord, TrainingLog]]:
    """Complete trials that left arrays, the best first; opened one by one."""
    metric = study.metrics[0]
    sign = -1 if metric.direction == "maximize" else 1
    complete = [trial for trial in group.trials if trial.completed(metric)]
    for trial in sorted(complete, key=lambda trial: sign * trial.values[metric.name]):
        path = layout.trial_directory(study.directory, trial.number) / layout.EPOCHS
        arrays = read_arrays(path, "epoch") if path.exists() else {}
        if arrays:
            name = f"{study.name}/{trial.number}"
            yield trial, TrainingLog(name, trial.history, trial.params, metric, trial.state, epochs=arrays)


def whose(study: StudyRecord, group: str, trial: TrialRecord) -> str:
    """`unet, trial 3`, or `Trial 3` in a study without groups."""
    if study.group_by:
        return tr("{group}, trial {n}", group=group, n=trial.number)
    return tr("Trial {n}", n=trial.number)


def titled(owner: str, what: str) -> str:
    """`unet, trial 3: gradient norms`; without an owner `what`, a translated phrase, with a capital letter."""
    return tr("{whose}: {what}", whose=owner, what=what) if owner else what[0].upper() + what[1:]
