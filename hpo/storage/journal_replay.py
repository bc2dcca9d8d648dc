"""Replay of a journal: Optuna's, which also knows in which order trials have ended, and which have not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from optuna.storages.journal._storage import JournalStorageReplayResult
from optuna.trial import FrozenTrial

from hpo.storage.journal_records import CREATE_TRIAL


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

    def fill(self, trials: Iterable[tuple[int, FrozenTrial]]) -> None:
        """Take in the trials that a journal came to, each with the id of its study, in the order of their own ids."""
        for study_id, trial in trials:
            self._trials[trial._trial_id] = trial
            self._trial_id_to_study_id[trial._trial_id] = study_id
            self._study_id_to_trial_ids[study_id].append(trial._trial_id)
