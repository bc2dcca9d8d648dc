"""Histories of a study's trials: the rows of each that are its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hpo import layout
from hpo.storage import history
from hpo.storage.history import Owner, Step
from hpo.storage.trial_attributes import JOB, ORIGIN, lost_attempts

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


class Histories:
    """Histories of a study.

    Args:
        directory: the study's folder.
        key: the study's key; empty if it is not known, so that trials are told apart by number and start alone.
        trials: all trials, in the order of their numbers.
    """

    def __init__(self, directory: Path, key: str, trials: Sequence[FrozenTrial]) -> None:
        self._directory = directory
        self._key = key
        self._trials = trials

    def path(self, trial: FrozenTrial) -> Path:
        """Return the history file of a trial."""
        return layout.trial_directory(self._directory, trial.number) / layout.HISTORY

    def rows(self, trial: FrozenTrial) -> list[Step]:
        """Return the rows of a trial and of the lost attempts that it went on from, as they were written.

        Those of other trials are left out, of which another study of the same name or a swapped file may hold some.
        """
        return history.rows(self.path(trial), self._is_of(trial))

    def read(self, trial: FrozenTrial) -> list[Step]:
        """Return the steps of a trial in ascending order, the rows of each put together (see `history.merge`)."""
        return history.merge(self.rows(trial))

    def owner(self, trial: FrozenTrial) -> Owner | None:
        """Return a trial as its history names it; None if it has not started."""
        started = trial.user_attrs.get(JOB, {}).get("started")
        return None if started is None else Owner(self._key, trial.number, started)

    def foreign(self, trial: FrozenTrial) -> list[Owner]:
        """Return the trials that a trial's history names, and that are neither itself nor its lost attempts."""
        is_mine = self._is_of(trial)
        return sorted(owner for owner in history.owners_in(self.path(trial)) if not is_mine(owner))

    def _is_of(self, trial: FrozenTrial) -> Callable[[Owner], bool]:
        attempts = (self._trials[number] for number in lost_attempts(trial.user_attrs.get(ORIGIN, {}), self._trials))
        owners = {owner for one in (trial, *attempts) if (owner := self.owner(one)) is not None}
        return lambda owner: (owner if self._key else owner._replace(study="")) in owners
