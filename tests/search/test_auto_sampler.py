"""The sampler that lets a Gaussian process propose, and kernel where that learns nothing."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo.search.auto_sampler import AutoSampler
from hpo.search.samplers import make_sampler, note_sampler
from hpo.space.search_space import SearchSpace
from hpo.spec.models import StudySpec
from hpo.storage.trial_attributes import OUTCOME

Make = Callable[..., StudySpec]
NUMBERS = {"x": {"low": 0.0, "high": 1.0}, "y": {"low": 0.0, "high": 1.0}, "z": {"low": 3, "high": 4}}
COMPLETE, PRUNED, FAIL = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL


@pytest.fixture
def spec(make_spec: Make) -> StudySpec:
    return make_spec(search_space=NUMBERS, sampler="auto", budget={"trials": 60})


class Fixed(optuna.samplers.BaseSampler):
    """Propose always the same, once there are two trials."""

    def __init__(self, proposal: dict[str, Any]) -> None:
        self.proposal = proposal

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
        raise AssertionError("it is told what to search")

    def sample_relative(self, study: optuna.Study, trial: Any, search_space: dict[str, Any]) -> dict[str, Any]:
        return {name: self.proposal[name] for name in search_space} if len(study.trials) > 2 else {}

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        return random.choice([param_distribution.low, param_distribution.high])


def tried(spec: StudySpec, sampler: optuna.samplers.BaseSampler, states: str) -> list[dict[str, Any]]:
    """Return the parameters of trials that ended so: `c`omplete, `p`runed or `f`ailed."""
    study = optuna.create_study(sampler=sampler)
    for letter in states:
        trial = study.ask()
        spec.space.suggest(trial)
        state = {"c": COMPLETE, "p": PRUNED, "f": FAIL}[letter]
        study.tell(trial, random.Random(letter).random() if state == COMPLETE else None, state=state)
    return [trial.params for trial in study.trials]


def with_process(spec: StudySpec, proposal: dict[str, Any], noted: list[tuple[str, str]]) -> AutoSampler:
    kernel = make_sampler(spec.model_copy(update={"sampler": spec.samplers[1]}), 0)
    return AutoSampler(spec.space, Fixed(proposal), kernel, lambda study, name, why: noted.append((name, why)))


def test_the_process_proposes_once_it_has_enough_and_what_was_tried_is_not_repeated(spec: StudySpec) -> None:
    proposal = {"x": 0.5, "y": 0.25, "z": 4}
    noted: list[tuple[str, str]] = []
    params = tried(spec, with_process(spec, proposal, noted), "ccccc")
    assert [one == proposal for one in params] == [False, False, True, False, False]
    assert noted == [("gp", "at least nine trials of ten complete")]


@pytest.mark.parametrize(("states", "process"), [("ccpc", False), ("ccfc", False), ("c" * 9 + "fc", True)])
def test_kernel_proposes_where_more_than_one_of_ten_does_not_complete(
    spec: StudySpec, states: str, process: bool
) -> None:
    sampler = with_process(spec, {"x": 0.5, "y": 0.25, "z": 4}, [])
    sampler._gp.sample_relative = lambda study, trial, space: {"x": len(study.trials) / 99, "y": 0.25, "z": 4}  # type: ignore[method-assign]
    assert (tried(spec, sampler, states)[-1]["y"] == 0.25) is process


def why_not_gp(trials: list[FrozenTrial]) -> str:
    study = optuna.create_study()
    study.add_trials(trials)
    sampler = AutoSampler(SearchSpace.parse(NUMBERS), Fixed({}), Fixed({}))
    sampler._take_in(study)
    return sampler._why_not_gp()


def test_attempts_that_were_queued_again_do_not_count() -> None:
    lost = create_trial(state=FAIL, user_attrs={OUTCOME: {"requeued": True}})
    done = create_trial(state=COMPLETE, value=1.0)
    assert why_not_gp([lost] * 9 + [done]) == ""
    failed = create_trial(state=FAIL)
    assert why_not_gp([failed, done]).startswith("1 of 2 trials have not completed")
    assert why_not_gp([done] * 199) == ""
    assert why_not_gp([done] * 200) == "200 trials have completed, with which gp takes long to ask"


def test_the_study_notes_who_proposed_and_says_that_another_takes_over() -> None:
    study, said = optuna.create_study(), []
    for name, why in (("kernel", "many fail"), ("gp", "most complete"), ("gp", "again"), ("tpe", "")):
        note_sampler(study, name, why, said.append)
    assert study.user_attrs["hpo:samplers"] == ["kernel", "gp", "tpe"]
    assert said == ["sampler auto: from here on gp, kernel before: most complete"]


@pytest.mark.slow
def test_the_sampler_of_a_study_is_the_process_over_all_numbers(spec: StudySpec) -> None:
    """A parabola: gp finds its minimum in 25 trials, which random draws miss by far."""
    study = optuna.create_study(sampler=make_sampler(spec, 0))
    for _ in range(25):
        trial = study.ask()
        params = spec.space.suggest(trial)
        study.tell(trial, (params["x"] - 0.2) ** 2 + (params["y"] - 0.7) ** 2 + params["z"])
    assert study.best_value < 3.001
    assert study.user_attrs["hpo:samplers"] == ["gp"]


def test_where_all_trials_complete_it_proposes_what_gp_does_trial_for_trial(make_spec: Make) -> None:
    found = []
    for name in ("auto", "gp"):
        spec = make_spec(search_space={**NUMBERS, "w": {"simplex": ["a", "b", "c"]}}, sampler=name)
        study = optuna.create_study(sampler=make_sampler(spec, 0))
        for _ in range(14):
            trial = study.ask()
            params = spec.space.suggest(trial)
            study.tell(trial, (params["x"] - 0.2) ** 2 + params["y"] + params["z"] - params["w"]["b"])
        found.append([trial.params for trial in study.trials])
    assert found[0] == found[1]


def test_several_metrics(spec: StudySpec, make_spec: Make) -> None:
    metrics = [{"name": "a", "direction": "minimize"}, {"name": "b", "direction": "minimize"}]
    both = make_spec(search_space=NUMBERS, sampler="auto", budget={"trials": 60}, metrics=metrics)
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=make_sampler(both, 0))
    for number in range(14):
        trial = study.ask()
        params = both.space.suggest(trial)
        # From the twelfth on all fail, and TPE proposes.
        values = [params["x"], (params["y"] - params["x"]) ** 2]
        study.tell(trial, values if number < 11 else None, state=COMPLETE if number < 11 else FAIL)
    assert study.user_attrs["hpo:samplers"] == ["gp", "kernel"]
