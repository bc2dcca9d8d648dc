"""Optuna's samplers with a part of a long history."""

from __future__ import annotations

import itertools
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo.search.bounded_history import BoundedHistory
from hpo.search.samplers import make_sampler, warnings_for
from hpo.spec.algorithms import option_problems

X = optuna.distributions.FloatDistribution(0.0, 1.0)


class Listener(optuna.samplers.RandomSampler):
    """Sampler that notes the trials that it was shown."""

    def __init__(self) -> None:
        super().__init__(seed=0)
        self.shown: list[FrozenTrial] = []

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: Any) -> dict[str, Any]:
        self.shown = study.get_trials(deepcopy=False)
        return {}


def trial_at(number: int, value: float | None = None, **keys: Any) -> FrozenTrial:
    x = (number * 0.618) % 1
    return create_trial(params={"x": x}, distributions={"x": X}, value=value, **keys)


def shown(study: optuna.Study) -> list[int]:
    study.ask().suggest_float("x", 0.0, 1.0)
    return [trial.number for trial in study.sampler._sampler.shown]  # type: ignore[attr-defined]


def test_it_shows_the_best_the_latest_those_that_run_and_a_sample() -> None:
    study = optuna.create_study(sampler=BoundedHistory(Listener(), 100))
    values = [float((7919 * number) % 1000) for number in range(1000)]
    study.add_trials([trial_at(number, value) for number, value in enumerate(values)])
    study.add_trial(trial_at(1000, state=TrialState.FAIL))
    running = study.ask()
    found = shown(study)
    assert found == sorted(found)
    assert len(found) == 100 + 2
    assert {running.number, running.number + 1} <= set(found)
    assert 1000 not in found
    assert {number for number, value in enumerate(values) if value < 25} <= set(found)
    assert set(range(990, 1000)) <= set(found)
    rest = sorted(values[number] for number in found if number < 990 and values[number] >= 25)
    assert rest[-1] > 900
    assert max(b - a for a, b in itertools.pairwise(rest)) < 60, "all ranks are represented"


def test_pruned_trials_come_behind_complete_ones_and_broken_ones_last() -> None:
    study = optuna.create_study(direction="maximize", sampler=BoundedHistory(Listener(), 100))
    flagged = {"constraints:red_flag_collapsed": 1.0}
    study.add_trials([trial_at(0, 9.0, system_attrs=flagged), trial_at(1, 1.0)])
    study.add_trials([trial_at(2, state=TrialState.PRUNED, intermediate_values={1: 5.0, 7: 2.0})])
    study.add_trials([trial_at(3, state=TrialState.PRUNED, intermediate_values={1: 8.0})])
    study.add_trials([trial_at(4, state=TrialState.PRUNED), trial_at(5, 2.0)])
    shown(study)
    assert [key[-1] for key in study.sampler._ranked] == [5, 1, 2, 3, 4, 0]  # type: ignore[attr-defined]


def test_with_several_objectives_the_front_is_there() -> None:
    study = optuna.create_study(directions=["minimize", "maximize"], sampler=BoundedHistory(Listener(), 100))
    points = [(float((31 * n) % 500), float((77 * n) % 500)) for n in range(500)]
    study.add_trials([create_trial(values=point, params={}, distributions={}) for point in points])
    front = {trial.number for trial in study.best_trials}
    assert 0 < len(front) <= 25
    assert front <= set(shown(study))


def test_up_to_its_history_it_is_the_sampler_itself() -> None:
    def proposed(sampler: optuna.samplers.BaseSampler) -> list[float]:
        study = optuna.create_study(sampler=sampler)
        for _ in range(40):
            trial = study.ask()
            x = trial.suggest_float("x", 0.0, 1.0)
            study.tell(trial, abs(x - 0.3))
        return [trial.params["x"] for trial in study.trials]

    assert proposed(BoundedHistory(optuna.samplers.TPESampler(seed=1), 100)) == proposed(
        optuna.samplers.TPESampler(seed=1)
    )


@pytest.mark.parametrize("name", ["tpe", pytest.param("gp", marks=pytest.mark.slow)])
def test_it_finds_what_is_good_in_a_part(make_spec: Any, name: str) -> None:
    spec = make_spec(sampler={"name": name, "history": 100}, search_space={"x": {"low": 0.0, "high": 1.0}})
    study = optuna.create_study(sampler=make_sampler(spec, 0))
    assert isinstance(study.sampler, BoundedHistory)
    study.add_trials([trial_at(number, abs((number * 0.618) % 1 - 0.3)) for number in range(400)])
    found = []
    for _ in range(8):
        trial = study.ask()
        found.append(trial.suggest_float("x", 0.0, 1.0))
        study.tell(trial, abs(found[-1] - 0.3))
    assert sum(abs(x - 0.3) < 0.1 for x in found) >= 6


@pytest.mark.parametrize("history", [99, 0, -5, 1.5, "all", True])
def test_a_history_that_is_none_is_refused(history: Any) -> None:
    ((key, message),) = option_problems("sampler", "tpe", {"history": history})
    assert key == "history"
    assert "100" in message or "integer" in message


@pytest.mark.parametrize("name", ["random", "cmaes", "nsga2", "qmc", "grid"])
def test_samplers_that_need_all_trials_or_none_do_not_take_it(name: str) -> None:
    ((key, message),) = option_problems("sampler", name, {"history": 1000})
    assert key == "history"
    assert "is not a key of the sampler" in message


def test_auto_says_who_takes_it() -> None:
    ((_, message),) = option_problems("sampler", "auto", {"history": 1000})
    assert "kernel" in message
    assert "tpe" in message


def test_check_says_what_grows_with_the_trials(make_spec: Any) -> None:
    def said(trials: int, **keys: Any) -> str:
        return "\n".join(warnings_for(make_spec(budget={"trials": trials}, **keys)))

    assert "history: 1000" in said(5000, sampler={"name": "tpe"})
    assert "history" not in said(5000, sampler={"name": "tpe", "history": 1000})
    assert "history" not in said(500, sampler={"name": "tpe"})
    assert "pruner median" in said(50_000, pruner={"name": "median"})
    assert "goes through all" not in said(50_000)
