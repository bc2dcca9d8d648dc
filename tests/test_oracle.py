"""The Oracle by itself: budgets in a simulated clock, and a death before each of its writes."""

from __future__ import annotations

import contextlib

import optuna
import pytest
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState

from hpo import history, layout
from hpo.oracle import Oracle
from hpo.trial import LOST, Outcome


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def make_oracle(make_spec, tmp_path):
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))

    oracles = []

    def make(clock=None, study=study, **keys):
        oracles.append(Oracle(make_spec(**keys), study, tmp_path / "toy", clock=clock or Clock()))
        return oracles[-1]

    yield make
    for oracle in oracles:
        oracle.close()


def complete(oracle, job, seconds=1.0):
    oracle.tell(Outcome(job.number, "COMPLETE", {"score": job.params["x"]}, seconds=seconds))


def test_hours_are_those_in_which_a_trial_ran_over_all_runs(make_oracle):
    clock = Clock()
    oracle = make_oracle(clock, budget={"hours": 1})
    first, second = oracle.ask(), oracle.ask()
    clock.now += 1800  # two trials side by side: half an hour, once
    complete(oracle, first)
    complete(oracle, second)
    clock.now += 50_000  # a night without a driver
    oracle = make_oracle(clock, budget={"hours": 1})
    job = oracle.ask()
    clock.now += 1799
    assert oracle.ask() is not None
    clock.now += 2
    assert oracle.ask() is None
    assert oracle.done == "the budget of 1 hours is spent"
    complete(oracle, job)


def test_gpu_hours_count_each_trial_by_its_share(make_oracle):
    keys = {"budget": {"gpu_hours": 1}, "engine": {"workers": 2, "gpu": 0.5}}
    oracle = make_oracle(**keys)
    for _ in range(2):
        complete(oracle, oracle.ask(), seconds=3600.0)
    assert oracle.ask() is None
    assert oracle.done == "the budget of 1 GPU hours is spent"
    assert make_oracle(**keys).ask() is None


def test_some_parameters_can_be_fixed(make_oracle):
    assert make_oracle().ask(fixed={"x": 0.125}).params == {"x": 0.125}


def test_minimising_keeps_the_smallest_as_best(make_spec, tmp_path):
    spec = make_spec(metrics=[{"name": "score", "direction": "minimize"}], enqueue=[{"x": x} for x in (0.5, 0.2, 0.9)])
    oracle = Oracle(spec, optuna.create_study(), tmp_path / "toy")
    for _ in range(3):
        complete(oracle, oracle.ask())
    assert (oracle.progress.best, oracle.progress.best_number) == (0.2, 1)


def test_a_lost_trial_waits_behind_nobody_and_is_counted_once(make_oracle):
    oracle = make_oracle(budget={"trials": 2})
    lost = oracle.ask()
    oracle.tell(Outcome(lost.number, "FAIL", cause=LOST, reason="the worker process was killed"))
    again = oracle.ask()
    assert (again.params, again.seed, again.attempt) == (lost.params, lost.seed, 2)
    complete(oracle, again)
    complete(oracle, oracle.ask())
    assert oracle.ask() is None
    assert (oracle.progress.complete, oracle.progress.requeued) == (2, 1)


class Killed(BaseException):
    """The driver dies here."""


class MortalStorage(InMemoryStorage):
    """Dies instead of its n-th write; what was written before is kept."""

    def __init__(self):
        super().__init__()
        self.left = None

    def _write(self):
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.left = None
                raise Killed

    def create_new_trial(self, *args, **kwargs):
        self._write()
        return super().create_new_trial(*args, **kwargs)

    def set_trial_param(self, *args, **kwargs):
        self._write()
        return super().set_trial_param(*args, **kwargs)

    def set_trial_state_values(self, *args, **kwargs):
        self._write()
        return super().set_trial_state_values(*args, **kwargs)

    def set_trial_intermediate_value(self, *args, **kwargs):
        self._write()
        return super().set_trial_intermediate_value(*args, **kwargs)

    def set_trial_user_attr(self, *args, **kwargs):
        self._write()
        return super().set_trial_user_attr(*args, **kwargs)


def drive(oracle):
    """Two reports a trial; the trial of x = 0.75 loses its first worker."""
    with contextlib.closing(oracle):
        _drive(oracle)


def _drive(oracle):
    while (job := oracle.ask()) is not None:
        for step in range(2):
            oracle.report(job.number, step, {"score": job.params["x"]})
        if job.params["x"] == 0.75 and job.attempt == 1:
            oracle.tell(Outcome(job.number, "FAIL", cause=LOST, reason="the worker process was killed"))
        else:
            complete(oracle, job)


GRID = {"search_space": {"x": {"choices": [0.25, 0.5, 0.75, 1.0]}}, "sampler": {"name": "grid"}}
ENQUEUED = {"enqueue": [{"x": 0.75}, {"x": 0.5}], "budget": {"trials": 4}}


@pytest.mark.parametrize("keys", [GRID, ENQUEUED], ids=["grid", "enqueued"])
def test_the_driver_may_die_before_any_of_its_writes(make_spec, tmp_path, keys):
    spec = make_spec(**keys)
    deaths = 0
    while True:
        storage, directory = MortalStorage(), tmp_path / str(deaths)
        sampler = optuna.samplers.RandomSampler(seed=0)
        study = optuna.create_study(storage=storage, direction="maximize", sampler=sampler)
        storage.left = deaths
        try:
            drive(Oracle(spec, study, directory))
        except Killed:
            deaths += 1
        else:
            break
        drive(Oracle(spec, study, directory))
        trials = study.trials
        finished = [t for t in trials if not t.user_attrs["hpo:outcome"]["requeued"]]
        assert {t.state for t in finished} == {TrialState.COMPLETE}
        assert all(t.state.is_finished() for t in trials)
        assert len(finished) == 4
        assert len({t.params["x"] for t in finished}) == 4
        assert {0.75, 0.5} <= {t.params["x"] for t in finished}
        for trial in finished:
            steps = history.read(layout.trial_directory(directory, trial.number) / layout.HISTORY)
            assert [step.step for step in steps] == [0, 1]
    assert deaths > 30
