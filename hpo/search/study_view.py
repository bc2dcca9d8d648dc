"""Views of an Optuna study in which all that compares trials, a sampler or a pruner, sees some of them alone."""

from __future__ import annotations

import copy
from collections.abc import Callable, Container
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState


def view_of(study: optuna.Study, shows: Callable[[FrozenTrial], bool]) -> optuna.Study:
    """Return the study with the trials for which `shows` is true. What is written to it goes to the study."""
    view = copy.copy(study)
    view._storage = _View(study._storage, shows)  # type: ignore[assignment]
    return view


class _View:
    """The storage of a study, of which `get_all_trials` returns some of the trials."""

    def __init__(self, storage: BaseStorage, shows: Callable[[FrozenTrial], bool]) -> None:
        self._storage, self._shows = storage, shows

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._storage, attribute)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        return list(filter(self._shows, self._storage.get_all_trials(study_id, deepcopy=deepcopy, states=states)))

    def get_n_trials(self, study_id: int, state: Any = None) -> int:
        return BaseStorage.get_n_trials(self, study_id, state)  # type: ignore[arg-type]  # it asks get_all_trials

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        return BaseStorage.get_best_trial(self, study_id)  # type: ignore[arg-type]  # it asks get_all_trials
