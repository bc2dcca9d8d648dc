"""Search for the best trials among those that recorded arrays of some kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import TypeVar

from hpo import layout
from hpo.analysis.groups import Group, groups_of
from hpo.analysis.ranking import best_first
from hpo.analysis.records import StudyRecord, TrialRecord
from hpo.analysis.training.training_log import TrainingLog, read_arrays
from hpo.translation.catalogue import tr

T = TypeVar("T")
# Files of a group that are opened, from its best trial on.
MOST_FILES = 50


def best_recorded(
    study: StudyRecord, read: Callable[[TrainingLog], T | None], wanted: Callable[[T], bool] = lambda data: True
) -> list[tuple[str, TrialRecord, T]]:
    """Return (group, trial, its data) for the best complete trial of each group that recorded such data.

    At most MOST_FILES files of a group are opened, from its best trial on.

    Args:
        study: The study, whose first metric says which trial is best.
        read: Makes the data from a trial's arrays, or None if it did not record them.
        wanted: The best trial with such data is taken. If no trial has them, the best with any data is taken.
    """
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
    """Yield complete trials that left arrays, the best first; they are opened one by one."""
    metric = study.metrics[0]
    for trial in best_first((trial for trial in group.trials if trial.completed(metric)), metric):
        path = layout.trial_directory(study.directory, trial.number) / layout.EPOCHS
        arrays = read_arrays(path, "epoch") if path.exists() else {}
        if arrays:
            name = f"{study.name}/{trial.number}"
            yield trial, TrainingLog(name, trial.history, trial.params, metric, trial.state, epochs=arrays)


def trial_name(study: StudyRecord, group: str, trial: TrialRecord) -> str:
    """Return `unet, trial 3`, or `Trial 3` in a study without groups."""
    if study.group_by:
        return tr("{group}, trial {n}", group=group, n=trial.number)
    return tr("Trial {n}", n=trial.number)


def titled(owner: str, what: str) -> str:
    """Return `unet, trial 3: gradient norms`; without an owner `what`, a translated phrase, with a capital letter."""
    return tr("{whose}: {what}", whose=owner, what=what) if owner else what[0].upper() + what[1:]
