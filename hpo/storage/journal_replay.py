"""Replay of a journal: Optuna's, which also knows in which order trials have ended, and which have not."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.storages.journal._storage import JournalStorageReplayResult
from optuna.trial import FrozenTrial

from hpo.storage.journal_records import CREATE_TRIAL
from hpo.storage.trial_attributes import JOB

# Of ended trials, which nobody changes any more: a table of its own for nothing is 64 bytes.
NOTHING: dict[Any, Any] = {}


class Replay(JournalStorageReplayResult):
    """Studies and trials that the records of a journal come to.

    Attributes:
        finished: ids of the finished trials, in the order in which they ended. It is the same in every process that
            replays the same records.
        unfinished: ids of the others, ascending.
    """

    def __init__(self, worker_id_prefix: str) -> None:
        super().__init__(worker_id_prefix)
        self.finished: list[int] = []
        self.unfinished: dict[int, None] = {}
        self._spaces: dict[tuple[str, ...], dict[str, BaseDistribution]] = {}

    def apply_logs(self, logs: Iterable[dict[str, Any]]) -> None:
        """Apply records, one after the other."""
        for log in logs:
            super().apply_logs((log,))
            trial_id = log.get("trial_id")
            if log["op_code"] == CREATE_TRIAL and len(self.finished) + len(self.unfinished) < len(self._trials):
                trial_id = len(self._trials) - 1
                self.unfinished[trial_id] = None
            if trial_id in self.unfinished and self._trials[trial_id].state.is_finished():
                del self.unfinished[trial_id]
                self.finished.append(trial_id)
                self._share(self._trials[trial_id])

    def _share(self, trial: FrozenTrial) -> None:
        """Let an ended trial share what is equal with those before it: it takes half of the memory then."""
        trial.params = shared(trial.params)
        trial.user_attrs, trial.system_attrs = shared(trial.user_attrs), shared(trial.system_attrs) or NOTHING
        job = trial.user_attrs.get(JOB)
        if isinstance(job, dict) and _equal(job.get("params"), trial.params):
            job["params"] = trial.params
        space = trial.distributions
        known = self._spaces.setdefault(tuple(space), space)
        if known == space:
            trial.distributions = known

    def fill(self, trials: Iterable[tuple[int, FrozenTrial]]) -> None:
        """Take in the trials that a journal came to, each with the id of its study, in the order of their own ids."""
        for study_id, trial in trials:
            self._trials[trial._trial_id] = trial
            self._trial_id_to_study_id[trial._trial_id] = study_id
            self._study_id_to_trial_ids[study_id].append(trial._trial_id)


def _equal(one: Any, other: dict[str, Any]) -> bool:
    """Return True if a value is the same table, in the same order, also by the types of its values: 1 is not 1.0."""
    return (
        isinstance(one, dict)
        and list(one) == list(other)
        and all(type(one[key]) is type(value) and one[key] == value for key, value in other.items())
    )


def shared(value: Any) -> Any:
    """Return a copy of a value of JSON in which equal texts are one object."""
    if isinstance(value, str):
        return sys.intern(value)
    if isinstance(value, dict):
        return {sys.intern(key): shared(each) for key, each in value.items()}
    if isinstance(value, list):
        return [shared(each) for each in value]
    return value
