"""`sampler: auto` in a space that ends: each configuration once, however the budget and the sampler change."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from hpo.oracle.open_study import open_study
from hpo.oracle.oracle import Oracle
from hpo.search.samplers import make_sampler
from hpo.spec.models import Budget, StudySpec
from hpo.trackers.base import Tracker
from hpo.trial import Outcome

Make = Callable[..., StudySpec]
SPACE = {"x": {"low": 0, "high": 8}, "b": {"choices": [0, 1, 2, 3]}}
CELLS = [(x, b) for x in range(9) for b in range(4)]


class Messages(Tracker):
    def __init__(self) -> None:
        self.said: list[str] = []

    def message(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def auto(make_spec: Make) -> Make:
    return lambda **keys: make_spec(**{"search_space": SPACE, "sampler": "auto", **keys})


def drive(spec: StudySpec, study: optuna.Study, directory: Path, failing: tuple[int, ...] = ()) -> list[str]:
    """Run a study to its end, and return what was said."""
    tracker = Messages()
    with contextlib.closing(Oracle(spec, study, directory, tracker)) as oracle:
        while (job := oracle.ask()) is not None:
            score = job.params["x"] - job.params.get("b", 0) / 8
            failed = Outcome(job.number, "FAIL", cause="exception", reason="a bug")
            oracle.tell(failed if job.params["x"] in failing else Outcome(job.number, "COMPLETE", {"score": score}))
        assert oracle.no_more_jobs
    return tracker.said


def tried(study: optuna.Study) -> list[tuple[Any, Any]]:
    return [(trial.params["x"], trial.params["b"]) for trial in study.trials]


def test_each_of_36_configurations_is_tried_once_and_the_best_of_them_found(auto: Make, tmp_path: Path) -> None:
    for seed in range(20):
        spec = auto(budget={"trials": 60}, seed=seed)
        study = optuna.create_study(direction="maximize", sampler=make_sampler(spec, 0))
        said = drive(spec, study, tmp_path / str(seed))
        assert sorted(tried(study)) == CELLS
        assert study.best_params == {"x": 8, "b": 0}
        assert said == ["each of the 36 configurations was tried once: the study ends"]


def test_a_budget_that_grows_changes_the_sampler_and_loses_nothing(auto: Make, tmp_path: Path) -> None:
    storage, said = optuna.storages.InMemoryStorage(), []
    for budget, known in (({"trials": 20}, 20), ({"trials": 30}, 30), ({"trials": 40}, 36), ({"hours": 1}, 36)):
        spec = auto(budget=budget)
        study = open_study(spec, storage, said.append)
        drive(spec, study, tmp_path)
        assert len(set(tried(study))) == len(study.trials) == known
    assert study.user_attrs["hpo:samplers"] == ["kernel", "grid"]
    assert len(said) == 1
    assert said[0].startswith("sampler auto: from here on grid, kernel before: the space has 36 configurations")


def test_a_budget_that_is_extended_while_it_runs_ends_with_the_last_configuration(auto: Make, tmp_path: Path) -> None:
    spec = auto(budget={"trials": 20})
    study = optuna.create_study(direction="maximize", sampler=make_sampler(spec, 0))
    with contextlib.closing(Oracle(spec, study, tmp_path)) as oracle:
        while (job := oracle.ask()) is not None:
            oracle.tell(Outcome(job.number, "COMPLETE", {"score": job.params["x"]}))
            if job.number == 10:
                oracle.control.extend(Budget(trials=60))
        assert oracle.budget.progress.budget == 36
    assert sorted(tried(study)) == CELLS


@pytest.mark.parametrize("keys", [{}, {"group_by": "b"}, {"group_by": "b", "min_complete": 9}])
def test_a_budget_of_hours_ends_with_the_last_configuration(auto: Make, tmp_path: Path, keys: dict[str, Any]) -> None:
    spec = auto(budget={"hours": 1}, **keys)
    study = optuna.create_study(direction="maximize", sampler=make_sampler(spec, 0))
    said = drive(spec, study, tmp_path)
    assert sorted(tried(study)) == CELLS
    assert said[-1] == "each of the 36 configurations was tried once: the study ends"


@pytest.mark.parametrize("keys", [{"sampler": "kernel"}, {"search_space": {"x": 3, "b": {"choices": [1]}}}])
def test_who_wants_repeats_names_a_sampler_or_has_one_configuration(
    auto: Make, tmp_path: Path, keys: dict[str, Any]
) -> None:
    spec = auto(budget={"trials": 40}, **keys)
    study = optuna.create_study(direction="maximize", sampler=make_sampler(spec, 0))
    assert drive(spec, study, tmp_path) == []
    assert len(study.trials) == 40


def test_numbers_with_steps_are_not_repeated_by_the_process_either(auto: Make, tmp_path: Path) -> None:
    space = {"x": {"low": 0, "high": 4}, "b": {"low": 0.0, "high": 1.0, "step": 0.2}}
    spec = auto(search_space=space, budget={"hours": 1})
    study = optuna.create_study(direction="maximize", sampler=make_sampler(spec, 0))
    drive(spec, study, tmp_path)
    assert len({(x, round(b, 1)) for x, b in tried(study)}) == len(study.trials) == 30


def test_what_failed_is_named_at_the_end_and_may_be_tried_again(auto: Make, tmp_path: Path) -> None:
    spec = auto(search_space={"x": {"low": 1, "high": 3}}, budget={"trials": 9})
    study = optuna.create_study(direction="maximize", sampler=make_sampler(spec, 0))
    said = drive(spec, study, tmp_path, failing=(2,))
    again = "1 failed, which `hpo run --retry-failed` tries again"
    assert said == [f"each of the 3 configurations was tried once: the study ends; {again}"]
    oracle = Oracle(spec, study, tmp_path)
    assert oracle.retry_failed() == 1
    job = oracle.ask()
    assert job is not None
    assert job.params["x"] == 2
    oracle.close()
