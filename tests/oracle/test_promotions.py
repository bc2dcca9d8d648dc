"""Trials that wait at a rung: what is kept of them, what becomes of them, and a death at every moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from books import check_books
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from hpo import layout
from hpo.analysis.records import StudyRecord, records_of
from hpo.oracle import oracle as oracle_module
from hpo.oracle.oracle import Oracle
from hpo.runner import run
from hpo.search.halving import HalvingPruner
from hpo.spec.load import load_spec
from hpo.spec.models import StudySpec
from hpo.storage.load_study import load_study
from hpo.trial import PRUNER, Job, Outcome
from hpo.warm_start.candidates import Candidate
from hpo.warm_start.trust import WarmStart

HALVING = {"name": "halving"}


class Search:
    """A study whose trials are reported by hand; `epochs` of a training, each saves a checkpoint."""

    def __init__(self, spec: StudySpec, folder: Path) -> None:
        self.spec, self.folder = spec, folder
        self.study = optuna.create_study(
            study_name="toy",
            storage=InMemoryStorage(),
            direction="maximize",
            sampler=optuna.samplers.RandomSampler(seed=0),
            pruner=HalvingPruner(),
        )
        self.oracle = self.driven()

    def driven(self) -> Oracle:
        """A driver, after one that is gone."""
        self.oracle = Oracle(self.spec, self.study, self.folder)
        return self.oracle

    def ask(self) -> Job:
        job = self.oracle.ask()
        assert job is not None
        return job

    def train(self, score: float, *steps: int, job: Job | None = None, saves: bool = True) -> Job:
        """Report `score` at steps until told to stop, then end so; after the last one complete."""
        job = job or self.ask()
        for step in steps:
            layout.make_trial_directory(job.directory)
            if saves:
                (job.directory / layout.CHECKPOINT).write_text(str(step))
            if (stop := self.oracle.report(job.number, step, {"score": score})) is not None:
                self.oracle.tell(Outcome(job.number, "PRUNED", cause=PRUNER, reason=stop.reason, seconds=step))
                return job
        self.oracle.tell(Outcome(job.number, "COMPLETE", {"score": score}, seconds=sum(steps)))
        return job

    def stored(self, number: int) -> FrozenTrial:
        return self.study.get_trials(deepcopy=False)[number]

    def outcome(self, number: int) -> dict[str, Any]:
        noted: dict[str, Any] = self.stored(number).user_attrs["hpo:outcome"]
        return noted

    @property
    def counts(self) -> tuple[int, int, int]:
        """Pruned and complete trials, and attempts that do not count."""
        progress = self.oracle.budget.progress
        return progress.pruned, progress.complete, progress.requeued

    def records(self) -> StudyRecord:
        return records_of(self.study, self.spec, self.folder)


@pytest.fixture
def search(make_spec: Callable[..., StudySpec], tmp_path: Path) -> Iterator[Search]:
    found = Search(make_spec(pruner=HALVING, budget={"trials": 8}), tmp_path / "toy")
    yield found
    found.oracle.close()


def test_a_trial_that_is_behind_waits_and_goes_on_with_its_checkpoint(search: Search) -> None:
    waiting = search.train(0.5, 1)
    for score in (0.4, 0.3):
        search.train(score, 1)
    assert [search.stored(number).state for number in range(3)] == [TrialState.RUNNING] * 3
    assert [trial.state for trial in search.records().trials] == ["PRUNED"] * 3  # what they are if they do not go on
    assert search.counts == (3, 0, 0)
    search.train(0.2, 1)  # of four the first one is the best quarter
    promoted = search.ask()
    assert (promoted.number, promoted.attempt, promoted.params, promoted.seed) == (4, 2, waiting.params, waiting.seed)
    assert (promoted.directory / layout.CHECKPOINT).read_text() == "1"
    assert (search.stored(0).state, search.outcome(0)["cause"]) == (TrialState.FAIL, "promoted")
    assert search.stored(4).intermediate_values == {1: 0.5}
    search.train(0.6, 2, 3, job=promoted)
    assert search.counts == (3, 1, 1)
    found = search.records().trials
    assert [step.step for step in found[4].history] == [1, 2, 3]
    assert (found[0].requeued, found[0].finished, found[4].retry_of) == (True, False, 0)
    assert search.outcome(0)["seconds"] == 1  # what it took stays, and is not counted twice
    assert search.outcome(4)["seconds"] == 5


def test_what_has_saved_nothing_is_stopped_for_good(search: Search) -> None:
    for score in (0.5, 0.4, 0.3, 0.2):
        search.train(score, 1, 2, saves=False)
    # The better half of the last ones goes on: only the first was among it.
    assert [search.stored(number).state.name for number in range(4)] == ["COMPLETE", "PRUNED", "PRUNED", "PRUNED"]


@pytest.mark.parametrize("saves", [True, False])
def test_a_guarded_trial_waits_and_is_not_stopped(
    make_spec: Callable[..., StudySpec], tmp_path: Path, saves: bool
) -> None:
    """What came from an earlier study is spared the pruner for four reports; one that waits may go on."""
    search = Search(make_spec(pruner=HALVING, warm_start="auto", budget={"trials": 10}), tmp_path)
    candidates = [Candidate({"x": value}, "pilot", index, value) for index, value in enumerate((0.1, 0.2))]
    search.oracle = Oracle(search.spec, search.study, tmp_path, warm=WarmStart(candidates, 4, maximize=True))
    jobs = [search.ask() for _ in range(6)]
    told = [job for job in jobs if search.stored(job.number).user_attrs["hpo:job"]["source"] == "warm_start"]
    for job in jobs:
        if job not in told:
            search.train(0.5, 1, job=job, saves=saves)
    for job in told:
        search.train(0.4, 1, 2, 3, job=job, saves=saves)
    assert list(search.stored(told[0].number).intermediate_values) == ([1] if saves else [1, 2, 3])


@pytest.mark.parametrize(
    ("constants", "steps"),
    [({"epochs": 1}, [1]), ({"max_epochs": 4}, [4]), ({"epochs": 2}, [0, 1]), ({"num_epochs": 5}, [0, 4])],
)
def test_nobody_waits_at_the_end_of_a_training(
    make_spec: Callable[..., StudySpec], tmp_path: Path, constants: dict[str, int], steps: list[int]
) -> None:
    """Whatever the number of epochs is called, and where steps count from 0 too."""
    search = Search(make_spec(pruner=HALVING, constants=constants), tmp_path / "toy")
    search.train(0.5, *steps)
    assert search.stored(0).state == TrialState.COMPLETE
    search.oracle.close()


def test_at_the_end_the_best_goes_on_and_the_others_are_pruned(
    make_spec: Callable[..., StudySpec], tmp_path: Path
) -> None:
    search = Search(make_spec(pruner=HALVING, budget={"trials": 3}), tmp_path / "toy")
    for score in (0.3, 0.5, 0.4):
        search.train(score, 1)
    assert not search.oracle.no_more_jobs
    promoted = search.train(0.6, 2, 3)
    assert search.stored(promoted.number).user_attrs["hpo:origin"]["retry_of"] == 1
    assert search.oracle.ask() is None
    assert search.oracle.no_more_jobs
    search.oracle.end()
    assert [trial.state.name for trial in search.study.get_trials()] == ["PRUNED", "FAIL", "PRUNED", "COMPLETE"]
    assert search.counts == (2, 1, 1)
    search.oracle.close()


CELLS = {"x": {"choices": [1, 2, 3, 4, 5, 6]}}


@pytest.mark.parametrize("interrupted", [False, True])
@pytest.mark.parametrize("budget", [{"hours": 5}, {"hours": 5, "trials": 6}])
def test_where_each_is_tried_once_what_waits_has_the_rest_of_the_time(
    make_spec: Callable[..., StudySpec], tmp_path: Path, budget: dict[str, Any], interrupted: bool
) -> None:
    spec = make_spec(pruner=HALVING, search_space=CELLS, sampler="grid", budget=budget)
    search = Search(spec, tmp_path / "toy")
    jobs = [search.ask() for _ in range(6)]
    for job in sorted(jobs, key=lambda job: -job.params["x"]):  # the best comes first: nobody is the best of four
        search.train(0.1 * job.params["x"], 1, job=job)
    if interrupted:
        search.oracle.control.interrupt("Ctrl-C")
        search.oracle.end()
        search.driven()
    # While others run; the one goes on before which the smallest part of those at its rung is.
    again = [search.ask() for _ in range(6)]
    assert [(job.params["x"], job.attempt) for job in again] == [(x, 2) for x in (6, 5, 4, 3, 2, 1)]
    for job in again:
        search.train(0.1 * job.params["x"], 2, 3, job=job)
    assert search.oracle.ask() is None
    assert search.oracle.no_more_jobs
    assert search.counts == (0, 6, 6)
    search.oracle.close()


@pytest.mark.parametrize("budget", [{"trials": 6}, {"trials": 20}, {"trials": 5, "hours": 5}])
def test_without_time_that_is_left_only_the_best_goes_on(
    make_spec: Callable[..., StudySpec], tmp_path: Path, budget: dict[str, Any]
) -> None:
    spec = make_spec(pruner=HALVING, search_space=CELLS, sampler="grid", budget=budget)
    search = Search(spec, tmp_path / "toy")
    jobs = [search.ask() for _ in range(min(6, budget["trials"]))]
    for job in sorted(jobs, key=lambda job: -job.params["x"]):  # the best comes first: nobody is the best of four
        search.train(0.1 * job.params["x"], 1, job=job)
    best = search.ask()
    assert best.params == max((job.params for job in jobs), key=lambda params: params["x"])
    assert search.oracle.ask() is None
    search.train(0.9, 2, 3, job=best)
    assert search.oracle.ask() is None
    assert search.oracle.no_more_jobs
    search.oracle.end()
    search.oracle.close()


def test_while_others_run_there_may_be_more(make_spec: Callable[..., StudySpec], tmp_path: Path) -> None:
    search = Search(make_spec(pruner=HALVING, budget={"trials": 4}), tmp_path / "toy")
    jobs = [search.ask() for _ in range(4)]
    for score, job in zip((0.5, 0.4, 0.3), jobs, strict=False):
        search.train(score, 1, job=job)
    assert search.oracle.ask() is None
    assert not search.oracle.no_more_jobs  # the fourth decides
    search.train(0.2, 1, job=jobs[3])
    assert search.ask().params == jobs[0].params
    search.oracle.close()


def test_a_paused_study_promotes_nobody(search: Search) -> None:
    for score in (0.5, 0.4, 0.3, 0.2):
        search.train(score, 1)
    search.oracle.control.pause()
    assert search.oracle.ask() is None
    search.oracle.control.resume()
    assert search.ask().attempt == 2


def test_few_wait_at_a_rung(search: Search) -> None:
    jobs = [search.ask() for _ in range(6)]
    for number, job in enumerate(jobs):
        if number:
            search.train(0.5 - number / 10, 1, job=job)
    states = [search.stored(number).state.name for number in range(6)]
    assert states == ["RUNNING", "RUNNING", "RUNNING", "RUNNING", "RUNNING", "PRUNED"]


def test_the_next_driver_finds_them_waiting(search: Search) -> None:
    """Whether the one before died or was interrupted: its study goes on as if it had not been."""
    for score in (0.5, 0.4, 0.3):
        search.train(score, 1)
    search.oracle.control.interrupt("Ctrl-C")
    search.oracle.end()
    oracle = search.driven()
    assert [search.stored(number).state.name for number in range(3)] == ["RUNNING"] * 3
    assert search.counts == (3, 0, 0)
    search.train(0.2, 1)  # of four the first one is the best quarter
    promoted = search.ask()
    assert (promoted.attempt, promoted.params) == (2, search.stored(0).params)
    assert (promoted.directory / layout.CHECKPOINT).exists()
    assert promoted.seed == search.stored(0).user_attrs["hpo:job"]["seed"]
    search.train(0.6, 2, 3, job=promoted)
    assert search.counts == (3, 1, 1)
    for score in (0.2, 0.2, 0.2, 0.2):
        search.train(score, 1)
    while (job := oracle.ask()) is not None:  # at the end the best of a rung goes on in any case
        search.train(0.6, 2, 3, job=job)
    oracle.end()
    assert "RUNNING" not in {trial.state.name for trial in search.study.get_trials(deepcopy=False)}
    assert oracle.budget.progress.finished == 8


def test_those_that_cannot_wait_any_longer_are_pruned(search: Search, make_spec: Callable[..., StudySpec]) -> None:
    jobs = [search.train(score, 1) for score in (0.5, 0.4, 0.3)]
    (jobs[1].directory / layout.CHECKPOINT).unlink()
    search.driven()
    assert [search.stored(number).state.name for number in range(3)] == ["RUNNING", "PRUNED", "RUNNING"]
    search.spec = make_spec(pruner="median", budget={"trials": 8})
    search.study.pruner = optuna.pruners.MedianPruner()
    search.driven()
    assert [search.stored(number).state.name for number in range(3)] == ["PRUNED"] * 3
    assert search.counts == (3, 0, 0)


@pytest.mark.parametrize("written", [0, 1, 2])
def test_a_driver_that_dies_while_it_promotes_doubles_nothing(
    search: Search, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    for score in (0.5, 0.4, 0.3, 0.2):
        search.train(score, 1)

    class Died(BaseException):
        pass

    def dies(*_: Any, **__: Any) -> None:
        raise Died

    name = ("requeue", "finish_trial", "on_trial_promoted")[written]
    where = (search.oracle._queue, oracle_module, search.oracle.budget)[written]
    with monkeypatch.context() as patched:
        patched.setattr(where, name, dies)
        with pytest.raises(Died):
            search.oracle.ask()
    search.driven()
    expected = (4, 0, 0) if written == 0 else (3, 0, 1)
    assert search.counts == expected
    job = search.ask()
    assert (job.attempt, job.params) == (2, search.stored(0).params)
    search.train(0.6, 2, 3, job=job)
    assert search.counts == (3, 1, 1)


def test_one_that_was_ended_elsewhere_does_not_go_on(search: Search) -> None:
    for score in (0.5, 0.4, 0.3, 0.2):
        search.train(score, 1)
    search.study.tell(0, state=TrialState.FAIL)  # optuna-dashboard's Fail
    assert search.ask().attempt == 1
    search.oracle.end()
    assert search.stored(0).state == TrialState.FAIL


@pytest.mark.parametrize("engine", ["inline", "local"])
def test_a_study_with_promotions_counts_each_configuration_once(
    study_yaml: Callable[..., Path], runs: Path, engine: str
) -> None:
    path = study_yaml(
        "slow", pruner=HALVING, budget={"trials": 16}, constants={"seconds": 0}, engine={"name": engine, "workers": 1}
    )
    spec = load_spec(path)
    run(spec, runs)
    trials, finished = check_books(runs, 16)
    promoted = [trial for trial in trials if trial.user_attrs["hpo:outcome"]["cause"] == "promoted"]
    assert promoted
    assert len(trials) == 16 + len(promoted)
    assert any(trial.state == TrialState.COMPLETE for trial in finished)
    spec, study = load_study(runs, "toy")
    record = records_of(study, spec, runs / "toy")
    assert len(record.finished) == 16
