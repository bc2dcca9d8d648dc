"""Out of memory is knowledge: what samplers are told of it, how much that saves, and a death at any moment of it."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

import hpo
from benchmarks.out_of_memory import RUNS_OUT, Result, run
from hpo.oracle.oracle import Oracle
from hpo.search.samplers import make_sampler
from hpo.spec.models import StudySpec
from hpo.trial import EXCEPTION, OUT_OF_MEMORY, Outcome
from tests.oracle.test_oracle import Killed, MortalStorage

CONSTRAINED = {"out_of_memory": 1.0}


def told(oracle: Oracle, job: hpo.trial.Job) -> None:
    """Below a half it is finished, from there to 0.8 it does not fit, beyond that it raises."""
    x, number = job.params["x"], job.number
    oracle.report(number, 1, {"score": x})
    if x < 0.5:
        oracle.tell(Outcome(number, "COMPLETE", {"score": x}))
    elif x < 0.8:
        oracle.tell(Outcome(number, "PRUNED", cause=OUT_OF_MEMORY, reason="out of memory: 40 GB"))
    else:
        oracle.tell(Outcome(number, "FAIL", cause=EXCEPTION, reason="ValueError: wrong"))


def drive(spec: StudySpec, study: optuna.Study, directory: Path) -> list[FrozenTrial]:
    with contextlib.closing(Oracle(spec, study, directory)) as oracle:
        while (job := oracle.ask()) is not None:
            told(oracle, job)
    return study.get_trials(deepcopy=False)


def expected(trial: FrozenTrial) -> tuple[str, dict[str, float]]:
    x = trial.params["x"]
    return ("COMPLETE", {}) if x < 0.5 else ("PRUNED", CONSTRAINED) if x < 0.8 else ("FAIL", {})


def test_what_ran_out_of_memory_is_infeasible_and_nothing_else_is(make_spec: Any, tmp_path: Path) -> None:
    spec = make_spec(budget={"trials": 20})
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    trials = drive(spec, study, tmp_path / "toy")
    assert [(trial.state.name, trial.constraints) for trial in trials] == [expected(trial) for trial in trials]
    assert {trial.state.name for trial in trials} == {"COMPLETE", "PRUNED", "FAIL"}


class Mortal(MortalStorage):
    """Dies at the writing of a constraint, too."""

    def set_trial_system_attr(self, *args: Any, **kwargs: Any) -> None:
        self._write()
        super().set_trial_system_attr(*args, **kwargs)


def test_the_driver_may_die_at_any_moment_of_it(make_spec: Any, tmp_path: Path) -> None:
    spec = make_spec(enqueue=[{"x": 0.6}, {"x": 0.2}, {"x": 0.7}], budget={"trials": 3})
    for deaths in range(100):
        storage, directory = Mortal(), tmp_path / str(deaths)
        study = optuna.create_study(storage=storage, direction="maximize")
        storage.left = deaths
        try:
            drive(spec, study, directory)
        except Killed:
            drive(spec, study, directory)
        else:
            break
        trials = [trial for trial in study.trials if not trial.user_attrs["hpo:outcome"]["requeued"]]
        assert sorted(trial.params["x"] for trial in trials) == [0.2, 0.6, 0.7]
        assert [(trial.state.name, trial.constraints) for trial in trials] == [expected(trial) for trial in trials]
        lost = [trial for trial in study.trials if trial.user_attrs["hpo:outcome"]["requeued"]]
        assert all((trial.state.name, trial.constraints) == ("FAIL", {}) for trial in lost)
    assert deaths > 20


@pytest.mark.parametrize("earlier", ["tpe", "random"])
def test_a_study_may_go_on_with_another_sampler(make_spec: Any, tmp_path: Path, earlier: str) -> None:
    """GPSampler raises where completed trials carry different sets of constraints. A study whose sampler changes, or
    that holds a trial which was told without hpo, must not meet that."""
    study = optuna.create_study(direction="maximize")
    study.add_trial(
        optuna.create_trial(
            value=0.4, params={"x": 0.4}, distributions={"x": optuna.distributions.FloatDistribution(0.0, 1.0)}
        )
    )
    for sampler, trials in (({"name": earlier}, 12), ({"name": "gp", "n_startup_trials": 2}, 15), ("nsga2", 18)):
        spec = make_spec(sampler=sampler, budget={"trials": trials})
        study.sampler = make_sampler(spec, len(study.trials))
        drive(spec, study, tmp_path / "toy")
    states = [trial.state for trial in study.trials]
    assert len(states) == 18
    assert TrialState.PRUNED in states


def studies(seeds: int, how: str, runs_out: str, pruner: str, folder: Path) -> list[Result]:
    return [run(how, runs_out, pruner, seed, 60, folder) for seed in range(seeds)]


@pytest.fixture(scope="module", autouse=True)
def _quiet() -> Iterator[None]:
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(verbosity)


def wasted(results: list[Result]) -> float:
    return statistics.mean(result.wasted for result in results)


@pytest.mark.slow
def test_it_wastes_half_as_many_trials_as_a_failure_does(tmp_path: Path) -> None:
    """hpo's defaults, over 3 seeds; the next test has all."""
    failed, ours = (studies(3, how, "at once", "successive_halving", tmp_path) for how in ("failed", "constrained"))
    assert wasted(ours) <= wasted(failed) / 2


@pytest.mark.slow
@pytest.mark.parametrize("runs_out", RUNS_OUT)
@pytest.mark.parametrize("pruner", ["none", "successive_halving"])
def test_over_12_seeds(tmp_path: Path, pruner: str, runs_out: str) -> None:
    failed, pruned, ours = (studies(12, how, runs_out, pruner, tmp_path) for how in ("failed", "pruned", "constrained"))
    if (runs_out, pruner) == ("after a report", "successive_halving"):
        # A trial that was stopped later is one that TPE likes better: without the constraint, those beyond the wall.
        assert wasted(ours) < 0.75 * wasted(pruned)
        assert wasted(ours) < 0.75 * wasted(failed)
    else:
        assert wasted(ours) <= wasted(failed) / 2
        best = [statistics.mean(result.best or 0.0 for result in results) for results in (ours, failed)]
        assert best[0] > best[1]


def test_anyone_can_ask_what_an_error_says() -> None:
    assert hpo.is_out_of_memory(MemoryError())
    assert not hpo.is_out_of_memory(ValueError("out of memory"))
