"""Views of a study: they show what a full look at it shows, and look at what is new alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from hpo.search.study_view import Follower, selection_of, view_of
from hpo.storage.open import open_storage

UNFINISHED = (TrialState.RUNNING, TrialState.WAITING)


def even(trial: FrozenTrial) -> bool:
    """True of a trial whose x, which a running one may not have yet, is even."""
    return trial.params.get("x", 1) % 2 == 0


def storage_of(kind: str, folder: Path) -> BaseStorage:
    if kind == "memory":
        return InMemoryStorage()
    return open_storage(f"journal:{folder / 'j.log'}" if kind == "journal" else f"sqlite:///{folder / 's.db'}")


class Another(InMemoryStorage):
    """A storage of a kind that is not known."""


def act(study: optuna.Study, running: list[optuna.Trial], action: int) -> None:
    """Do one of the things that change a study's trials."""
    if action < 3:
        running.append(study.ask())
    elif action == 3:
        study.enqueue_trial({"x": len(study.get_trials(deepcopy=False)) % 7})
    elif running and action == 4:
        running[-1].report(1.0, len(running[-1]._get_latest_trial().intermediate_values))
    elif running and action == 5:
        running[0].suggest_int("x", 0, 9)
    elif running:
        trial = running.pop(action % len(running))
        study.tell(trial, *([1.0] if action % 2 else []), **({} if action % 2 else {"state": TrialState.PRUNED}))


def same(view: optuna.Study, study: optuna.Study, shows: Any) -> None:
    for states in (None, UNFINISHED, (TrialState.WAITING,), (TrialState.COMPLETE, TrialState.RUNNING)):
        expected = [one for one in study.get_trials(deepcopy=False, states=states) if shows(one)]
        assert view.get_trials(deepcopy=False, states=states) == expected
        assert view.get_trials(states=states) == expected


@settings(max_examples=60)
@given(st.lists(st.integers(0, 12), max_size=40))
def test_a_view_shows_what_a_full_look_shows(actions: list[int]) -> None:
    study = optuna.create_study(storage=InMemoryStorage())
    everything = view_of(study)
    some, searched = view_of(everything, even), view_of(study, even)
    running: list[optuna.Trial] = []
    for action in actions:
        act(everything if action % 2 else study, running, action)
        same(everything, study, lambda trial: True)
        same(some, study, even)
    same(searched, study, even)


@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_a_view_of_a_file_that_others_write_too(tmp_path: Path, kind: str) -> None:
    study = optuna.create_study(storage=storage_of(kind, tmp_path), study_name="s")
    view, running = view_of(study, even), list[optuna.Trial]()
    for action in (0, 1, 5, 6, 3, 2, 5, 4, 8, 0, 7, 9, 3, 3, 0, 5, 12):
        act(view, running, action)
        assert view.get_trials(deepcopy=False) == list(filter(even, study.get_trials(deepcopy=False)))
    other = optuna.load_study(study_name="s", storage=storage_of(kind, tmp_path))
    for trial in other.get_trials(deepcopy=False, states=UNFINISHED):  # as the dashboard does
        if trial.state == TrialState.RUNNING:
            other.tell(trial.number, state=TrialState.FAIL)
    other.enqueue_trial({"x": 2})
    same(view, study, even)
    everything = view_of(study)
    waiting = everything.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    assert everything.ask().number == waiting[0].number


def test_a_storage_of_another_kind_is_asked_for_all() -> None:
    study = optuna.create_study(storage=Another())
    view, running = view_of(study, even), list[optuna.Trial]()
    for action in (0, 5, 1, 8, 3, 0, 5, 7):
        act(study, running, action)
        same(view, study, even)


def test_a_finished_trial_is_looked_at_once_however_many_there_are() -> None:
    looked: list[int] = []
    study = optuna.create_study(storage=InMemoryStorage())
    view = view_of(study, lambda trial: looked.append(trial.number) is None)
    study.add_trials([optuna.trial.create_trial(value=1.0) for _ in range(500)])
    view.get_trials(deepcopy=False)
    assert looked == list(range(500))
    running = [view.ask() for _ in range(3)]
    looked.clear()
    for _ in range(4):
        assert len(view.get_trials(deepcopy=False)) == 503
    assert set(looked) == {500, 501, 502}
    assert len(looked) == 12
    view.tell(running[1], 1.0)
    looked.clear()
    view.get_trials(deepcopy=False)
    assert sorted(looked) == [500, 501, 502]
    looked.clear()
    view.get_trials(deepcopy=False)
    assert looked == [500, 502]
    looked.clear()
    assert view.get_trials(deepcopy=False, states=(TrialState.WAITING,)) == []
    assert set(looked) <= {500, 502}


def test_a_list_that_was_returned_does_not_change_and_may_be_changed() -> None:
    view = view_of(optuna.create_study())
    first = view.get_trials(deepcopy=False)
    view.ask()
    assert first == []
    view.get_trials(deepcopy=False).clear()
    assert len(view.get_trials(deepcopy=False)) == 1


def test_the_follower_returns_each_finished_trial_once() -> None:
    study = optuna.create_study()
    follower, seen = Follower(), list[int]()
    running = list[optuna.Trial]()
    for action in (0, 1, 0, 3, 9, 0, 7, 8, 0, 12, 6, 3):
        act(study, running, action)
        finished, unfinished = follower.read(study)
        seen += [trial.number for trial in finished]
        assert unfinished == study.get_trials(deepcopy=False, states=UNFINISHED)
    assert sorted(seen) == [trial.number for trial in study.trials if trial.state.is_finished()]


def test_a_selection_is_these_trials_and_writes_to_the_study() -> None:
    study = optuna.create_study()
    study.add_trials([optuna.trial.create_trial(value=float(value)) for value in range(5)])
    some = selection_of(study, study.get_trials(deepcopy=False)[1:3])
    assert [trial.number for trial in some.trials] == [1, 2]
    assert some.best_trial.number == 1
    some.ask()
    assert len(study.trials) == 6
