"""Copies of one Optuna study as a journal of its own, and back into any storage."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import BaseJournalBackend

from hpo.storage.trial_attributes import KEY

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


class _Lines(BaseJournalBackend):
    """Journal in memory, as the rows that a file would have."""

    def __init__(self, rows: Iterable[dict[str, Any]] = ()) -> None:
        self.rows = list(rows)

    def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
        return self.rows[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self.rows += [json.loads(json.dumps(row)) for row in logs]


def export_study(storage: BaseStorage, name: str) -> tuple[str, list[FrozenTrial]]:
    """Return a study as the content of a journal that holds it alone, and the trials that are in it.

    What is written to the storage meanwhile is left out. A trial that is finished in the copy is whole.

    Raises:
        KeyError: there is no such study.
    """
    lines = _Lines()
    trials = _copy(storage, name, JournalStorage(lines))
    return "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in lines.rows), trials


def read_export(path: Path) -> BaseStorage:
    """Return a storage in memory that holds the study of such a journal.

    Raises:
        ValueError: a line is not JSON.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    return JournalStorage(_Lines(json.loads(line) for line in lines))


def import_study(export: BaseStorage, name: str, storage: BaseStorage) -> None:
    """Copy a study of an export into a storage that has none of this name.

    Raises:
        DuplicatedStudyError: there is one.
    """
    _copy(export, name, storage)


def trials_in(storage: BaseStorage, name: str) -> list[FrozenTrial]:
    """Return the trials of a study. Raises KeyError if there is none."""
    return storage.get_all_trials(storage.get_study_id_from_name(name), deepcopy=False)


def begins_as(longer: Sequence[FrozenTrial], trials: Sequence[FrozenTrial]) -> bool:
    """Return True if `trials` are the first of the `longer` list, or all of it, in all that they have."""
    return len(trials) <= len(longer) and all(map(_is_same, trials, longer))


def _is_same(one: FrozenTrial, other: FrozenTrial) -> bool:
    # repr: two NaN are the same. A storage may keep less than microseconds.
    def seen(trial: FrozenTrial) -> str:
        steps = sorted(trial.intermediate_values.items())
        attributes = sorted(trial.user_attrs.items()), sorted(trial.system_attrs.items())
        return repr((trial.number, trial.state, trial.values, sorted(trial.params.items()), steps, attributes))

    return seen(one) == seen(other)


def _copy(source: BaseStorage, name: str, target: BaseStorage) -> list[FrozenTrial]:
    """Copy a study as `optuna.copy_study` does, with its key first: by that a copy that a kill cut short is known."""
    here = source.get_study_id_from_name(name)
    # Before the rest: attributes that come later say nothing of these trials.
    trials = source.get_all_trials(here, deepcopy=False)
    own, system = source.get_study_user_attrs(here), source.get_study_system_attrs(here)
    there = target.create_new_study(source.get_study_directions(here), name)
    for key, value in sorted(own.items(), key=lambda item: item[0] != KEY):
        target.set_study_user_attr(there, key, value)
    for key, value in system.items():
        target.set_study_system_attr(there, key, value)
    for trial in trials:
        target.create_new_trial(there, template_trial=trial)
    return trials


def remove_study(storage: BaseStorage, name: str) -> None:
    """Delete a study from a storage; nothing is done if there is none."""
    try:
        optuna.delete_study(study_name=name, storage=storage)
    except KeyError:
        return
