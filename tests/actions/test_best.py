"""The study that `alone` makes is loaded again: it must be valid, and give the trial's parameters."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import numpy as np
import pytest

from hpo.actions.best import alone, as_yaml, choose
from hpo.analysis.records import StudyRecord, TrialRecord
from hpo.errors import HpoError, StudyNotFound
from hpo.machine import resources
from hpo.oracle.recovery import seed_of
from hpo.spec.load import load_spec
from hpo.spec.models import StudySpec

METRICS = [{"name": "score", "direction": "maximize"}, {"name": "cost", "direction": "minimize"}]


def record(spec: StudySpec, *trials: TrialRecord) -> StudyRecord:
    return StudyRecord(spec.name, Path("runs") / spec.name, spec.metrics, spec.group_by, spec.space, trials)


def trial(number: int, state: str = "COMPLETE", params: dict | None = None, **values: float) -> TrialRecord:
    return TrialRecord(number, state, {"x": 0.5} if params is None else params, values=values)


def reloaded(spec: StudySpec, one: TrialRecord, folder: Path) -> StudySpec:
    path = folder / "elsewhere" / "best.yaml"
    path.parent.mkdir()
    path.write_text(as_yaml(spec, choose(record(spec, one), one.number)))
    return load_spec(path)


SPACE = {
    "architecture": {"choices": ["unet", "fpn"], "structural": True},
    "x": {"low": 0.0, "high": 1.0},
    "depth": {"low": 1, "high": 4},
    "loss": {"choices": {"bce": {}, "focal": {"gamma": {"low": 0.0, "high": 5.0}}}},
    "weights": {"simplex": ["dice", "bce", "edge"]},
    "word": {"choices": ["yes", "1e-3", None, True]},
    "fixed": 3,
}
WEIGHTS = {"dice": 0.25, "bce": 0.625, "edge": 0.125}


@pytest.mark.parametrize("word", ["yes", "1e-3", None, True])
@pytest.mark.parametrize("loss", [{"loss": "bce"}, {"loss": "focal", "gamma": 1e-05}])
def test_the_one_trial_has_the_same_parameters(make_spec, tmp_path: Path, loss, word):
    params = {"architecture": "fpn", "x": 0.1 + 0.2, "depth": 3, **loss, "weights": WEIGHTS, "word": word, "fixed": 3}
    spec = make_spec(
        search_space=SPACE,
        group_by="architecture",
        constants={"epochs": 3},
        fallbacks=[{"x": 0.5}],
        enqueue=[{"x": 0.1}],
    )
    again = reloaded(spec, trial(0, params=params, score=1.0), tmp_path)
    seen = again.space.resolve(again.space.sample(random.Random(0)))
    assert {name: (type(value), value) for name, value in seen.items()} == {
        name: (type(value), value) for name, value in params.items()
    }
    assert again.enqueue == ()
    assert again.name == "toy-best"
    assert again.budget.trials == 1
    assert again.fallbacks == ()
    assert again.constants == {"epochs": 3}
    assert again.metrics == spec.metrics
    assert again.group_by == "architecture"
    assert again.pruner.name == "none"
    assert again.objective_ref() == spec.objective_ref()


def test_the_one_trial_has_the_seed_it_had_and_further_ones_have_others(make_spec, tmp_path: Path):
    """Trial 3 of a study of seed 42 has the seed that SeedSequence([42, 3]) gives, as trial 3 of any such study."""
    spec = make_spec(seed=42)
    own = int(np.random.SeedSequence([42, 3]).generate_state(1)[0] >> 1)
    assert seed_of(spec, 3) == own
    again = reloaded(spec, dataclasses.replace(trial(3, score=1.0), seed=own), tmp_path)
    seeds = [seed_of(again, number) for number in range(20)]
    assert seeds[0] == own
    assert len(set(seeds)) == 20


def test_nothing_ends_it_early_but_what_only_warns_stays(make_spec, tmp_path: Path):
    flags = [
        "non_finite",
        {"name": "low", "when": "score < 0.9"},
        {"name": "dim", "when": "score < 1", "action": "warn"},
    ]
    again = reloaded(make_spec(red_flags=flags), trial(0, score=1.0), tmp_path)
    assert [flag.name for flag in again.red_flags] == ["non_finite", "dim"]
    assert alone(make_spec(red_flags=flags[1:2]), trial(0, score=1.0))["red_flags"] == []


def test_its_worker_has_the_threads_that_each_had(make_spec, monkeypatch):
    """One worker alone would get all four cores, and round sums otherwise than each of two did."""
    monkeypatch.setattr(resources, "cores", lambda: 4)
    assert alone(make_spec(engine={"workers": 2}), trial(0))["engine"] == {"name": "local", "workers": 1, "cpu": 2}
    assert alone(make_spec(engine={"workers": 2, "cpu": 1}), trial(0))["engine"]["cpu"] == 1


def test_a_command_keeps_only_the_arguments_the_trial_has_parameters_for(make_spec, tmp_path: Path):
    tmp_path.joinpath("train.py").write_text("")
    command = [
        "python",
        "train.py",
        "--x={x}",
        ["--gamma", "{gamma}"],
        ["--weights", "{weights.dice}"],
        ["--lr", "0.1"],
    ]
    spec = make_spec(None, command=command, search_space=SPACE)
    params = {
        "architecture": "unet",
        "x": 0.5,
        "depth": 2,
        "loss": "bce",
        "weights": WEIGHTS,
        "word": "yes",
        "fixed": 3,
    }
    again = reloaded(spec, trial(0, params=params, score=1.0), tmp_path)
    assert again.command == ("python", "train.py", "--x={x}", ("--weights", "{weights.dice}"), ("--lr", "0.1"))
    assert again.objective_ref().root == spec.objective_ref().root


def test_the_best_is_that_of_the_metrics_direction(make_spec):
    trials = [trial(0, score=0.2), trial(1, score=0.9), trial(2, score=0.9), trial(3, "PRUNED"), trial(4, score=0.1)]
    assert choose(record(make_spec(), *trials)).trial.number == 1
    least = make_spec(metrics=[{"name": "score", "direction": "minimize"}])
    assert choose(record(least, *trials)).trial.number == 4


def test_of_several_metrics_it_is_the_first_of_the_front(make_spec):
    spec = make_spec(metrics=METRICS)
    trials = [trial(0, score=0.5, cost=1), trial(1, score=0.9, cost=3), trial(2, score=0.4, cost=2), trial(3, "FAIL")]
    choice = choose(record(spec, *trials))
    assert choice.trial.number == 1
    assert choice.front == (1, 0)
    assert "# Trials that none beats in every metric: 1, 0.\n" in as_yaml(spec, choice)
    assert choose(record(spec, *trials), 2).trial.number == 2


def test_what_cannot_be_chosen_is_a_sentence(make_spec):
    spec = make_spec()
    with pytest.raises(HpoError, match=r"no trial of study 'toy' has completed.*--trial N"):
        choose(record(spec, trial(0, "PRUNED")))
    with pytest.raises(StudyNotFound, match="has no trial 3; it has trials 0 to 0"):
        choose(record(spec, trial(0)), 3)
    with pytest.raises(StudyNotFound, match="it has no trial yet"):
        choose(record(spec), 0)
    with pytest.raises(HpoError, match="trial 0 of study 'toy' still waits"):
        choose(record(spec, trial(0, "WAITING")), 0)


def test_one_worker_trains_it_on_the_same_share_of_the_machine(make_spec):
    spec = make_spec(engine={"name": "local", "workers": 6, "cpu": 2, "report_timeout": 60})
    engine = alone(spec, trial(0, score=1.0))["engine"]
    assert engine["workers"] == 1
    assert engine["cpu"] == 2
    assert engine["report_timeout"] == 60
