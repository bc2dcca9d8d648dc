"""Views of an Optuna study, whose trials are kept up to date instead of read anew.

Optuna's storages go through all trials whenever they are asked for some. A view reads a trial that has finished once,
and the others at each call. In a view of some trials alone, all that compares trials, a sampler or a pruner, sees no
others.
"""

from __future__ import annotations

import copy
from bisect import bisect_left
from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any

import optuna
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.trial import FrozenTrial, TrialState

Shows = Callable[[FrozenTrial], bool]


def view_of(study: optuna.Study, shows: Shows = lambda trial: True) -> optuna.Study:
    """Return the study with the trials for which `shows` is true. What is written to it goes to the study.

    Args:
        study: the study, or a view of it.
        shows: is asked once of a trial that has finished, and again and again of the others.
    """
    storage, view = study._storage, copy.copy(study)
    if isinstance(storage, _View):
        seen = storage.shows
        view._storage = _View(storage.trials, lambda trial: seen(trial) and shows(trial))  # type: ignore[assignment]
    else:
        view._storage = _View(_Trials(storage, study._study_id), shows)  # type: ignore[assignment]
    return view


def selection_of(study: optuna.Study, trials: list[FrozenTrial]) -> optuna.Study:
    """Return the study with these trials, which must be ascending. What is written to it goes to the study."""
    view = copy.copy(study)
    view._storage = _Selection(study._storage, trials)  # type: ignore[assignment]
    return view


def trials_of(study: optuna.Study) -> Sequence[FrozenTrial]:
    """Return the trials of a study in the order of their numbers, not to be changed.

    Of a view they are not copied: of a hundred thousand a copy takes milliseconds.
    """
    storage = study._storage
    return storage.current() if isinstance(storage, _View) else study.get_trials(deepcopy=False)


class Follower:
    """Reader of a study's trials that returns each finished one once.

    A study whose trials were read must go on showing them.
    """

    def __init__(self) -> None:
        self._count = 0
        self._open: list[int] = []  # their places

    def read(self, study: optuna.Study) -> tuple[list[FrozenTrial], list[FrozenTrial]]:
        """Return the trials that have finished since the last call, and those that run or wait."""
        trials = trials_of(study)
        places = [*self._open, *range(self._count, len(trials))]
        self._open = [place for place in places if not trials[place].state.is_finished()]
        self._count = len(trials)
        finished = [trials[place] for place in places if trials[place].state.is_finished()]
        return finished, [trials[place] for place in self._open]


class _Trials:
    """All trials of a study, as its storage has them.

    Attributes:
        all: the trials by their numbers.
        finished: numbers of those that have finished, in the order in which that was seen.
        open: numbers of the others, ascending.
        version: grows when all are read anew, for the storage was replaced.
    """

    def __init__(self, storage: BaseStorage, study_id: int) -> None:
        self.storage = storage
        self.study_id = study_id
        self.version = 0
        self._place: object = None
        self.all: list[FrozenTrial] = []
        self.finished: list[int] = []
        self.open: list[int] = []

    def refresh(self) -> None:
        """Read the trials that had not finished, and those that are new."""
        place, count, trial_of = _kept_by(self.storage, self.study_id)
        if place is not self._place or count < len(self.all):
            self._place, self.version = place, self.version + 1
            self.all, self.finished, self.open = [], [], []
        numbers = [*self.open, *range(len(self.all), count)]
        self.open = []
        for number in numbers:
            trial = trial_of(number)
            self.all[number : number + 1] = [trial]
            (self.finished if trial.state.is_finished() else self.open).append(number)


def _kept_by(storage: BaseStorage, study_id: int) -> tuple[object, int, Callable[[int], FrozenTrial]]:
    """Return where a storage keeps the trials of a study, how many they are, and what returns one by its number.

    Optuna 5.0 has a call for all trials alone. A storage of a kind not known here is asked for them.
    """
    if isinstance(storage, JournalStorage):
        with storage._thread_lock:
            storage._sync_with_backend()
            replayed = storage._replay_result
            replayed.get_study(study_id)  # raises an error if it was deleted
        ids, by_id = replayed._study_id_to_trial_ids[study_id], replayed._trials
        return replayed, len(ids), lambda number: by_id[ids[number]]
    if isinstance(storage, _CachedStorage):
        storage._read_trials_from_remote_storage(study_id)
        cached = storage._studies[study_id].trials
        return cached, len(cached), cached.__getitem__
    if isinstance(storage, InMemoryStorage):
        trials = storage._studies[study_id].trials
        return trials, len(trials), trials.__getitem__
    trials = storage.get_all_trials(study_id, deepcopy=False)
    return storage, len(trials), trials.__getitem__


class _Some:
    """The storage of a study, of which `get_all_trials` returns some of the trials."""

    def __init__(self, storage: BaseStorage) -> None:
        self._storage = storage

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._storage, attribute)

    def get_n_trials(self, study_id: int, state: Any = None) -> int:
        return BaseStorage.get_n_trials(self, study_id, state)  # type: ignore[arg-type]  # it asks get_all_trials

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        return BaseStorage.get_best_trial(self, study_id)  # type: ignore[arg-type]  # it asks get_all_trials


class _Selection(_Some):
    """These trials."""

    def __init__(self, storage: BaseStorage, trials: list[FrozenTrial]) -> None:
        super().__init__(storage)
        self._trials = trials

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        found = [trial for trial in self._trials if states is None or trial.state in states]
        return copy.deepcopy(found) if deepcopy else found


class _View(_Some):
    """Those trials for which a question is answered with yes.

    Attributes:
        trials: all trials.
        shows: the question.
    """

    def __init__(self, trials: _Trials, shows: Shows) -> None:
        super().__init__(trials.storage)
        self.trials, self.shows = trials, shows
        self._shown: list[FrozenTrial] = []  # by their numbers, ascending
        self._version = self._finished = 0

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        shown = self.current()
        if states is None:
            found = list(shown)
        else:
            wanted = {state for state in TrialState if state in states}
            among: Iterable[FrozenTrial] = shown
            if not any(state.is_finished() for state in wanted):
                among = filter(self.shows, (self.trials.all[number] for number in self.trials.open))
            found = [trial for trial in among if trial.state in wanted]
        return copy.deepcopy(found) if deepcopy else found

    def current(self) -> list[FrozenTrial]:
        """Return the trials that are shown. The list is the view's own, and changes with it."""
        trials = self.trials
        trials.refresh()
        if self._version != trials.version:
            self._version, self._finished, self._shown = trials.version, 0, []
        for number in (*trials.finished[self._finished :], *trials.open):
            self._put(trials.all[number])
        self._finished = len(trials.finished)
        return self._shown

    def _put(self, trial: FrozenTrial) -> None:
        if not self._shown or self._shown[-1].number < trial.number:
            if self.shows(trial):
                self._shown.append(trial)
            return
        place = bisect_left(self._shown, trial.number, key=lambda shown: shown.number)
        there = place < len(self._shown) and self._shown[place].number == trial.number
        self._shown[place : place + there] = [trial] if self.shows(trial) else []
