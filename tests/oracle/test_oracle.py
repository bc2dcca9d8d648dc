"""The Oracle by itself: budgets in a simulated clock, and a death before each of its writes."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import time
from pathlib import Path

import numpy as np
import optuna
import pytest
from lines import lines_of
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState
from servers import PostgreSQL
from waiting import wait_until

from hpo import layout
from hpo.analysis.records import records_of
from hpo.oracle.oracle import Oracle
from hpo.runner import run
from hpo.search.samplers import make_pruner, make_sampler
from hpo.spec.models import Budget, Component
from hpo.storage import history
from hpo.storage.budget import exhausted, span_of, wall_seconds
from hpo.storage.load_study import load_study
from hpo.storage.open import close_storage, open_storage
from hpo.trackers.base import Tracker
from hpo.trial import (
    EXCEPTION,
    INTERRUPTED,
    INVALID,
    LOST,
    OBJECTIVE,
    OUT_OF_MEMORY,
    PREEMPTED,
    PRUNER,
    RED_FLAG,
    TIMEOUT,
    Outcome,
    Usage,
)
from hpo.warm_start.candidates import Candidate
from hpo.warm_start.trust import WarmStart


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
    assert oracle.budget.done == "the budget of 1 hour is spent"
    complete(oracle, job)


@pytest.mark.parametrize("jump", [-1e8, -3600.0, 3600.0, 1e8])
def test_hours_are_spent_evenly_though_the_clock_of_the_host_is_set(make_spec, tmp_path, monkeypatch, jump):
    study = optuna.create_study()
    oracle = Oracle(make_spec(budget={"hours": 1}), study, tmp_path / "toy")
    first, real = oracle.ask(), time.time
    monkeypatch.setattr(time, "time", lambda: real() + jump)
    second = oracle.ask()
    assert second is not None
    oracle.report(first.number, 1, {"score": 0.1})
    complete(oracle, first)
    complete(oracle, second)
    oracle.close()
    # The next run has the new clock, and what was spent is what was spent.
    spans = [span_of(trial.user_attrs) for trial in study.trials]
    assert 0 <= wall_seconds(spans) < 600
    assert exhausted(make_spec(budget={"hours": 1}).budget, 2, spans, now=0.0) == ""
    again = Oracle(make_spec(budget={"hours": 1}), study, tmp_path / "toy")
    assert again.ask() is not None
    again.close()


@pytest.mark.parametrize("kind", ["sqlite", "journal", pytest.param("postgresql", marks=pytest.mark.slow)])
def test_a_step_beyond_the_column_of_a_storage_is_said_and_ends_nothing(make_spec, tmp_path, kind):
    with contextlib.ExitStack() as stack:
        url = {"sqlite": f"sqlite:///{tmp_path}/study.db", "journal": f"journal:{tmp_path}/journal.log"}.get(kind)
        if url is None:
            server = stack.enter_context(contextlib.closing(PostgreSQL(tmp_path)))
            url = server.url("study")
        storage = open_storage(url)
        stack.callback(close_storage, storage)
        said = []
        oracle = Oracle(make_spec(budget={"trials": 2}), optuna.create_study(storage=storage), tmp_path / "toy")
        oracle._tracker.message = said.append
        large = (2**31, 2**40, 2**53)
        for _ in range(2):
            job = oracle.ask()
            for step in (1, *large, 2):
                assert oracle.report(job.number, step, {"score": 0.1}) is None
            complete(oracle, job)
        assert oracle.budget.progress.complete == 2
        steps = [step.step for step in history.read(job.directory / layout.HISTORY)]
        assert steps == [1, 2, *large]
        if kind == "postgresql":
            (sentence,) = [text for text in said if "beyond" in text]
            assert sentence.startswith(f"step {2**31} of trial 0 is beyond {2**31 - 1}, the largest that this storage")
            assert set(oracle._study.trials[0].intermediate_values) == {1, 2}
        else:
            assert [text.partition(" after ")[0] for text in said if " after " in text] == [
                "Trial 0 reported score at step 2"
            ]
        oracle.close()


def test_a_pipe_in_the_place_of_the_traceback_holds_no_driver_up(make_oracle):
    oracle = make_oracle(budget={"trials": 1})
    job = oracle.ask()
    job.directory.mkdir(parents=True, exist_ok=True)
    os.mkfifo(job.directory / layout.ERROR)
    oracle.tell(Outcome(job.number, "FAIL", cause=EXCEPTION, reason="it failed", error="a traceback"))
    assert (job.directory / layout.ERROR).read_text() == "a traceback"


def test_gpu_hours_count_each_trial_by_its_share(make_oracle):
    keys = {"budget": {"gpu_hours": 1}, "engine": {"workers": 2, "gpu": 0.5}}
    oracle = make_oracle(**keys)
    for _ in range(2):
        complete(oracle, oracle.ask(), seconds=3600.0)
    assert oracle.ask() is None
    assert oracle.budget.done == "the budget of 1 GPU hour is spent"
    assert make_oracle(**keys).ask() is None


def test_some_parameters_can_be_fixed(make_oracle):
    assert make_oracle().ask(fixed={"x": 0.125}).params == {"x": 0.125}


def test_minimising_keeps_the_smallest_as_best(make_spec, tmp_path):
    spec = make_spec(metrics=[{"name": "score", "direction": "minimize"}], enqueue=[{"x": x} for x in (0.5, 0.2, 0.9)])
    oracle = Oracle(spec, optuna.create_study(), tmp_path / "toy")
    for _ in range(3):
        complete(oracle, oracle.ask())
    assert (oracle.budget.progress.best, oracle.budget.progress.best_number) == (0.2, 1)


def test_a_lost_trial_waits_behind_nobody_and_is_counted_once(make_oracle):
    oracle = make_oracle(budget={"trials": 2})
    lost = oracle.ask()
    oracle.tell(Outcome(lost.number, "FAIL", cause=LOST, reason="the worker process was killed"))
    again = oracle.ask()
    assert (again.params, again.seed, again.attempt) == (lost.params, lost.seed, 2)
    complete(oracle, again)
    complete(oracle, oracle.ask())
    assert oracle.ask() is None
    assert (oracle.budget.progress.complete, oracle.budget.progress.requeued) == (2, 1)


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


# --- a grid

TENTHS = {"low": 0.1, "high": 0.5, "step": 0.1}


def test_a_grid_does_not_repeat_what_another_sampler_has_tried_beside_its_step(make_oracle):
    """0.30000000000000004 is the cell 0.3, before and after a restart; 8.0 is 8."""
    keys = {"search_space": {"x": TENTHS, "b": {"choices": [8, 16]}}}
    oracle = make_oracle(**keys, budget={"trials": 2})
    for x in (0.1 + 0.2, 0.5):
        oracle._study.enqueue_trial({"x": x, "b": 8.0})
    drive(oracle)
    assert 0.1 + 0.2 in [trial.params["x"] for trial in oracle._study.trials]
    grid = {**keys, "sampler": {"name": "grid"}, "budget": {"trials": 6}}
    drive(make_oracle(**grid))
    drive(make_oracle(**grid | {"budget": {}}))
    trials = oracle._study.trials
    tried = [(round(trial.params["x"] * 10), trial.params["b"]) for trial in trials]
    assert sorted(tried) == [(x, b) for x in range(1, 6) for b in (8, 16)]


def test_the_rest_of_what_is_partly_enqueued_is_a_cell_that_was_not_tried(make_oracle):
    grid = {"search_space": {"x": TENTHS, "b": {"choices": [8, 16]}}, "sampler": {"name": "grid"}, "budget": {}}
    enqueue = [{"x": 0.3}, {"b": 16}, {"x": 0.3, "b": 8}, {"x": 0.3}, {"x": 0.1 + 0.2, "b": 8.0}, {"x": 0.3}]
    oracle = make_oracle(**grid, enqueue=enqueue)
    drive(oracle)
    drive(make_oracle(**grid, enqueue=enqueue))
    tried = [(trial.params["x"], trial.params["b"]) for trial in oracle._study.trials]
    assert tried[:3] == [(0.3, 8), (0.1, 16), (0.3, 16)]
    assert len(tried) == len(set(tried)) == 10


# --- red flags

FLAGS = [
    {"name": "high", "when": "score > 0.8", "for_epochs": 2},
    {"name": "middling", "when": "score > 0.5", "action": "warn"},
]


class Said(Tracker):
    def __init__(self):
        self.messages = []
        self.finished = []

    def message(self, text):
        self.messages.append(text)

    def trial_finished(self, job, outcome, progress):
        self.finished.append(outcome)


def stop(oracle, job, reason):
    """As a worker ends that was told to stop: it does not know by whom."""
    oracle.tell(Outcome(job.number, "PRUNED", cause=PRUNER, reason=reason, seconds=1.0))


def test_a_red_flag_stops_a_trial_and_keeps_its_evidence(make_oracle):
    oracle = make_oracle(red_flags=FLAGS, enqueue=[{"x": 0.9}, {"x": 0.1}])
    oracle._tracker = said = Said()
    job = oracle.ask()
    assert oracle.report(job.number, 1, {"score": 0.9}) is None
    answer = oracle.report(job.number, 2, {"score": 0.9})
    assert answer.reason == "red flag 'high' at epoch 2: score > 0.8 (score 0.9), 2 epochs in a row"
    assert oracle.report(job.number, 3, {"score": 0.1}) == answer  # an objective that goes on all the same
    stop(oracle, job, answer.reason)
    complete(oracle, oracle.ask())
    trial, other = oracle._study.trials
    assert trial.state == TrialState.PRUNED
    outcome = trial.user_attrs["hpo:outcome"]
    assert (outcome["cause"], outcome["flag"], outcome["reason"]) == ("red_flag", "high", answer.reason)
    assert trial.user_attrs["hpo:flags"] == [
        {"name": "middling", "action": "warn", "step": 1,
         "reason": "red flag 'middling' at epoch 1: score > 0.5 (score 0.9)",
         "evidence": {"metrics": {"score": 0.9}, "since": 1}},
        {"name": "high", "action": "stop", "step": 2, "reason": answer.reason,
         "evidence": {"metrics": {"score": 0.9}, "since": 1}},
    ]  # fmt: skip
    assert trial.constraints == {"red_flag_high": 1.0}
    assert other.constraints == {}
    assert "hpo:flags" not in other.user_attrs
    assert "flag" not in other.user_attrs["hpo:outcome"]
    assert [outcome.cause for outcome in said.finished] == [RED_FLAG, ""]
    assert said.messages == [
        "trial 0 goes on with a warning: red flag 'middling' at epoch 1: score > 0.5 (score 0.9) "
        "(said of the first such trial; `hpo status` counts them)"
    ]
    assert oracle.budget.progress.pruned == 1
    again = oracle.ask({"x": 0.7})
    oracle.report(again.number, 1, {"score": 0.7})
    assert len(said.messages) == 1
    assert [flag["name"] for flag in oracle._study.trials[again.number].user_attrs["hpo:flags"]] == ["middling"]
    complete(oracle, again)


def test_a_trial_that_returned_is_complete_whatever_was_raised(make_oracle):
    oracle = make_oracle(red_flags=[{"name": "high", "when": "score > 0.8"}], enqueue=[{"x": 0.9}])
    job = oracle.ask()
    assert oracle.report(job.number, 1, {"score": 0.9}) is not None
    complete(oracle, job)
    (trial,) = oracle._study.trials
    assert (trial.state, trial.constraints) == (TrialState.COMPLETE, {})
    assert [flag["name"] for flag in trial.user_attrs["hpo:flags"]] == ["high"]


def test_the_default_is_that_losses_are_finite_and_none_turns_it_off(make_oracle):
    oracle = make_oracle()
    job = oracle.ask()
    assert oracle.report(job.number, 1, {"score": 0.5, "other": float("nan")}) is None
    assert "val_loss is inf" in oracle.report(job.number, 2, {"score": 0.5, "val_loss": float("inf")}).reason
    stop(oracle, job, "it was stopped")
    oracle = make_oracle(red_flags=[])
    job = oracle.ask()
    assert oracle.report(job.number, 1, {"score": float("nan"), "val_loss": float("inf")}) is None


def test_red_flags_see_what_a_trial_takes(make_oracle):
    clock = Clock()
    oracle = make_oracle(
        clock, red_flags=[{"name": "too_slow", "seconds": 10}, {"name": "too_much_memory", "gib": 2, "action": "warn"}]
    )
    job = oracle.ask()
    clock.now += 9
    assert oracle.report(job.number, 1, {"score": 0.5}, Usage(host_bytes=3 * 2**30)) is None
    clock.now += 2
    assert oracle.report(job.number, 2, {"score": 0.5}).reason.endswith("the trial took 11 s, above 10")


def test_a_resumed_attempt_raises_nothing_twice_and_forgets_nothing(make_oracle):
    oracle = make_oracle(red_flags=FLAGS, enqueue=[{"x": 0.9}])
    job = oracle.ask()
    job.directory.mkdir(parents=True, exist_ok=True)
    (job.directory / layout.CHECKPOINT).write_bytes(b"saved")
    oracle.report(job.number, 1, {"score": 0.9})
    oracle.close()  # the driver dies
    oracle = make_oracle(red_flags=FLAGS, enqueue=[{"x": 0.9}])
    oracle._tracker = said = Said()
    again = oracle.ask()
    assert again.attempt == 2
    assert oracle.report(again.number, 1, {"score": 0.9}) is None  # what was saved last is reported once more
    answer = oracle.report(again.number, 2, {"score": 0.9})
    assert "'high' at epoch 2" in answer.reason
    assert said.messages == []
    stop(oracle, again, answer.reason)
    assert [(flag["name"], flag["step"]) for flag in oracle._study.trials[-1].user_attrs["hpo:flags"]] == [
        ("middling", 1), ("high", 2),
    ]  # fmt: skip


def test_the_first_metric_may_come_in_a_later_piece_of_a_step(make_oracle):
    flags = [{"name": "apart", "when": "train - score > 1", "for_epochs": 2}]
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.ThresholdPruner(lower=0.2))
    oracle = make_oracle(study=study, red_flags=flags)
    pruned, flagged = oracle.ask(), oracle.ask()
    for step in (1, 2):
        assert oracle.report(pruned.number, step, {"train": 0.3}) is None
        answer = oracle.report(pruned.number, step, {"score": 0.4 - 0.15 * step})
    assert answer.reason == f"the pruner {oracle.spec.pruner.name} stopped it at step 2"
    for step in (1, 2):
        assert oracle.report(flagged.number, step, {"score": 0.5}) is None
        answer = oracle.report(flagged.number, step, {"train": 2.0})
    assert answer.reason.startswith("red flag 'apart' at epoch 2: train - score > 1 (train 2, score 0.5), 2 epochs")
    assert oracle._study.trials[pruned.number].intermediate_values == {1: 0.25, 2: pytest.approx(0.1)}
    assert oracle._study.trials[flagged.number].intermediate_values == {1: 0.5, 2: 0.5}


def test_an_attempt_that_died_between_the_pieces_of_a_step_is_gone_on_from(make_oracle):
    flags = [{"name": "apart", "when": "train - score > 1", "for_epochs": 2}]
    oracle = make_oracle(red_flags=flags)
    job = oracle.ask()
    job.directory.mkdir(parents=True, exist_ok=True)
    (job.directory / layout.CHECKPOINT).write_bytes(b"saved")
    for metrics in ({"train": 2.0}, {"score": 0.5}):
        oracle.report(job.number, 1, metrics)
    oracle.report(job.number, 2, {"train": 2.0})
    oracle.close()  # the driver dies
    oracle = make_oracle(red_flags=flags)
    again = oracle.ask()
    answer = oracle.report(again.number, 2, {"score": 0.6})
    assert answer.reason.startswith("red flag 'apart' at epoch 2")
    stop(oracle, again, answer.reason)
    assert oracle._study.trials[-1].intermediate_values == {1: 0.5, 2: 0.6}
    steps = history.read(again.directory / layout.HISTORY)
    assert [dict(step.metrics) for step in steps] == [{"train": 2.0, "score": 0.5}, {"train": 2.0, "score": 0.6}]


def test_the_driver_may_die_between_a_red_flag_and_the_end_of_its_trial(make_oracle):
    flags = [{"name": "high", "when": "score > 0.8"}]
    oracle = make_oracle(red_flags=flags, enqueue=[{"x": 0.9}])
    job = oracle.ask()
    job.directory.mkdir(parents=True, exist_ok=True)
    (job.directory / layout.CHECKPOINT).write_bytes(b"saved")
    assert oracle.report(job.number, 1, {"score": 0.9}) is not None
    oracle.close()
    oracle = make_oracle(red_flags=flags, enqueue=[{"x": 0.9}])
    again = oracle.ask()
    answer = oracle.report(again.number, 1, {"score": 0.9})
    stop(oracle, again, answer.reason)
    assert oracle._study.trials[-1].user_attrs["hpo:outcome"]["flag"] == "high"


def test_an_interruption_comes_first(make_oracle):
    oracle = make_oracle(red_flags=[{"name": "high", "when": "score > 0.8"}])
    job = oracle.ask()
    oracle.control.interrupt("the study is being stopped")
    assert oracle.report(job.number, 1, {"score": 0.9}).interrupted


def test_several_metrics_have_red_flags_too(make_spec, tmp_path):
    metrics = [{"name": name, "direction": "maximize"} for name in ("score", "other")]
    study = optuna.create_study(directions=["maximize", "maximize"])
    oracle = Oracle(make_spec(metrics=metrics, red_flags=[{"name": "high", "when": "other > 0.8"}]), study, tmp_path)
    job = oracle.ask()
    assert oracle.report(job.number, 1, {"score": 0.1, "other": 0.7}) is None
    stop(oracle, job, oracle.report(job.number, 2, {"score": 0.1, "other": 0.9}).reason)
    assert study.trials[0].constraints == {"red_flag_high": 1.0}
    oracle.close()


FALLBACKS = {"fallbacks": [{"x": 0.25}, {"x": 0.75}], "red_flags": [{"name": "high", "when": "score > 0.8"}]}


def end(oracle, cause):
    job = oracle.ask()
    state = "FAIL" if cause == EXCEPTION else "PRUNED" if cause else "COMPLETE"
    if cause == RED_FLAG:
        oracle.report(job.number, 1, {"score": 0.9})
        cause = PRUNER
    oracle.tell(Outcome(job.number, state, {} if cause else {"score": 0.5}, cause=cause, reason=cause and "told"))
    return job.params["x"]


@pytest.mark.parametrize("cause", [RED_FLAG, EXCEPTION, OUT_OF_MEMORY, OBJECTIVE])
def test_fallbacks_are_due_while_trials_are_faulty_and_none_was_healthy(make_oracle, cause):
    oracle = make_oracle(**FALLBACKS, enqueue=[{"x": 0.5}])
    assert end(oracle, cause) == 0.5
    assert end(oracle, cause) == 0.25
    oracle = make_oracle(**FALLBACKS, enqueue=[{"x": 0.5}])  # over a restart
    assert end(oracle, PRUNER) == 0.75  # healthy, but behind others
    assert end(oracle, cause) not in (0.25, 0.75)


def test_no_fallback_after_a_trial_that_the_pruner_stopped(make_oracle):
    oracle = make_oracle(**FALLBACKS, enqueue=[{"x": 0.5}, {"x": 0.5001}])
    end(oracle, PRUNER)
    end(oracle, RED_FLAG)
    assert end(oracle, "") not in (0.25, 0.75)


@pytest.mark.parametrize("engine", ["inline", "local"])
def test_the_sampler_learns_from_what_red_flags_stop(make_spec, runs, engine):
    """In a real run half of the space is faulty: TPE sees the trials that were stopped, and comes to avoid them."""
    spec = make_spec(
        "flagged",
        engine={"name": engine, "workers": 1},
        budget={"trials": 40},
        sampler={"name": "tpe", "n_startup_trials": 10},
        red_flags=[{"name": "no_recall", "when": "val_recall == 0", "from_epoch": 2}],
    )
    run(spec, runs)
    trials = load_study(runs, "toy")[1].trials
    faulty = [trial for trial in trials if trial.params["x"] > 0.5]
    assert {trial.user_attrs["hpo:outcome"]["cause"] for trial in faulty} == {RED_FLAG}
    assert all(
        trial.state == TrialState.PRUNED and trial.constraints == {"red_flag_no_recall": 1.0} for trial in faulty
    )
    assert all(trial.state == TrialState.COMPLETE for trial in trials if trial.params["x"] <= 0.5)
    assert all(len(trial.intermediate_values) == 3 for trial in faulty)  # epochs 0, 1, 2
    # The score alone would draw it to x = 1.
    late = [trial for trial in trials[20:] if trial.params["x"] > 0.5]
    assert 0 < len(late) <= 10
    assert sum(trial.params["x"] > 0.75 for trial in late) <= 2


# --- steering


def test_a_paused_study_is_not_over_until_its_budget_is_spent(make_oracle):
    oracle = make_oracle(budget={"trials": 2})
    first = oracle.ask()
    oracle.control.pause()
    assert oracle.ask() is None
    assert (oracle.no_more_jobs, oracle.budget.done, oracle.control.running) == (False, "", (first.number,))
    complete(oracle, first)
    assert oracle.ask() is None
    assert not oracle.no_more_jobs
    oracle.control.resume()
    second = oracle.ask()
    assert oracle.ask() is None  # both trials are taken
    oracle.control.pause()
    # A trial that goes back in the queue while it is paused leaves one to be run.
    oracle.tell(Outcome(second.number, "FAIL", cause=LOST, reason="the worker process was killed"))
    assert oracle.ask() is None
    assert not oracle.no_more_jobs
    oracle.control.resume()
    complete(oracle, oracle.ask())
    oracle.control.pause()
    assert oracle.ask() is None
    assert oracle.no_more_jobs
    assert oracle.budget.done == "the budget of 2 trials is spent"


@pytest.mark.parametrize("cause", [LOST, EXCEPTION, INTERRUPTED, PREEMPTED, TIMEOUT])
def test_a_killed_trial_fails_counts_and_is_not_tried_again_however_its_attempt_ended(make_oracle, cause):
    oracle = make_oracle(budget={"trials": 1}, engine={"retries": 3})
    job = oracle.ask()
    assert not oracle.control.kill(job.number + 1, "killed")
    assert oracle.control.kill(job.number, "killed by alice@node7 with `hpo kill`")
    assert oracle.control.trials_to_kill() == {job.number: "killed by alice@node7 with `hpo kill`"}
    oracle.tell(Outcome(job.number, "FAIL", cause=cause, reason="something else", error="a traceback", seconds=2.0))
    (trial,) = oracle._study.trials
    note = trial.user_attrs["hpo:outcome"]
    assert (trial.state.name, note["cause"], note["requeued"]) == ("FAIL", "killed", False)
    assert (note["reason"], note["seconds"]) == ("killed by alice@node7 with `hpo kill`", 2.0)
    assert (oracle.budget.progress.failed, oracle.budget.progress.requeued) == (1, 0)
    assert oracle.ask() is None
    assert oracle.budget.done


def test_a_killed_trial_that_is_told_to_stop_at_its_report_is_killed_not_pruned(make_oracle):
    oracle = make_oracle()
    job = oracle.ask()
    oracle.control.kill(job.number, "killed by alice@node7")
    stop = oracle.report(job.number, 0, {"score": 0.5})
    assert (stop.reason, stop.interrupted) == ("killed by alice@node7", False)
    oracle.tell(Outcome(job.number, "PRUNED", cause=PRUNER, reason=stop.reason))
    assert oracle._study.trials[0].user_attrs["hpo:outcome"]["cause"] == "killed"


@pytest.mark.parametrize("outcome", ["COMPLETE", "FAIL", "PRUNED"])
def test_a_trial_ended_from_outside_is_noticed_and_never_tried_again(make_oracle, outcome):
    oracle = make_oracle(engine={"retries": 3})
    job = oracle.ask()
    oracle._study._storage.set_trial_state_values(oracle._running[job.number].trial._trial_id, TrialState.FAIL)
    wait_until(oracle.control.trials_to_kill)
    assert oracle.control.trials_to_kill() == {job.number: "it was ended from outside (optuna-dashboard)"}
    ends = {
        "COMPLETE": Outcome(job.number, "COMPLETE", {"score": 0.5}),
        "FAIL": Outcome(job.number, "FAIL", cause=LOST, reason="the worker process was killed"),
        "PRUNED": Outcome(job.number, "PRUNED", cause=PRUNER, reason="it was told to"),
    }
    oracle.tell(ends[outcome])
    assert (oracle.budget.progress.failed, oracle.budget.progress.complete, oracle.budget.progress.requeued) == (
        1,
        0,
        0,
    )
    assert [trial.state.name for trial in oracle._study.trials] == ["FAIL"]
    # Who reads it later is told what Optuna would take no note of.
    (record,) = records_of(oracle._study, oracle.spec, oracle._directory).trials
    assert (record.cause, record.reason) == ("killed", "it was ended from outside (optuna-dashboard)")


def test_a_trial_ended_from_outside_just_before_its_worker_died_is_not_tried_again(make_oracle):
    oracle = make_oracle(engine={"retries": 3})
    job = oracle.ask()
    oracle._study._storage.set_trial_state_values(oracle._running[job.number].trial._trial_id, TrialState.FAIL)
    oracle.tell(Outcome(job.number, "FAIL", cause=LOST, reason="the worker process was killed"))
    assert len(oracle._study.trials) == 1
    assert (oracle.budget.progress.failed, oracle.budget.progress.requeued) == (1, 0)


@pytest.mark.parametrize(("cause", "again"), [(LOST, True), (EXCEPTION, True), (TIMEOUT, False)])
def test_what_the_end_of_a_job_kills_goes_back_in_the_queue(make_oracle, cause, again):
    """A queue sends SIGTERM to every process of a job; without retries only the interrupt saves these trials."""
    oracle = make_oracle(engine={"retries": 0})
    job = oracle.ask()
    oracle.control.interrupt("the study is being stopped")
    oracle.tell(Outcome(job.number, "FAIL", cause=cause, reason="the worker process 7 was killed by SIGTERM"))
    note = oracle._study.trials[0].user_attrs["hpo:outcome"]
    assert (note["requeued"], note["cause"]) == (again, "interrupted" if again else cause)
    if again:
        assert note["reason"] == "the worker process 7 was killed by SIGTERM, while the study was being stopped"
        assert [trial.state.name for trial in oracle._study.trials] == ["FAIL", "WAITING"]


def test_an_extended_budget_is_the_next_questions(make_oracle, make_spec):
    class Told(Tracker):
        budgets = ()

        def study_extended(self, spec, progress):
            self.budgets += ((spec.budget.trials, progress.budget),)

    oracle = make_oracle(budget={"trials": 1})
    oracle._tracker = told = Told()
    complete(oracle, oracle.ask())
    assert oracle.ask() is None
    assert oracle.no_more_jobs
    oracle.control.extend(Budget(trials=2))
    assert (oracle.control.extended, oracle.budget.progress.budget, told.budgets) == (True, 2, ())
    job = oracle.ask()
    assert job is not None
    assert (oracle.control.extended, told.budgets) == (False, ((2, 2),))
    complete(oracle, job)


def test_trials_that_people_kill_do_not_end_a_study_that_fails_from_the_start(make_oracle):
    oracle = make_oracle(budget={"trials": 9, "failures": 2}, fallbacks=[{"x": 0.5}])
    for _ in range(3):
        job = oracle.ask()
        assert job.params != {"x": 0.5}
        oracle.control.kill(job.number, "killed")
        oracle.tell(Outcome(job.number, "FAIL", cause=INTERRUPTED, reason="it was ended"))
    assert (oracle.budget.progress.failed, oracle.budget.stopped) == (3, "")
    for _ in range(2):
        job = oracle.ask()
        oracle.tell(Outcome(job.number, "FAIL", cause=INVALID, reason="no metric"))
    assert oracle.ask() is None
    assert oracle.budget.stopped == "the first 2 trials all failed (budget.failures = 2)"


def test_what_is_of_no_running_trial_is_ignored(make_oracle):
    oracle = make_oracle(budget={"trials": 2})
    job = oracle.ask()
    assert oracle.report(7, 0, {"score": 0.5}).reason == "trial 7 is not running"
    oracle.tell(Outcome(7, "COMPLETE", {"score": 0.5}))
    complete(oracle, job)
    assert oracle.report(job.number, 1, {"score": 0.5}).reason == "trial 0 is not running"
    oracle.tell(Outcome(job.number, "COMPLETE", {"score": 9.0}))
    assert oracle.budget.progress.complete == 1
    assert [trial.value for trial in oracle._study.trials] == [job.params["x"]]


@pytest.fixture
def sqlite_study(tmp_path):
    storage = open_storage(f"sqlite:///{tmp_path}/study.db")
    yield optuna.create_study(storage=storage, direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    close_storage(storage)


def test_a_report_that_the_storage_does_not_take_fails_its_trial_alone(make_oracle, sqlite_study):
    oracle = make_oracle(study=sqlite_study, budget={"trials": 2}, pruner="median")
    oracle.ask()
    # A worker does not let such a step through.
    assert "its report of step 9223372036854775808 cannot be kept" in oracle.report(0, 2**63, {"score": 0.5}).reason
    oracle.tell(Outcome(0, "PRUNED", cause=PRUNER, reason="it was told to stop"))
    complete(oracle, oracle.ask())
    first, second = sqlite_study.trials
    assert (first.state, second.state) == (TrialState.FAIL, TrialState.COMPLETE)
    assert first.user_attrs["hpo:outcome"]["cause"] == INVALID


def test_an_outcome_that_the_storage_does_not_take_fails_its_trial_alone(make_oracle, sqlite_study):
    oracle = make_oracle(study=sqlite_study, budget={"trials": 2})
    # JSON has no such value, and a worker does not let it through.
    oracle.tell(Outcome(oracle.ask().number, "COMPLETE", {"score": 0.5, "other": np.float32(1.0)}))
    complete(oracle, oracle.ask())
    first, second = sqlite_study.trials
    assert (first.state, second.state) == (TrialState.FAIL, TrialState.COMPLETE)
    assert first.user_attrs["hpo:outcome"]["reason"].startswith("its outcome cannot be kept: TypeError")


def test_an_objective_that_ignores_the_stop_is_said_once(make_oracle):
    said = []
    oracle = make_oracle(budget={"trials": 3})
    oracle._tracker.message = said.append
    for reason in ("first", "second"):
        job = oracle.ask()
        oracle.control.kill(job.number, reason)
        assert oracle.report(job.number, 1, {"score": 0.1}) == oracle.report(job.number, 2, {"score": 0.2})
        complete(oracle, job)
    assert len([text for text in said if "catches hpo.Pruned" in text]) == 1
    assert "Trial 0 was told to stop (first) and went on to its end" in said[0]
    steps = history.read(oracle._directory / "trials" / "0" / layout.HISTORY)
    assert [step.metrics["score"] for step in steps] == [0.1, 0.2]


@pytest.mark.parametrize("again", [False, True])
def test_a_folder_that_the_objective_has_removed_costs_nothing(make_oracle, again):
    oracle = make_oracle(budget={"trials": 1})
    job = oracle.ask()
    oracle.report(job.number, 1, {"score": 0.1})
    shutil.rmtree(job.directory)
    if again:
        oracle.report(job.number, 2, {"score": 0.2})
        shutil.rmtree(job.directory)
    oracle.tell(Outcome(job.number, "FAIL", cause=EXCEPTION, reason="x" * 500))
    steps = history.read(job.directory / layout.HISTORY)
    assert [step.step for step in steps] == ([1, 2] if again else [1])
    assert (job.directory / layout.ERROR).read_text() == "x" * 500


def test_a_folder_that_cannot_be_written_costs_the_history_and_not_the_result(make_oracle):
    said = []
    oracle = make_oracle(budget={"trials": 2})
    oracle._tracker.message = said.append
    job = oracle.ask()
    shutil.rmtree(job.directory)
    job.directory.write_text("a file in its place")
    for step in (1, 2):
        assert oracle.report(job.number, step, {"score": 0.1}) is None
    oracle.tell(Outcome(job.number, "FAIL", cause=EXCEPTION, reason="it failed", error="a traceback"))
    complete(oracle, oracle.ask())
    assert [trial.state for trial in oracle._study.trials] == [TrialState.FAIL, TrialState.COMPLETE]
    assert oracle._study.trials[0].user_attrs["hpo:outcome"]["reason"] == "it failed"
    assert [text.partition(" cannot")[0] for text in said] == ["the history of trial 0", "the traceback of trial 0"]


@pytest.mark.parametrize("odd", [Path.mkdir, os.mkfifo])
def test_a_lost_attempt_whose_files_cannot_be_taken_over_starts_afresh(make_oracle, odd):
    said = []
    oracle = make_oracle(budget={"trials": 1})
    oracle._tracker.message = said.append
    job = oracle.ask()
    (job.directory / layout.CHECKPOINT).write_bytes(b"state")
    oracle.report(job.number, 1, {"score": 0.1})
    oracle.tell(Outcome(job.number, "FAIL", cause=LOST, reason="the worker died"))
    (job.directory / layout.HISTORY).unlink()
    odd(job.directory / layout.HISTORY)
    again = oracle.ask()
    assert again.attempt == 2
    assert "what attempt 0 left cannot be taken over" in said[-1]
    complete(oracle, again)
    assert oracle.budget.progress.complete == 1


NETS = {
    "kind": {"choices": ["mlp", "unet", "cnn"]},
    "x": {"low": 0.0, "high": 1.0},
    "layers": {"low": 1, "high": 9},
    "momentum": {"low": 0.0, "high": 1.0},
}
CELLS = {"kind": {"choices": ["mlp", "unet", "cnn"]}, "x": {"low": 0, "high": 99}, "y": {"low": 0, "high": 999}}
HALVING = {"name": "halving"}
LARGE = {
    "defaults": {"search_space": NETS, "sampler": "auto", "pruner": HALVING},
    "groups": {
        "search_space": NETS,
        "sampler": {"name": "kernel", "history": 100},
        "pruner": HALVING,
        "group_by": "kind",
    },
    "hours": {"search_space": NETS, "sampler": "random", "budget": {"hours": 1e6, "gpu_hours": 1e6}},
    "finite": {"search_space": CELLS, "sampler": "auto", "pruner": HALVING, "group_by": "kind"},
    "numbers": {"search_space": {"x": {"low": 0.0, "high": 1.0}}, "sampler": "auto", "pruner": HALVING},
    "tpe": {"search_space": NETS, "sampler": {"name": "tpe", "history": 100}, "pruner": HALVING},
    "two metrics": {
        "search_space": NETS,
        "sampler": {"name": "tpe", "history": 100},
        "metrics": [{"name": "score", "direction": "maximize"}, {"name": "size", "direction": "minimize"}],
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize("warm", [False, True])
def test_a_trial_costs_as_much_after_thousands_as_after_hundreds(make_spec, tmp_path, monkeypatch, name, warm):
    """Lines of Python of ask, reports and tell, of trials that complete, are pruned, fail and are lost."""
    monkeypatch.setattr("hpo.spec.models.KERNEL", Component(name="kernel", options={"history": 100}))  # for auto
    spec = make_spec(**{"budget": {"trials": 10**6}, **LARGE[name]})
    metrics = [metric.name for metric in spec.metrics]

    def lines(size):
        directions = [metric.direction for metric in spec.metrics]
        study = optuna.create_study(directions=directions, sampler=make_sampler(spec, 0), pruner=make_pruner(spec))
        dice, distributions = random.Random(0), spec.space.distributions()
        for number in range(size):
            params = spec.space.sample(dice)
            given = {key: distributions[key] for key in params}
            state = [TrialState.PRUNED, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL][number % 4]
            values = [params["x"], dice.random()][: len(metrics)] if state == TrialState.COMPLETE else None
            reports = {} if len(metrics) > 1 else dict.fromkeys(range(1, 2 + number % 5), params["x"])
            job = {"started": 1.0, "params": spec.space.resolve(params), "attempt": 1}
            cause = PRUNER if state == TrialState.PRUNED else ""
            outcome = {"finished": 2.0, "gpu_seconds": 0.0, "cause": cause, "metrics": {}}
            study.add_trial(
                optuna.trial.create_trial(
                    state=state,
                    values=values,
                    params=params,
                    distributions=given,
                    intermediate_values=reports,
                    user_attrs={"hpo:job": job, "hpo:outcome": outcome},
                )
            )
        offered = [Candidate(spec.space.sample(dice), "old", 0, 0.9)] if warm else []
        oracle = Oracle(spec, study, tmp_path / str(size), warm=WarmStart(offered, 2, True))

        def trials(count):
            for number in range(count):
                job = oracle.ask()
                for step in range(1, 6):
                    if oracle.report(job.number, step, {"score": job.params["x"] / 1000, "size": 1.0}) is not None:
                        oracle.tell(Outcome(job.number, "PRUNED", cause=PRUNER, reason="why"))
                        break
                else:
                    lost = number % 5 == 4
                    values = {"score": job.params["x"] / 1000, "size": 0.5}
                    oracle.tell(
                        Outcome(job.number, "FAIL", cause=LOST, reason="why")
                        if lost
                        else Outcome(job.number, "COMPLETE", values)
                    )

        trials(12)  # in which sampler and pruner take in what there is
        count = lines_of(lambda: trials(12))
        oracle.close()
        return count

    assert lines(4800) < 1.15 * lines(1600)
