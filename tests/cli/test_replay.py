"""`hpo replay` on a study that ran."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Hpo


@pytest.fixture
def ran(hpo: Hpo, study_yaml: Callable[..., Path]) -> None:
    path = study_yaml("smooth", budget={"trials": 12}, engine="inline")
    assert hpo("run", path, "--quiet").code == 0


@pytest.mark.usefixtures("ran")
def test_what_a_pruner_would_have_saved(hpo: Hpo) -> None:
    said = hpo("replay", "toy", "--pruner", "none", "--pruner", "{name: successive_halving, min_resource: 1}")
    assert (said.code, said.err) == (0, "")
    assert "toy: 12 trials of 120 epochs in all, 1 worker at a time" in said.out
    assert "no pruner would have saved 0% of the epochs and kept the winner in 20 of 20 replays." in said.out
    data = json.loads(hpo("replay", "--json", "--pruner", "{name: successive_halving, min_resource: 1}").out)
    (policy,) = data["policies"]
    assert (data["trials"], data["complete"], data["cut"], data["steps"]) == (12, 12, 0, 120)
    assert policy["pruner"] == {"name": "successive_halving", "min_resource": 1}
    assert 0.3 < policy["saved"] < 0.95
    # Values of smooth keep their order from the first step on: the winner is never stopped.
    assert policy["kept_winner"] == len(policy["replays"]) == 20


@pytest.mark.slow
def test_trials_wait_if_those_of_the_study_saved_checkpoints(hpo: Hpo, study_yaml: Callable[..., Path]) -> None:
    """The order of `smooth` never changes: to wait for the best quarter saves more than to stop the worse half."""
    saved = {}
    for name in ("saves", "forgets"):
        more = {"constants": {"epochs": 10}, "engine": "inline"}
        assert hpo("run", study_yaml("smooth", name=name, budget={"trials": 16}, **more), "--quiet").code == 0
        for checkpoint in Path("runs").glob("forgets/trials/*/checkpoint.pkl"):
            checkpoint.unlink()
        data = json.loads(hpo("replay", name, "--pruner", "halving", "--seeds", 5, "--json").out)
        said = hpo("replay", name, "--pruner", "halving", "--seeds", 1).out
        waits = "Its trials saved checkpoints: under halving one that is behind waits, and may go on"
        stops = "No trial has left a checkpoint: under halving one that is behind is stopped, and none waits"
        assert ((waits in said), (stops in said)) == (data["saves_checkpoints"], not data["saves_checkpoints"])
        assert (waits in hpo("replay", name, "--pruner", "none", "--seeds", 1).out) is False
        saved[data["saves_checkpoints"]] = data["policies"][0]["saved"]
        assert data["policies"][0]["kept_winner"] == 5
    assert saved[True] > saved[False] > 0


@pytest.mark.usefixtures("ran")
def test_it_changes_nothing_in_the_folder_of_the_study(hpo: Hpo, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor anywhere else: once it set aside the trials of a study in whose folder it was started."""
    runs = Path("runs").resolve()
    for folder in (runs / "toy", runs):
        monkeypatch.chdir(folder)
        before = {path: path.stat().st_mtime_ns for path in sorted(runs.rglob("*"))}
        assert len(before) > 12
        assert hpo("replay", "toy", "--runs", runs, "--seeds", 2).code == 0
        assert {path: path.stat().st_mtime_ns for path in sorted(runs.rglob("*"))} == before


@pytest.mark.usefixtures("ran")
def test_samplers_and_red_flags(hpo: Hpo) -> None:
    said = hpo("replay", "--sampler", "kernel", "--sampler", "random", "--seeds", 3, "--json")
    names = [policy["sampler"]["name"] for policy in json.loads(said.out)["policies"]]
    assert names == ["kernel", "random"]
    flags = "red_flags=[{name: far, when: other > 0.5, from_epoch: 2}]"
    (policy,) = json.loads(hpo("replay", "--set", flags, "--seeds", 2, "--json").out)["policies"]
    assert 0 < policy["saved"] < 1


@pytest.mark.usefixtures("ran")
def test_a_mistake_is_answered_with_what_is_expected(hpo: Hpo) -> None:
    said = hpo("replay", "toy", "--pruner", "medain")
    assert said.code == 2
    assert "'medain' is not a pruner" in said.err
    assert "median" in said.err
    assert "Traceback" not in said.err


def test_a_study_with_too_little(hpo: Hpo, study_yaml: Callable[..., Path]) -> None:
    assert hpo("run", study_yaml("smooth", budget={"trials": 1}, engine="inline"), "--quiet").code == 0
    said = hpo("replay")
    assert said.code == 2
    assert "has 1 trial that ran to the end with a history; expected at least 2" in said.err


def test_no_study(hpo: Hpo) -> None:
    assert hpo("replay", "nothing").code == 2


@pytest.mark.slow
@pytest.mark.usefixtures("ran")
def test_a_population_is_not_replayed(hpo: Hpo, study_yaml: Callable[..., Path]) -> None:
    said = hpo("replay", "toy", "--sampler", "{name: pbt, steps: 10, interval: 2}", "--pruner", "none")
    assert (said.code, "sampler pbt trains on from checkpoints, of which a replay has none" in said.err) == (2, True)
    population = {"name": "pbt", "population_size": 4, "steps": 10, "interval": 5}
    hpo("run", study_yaml("smooth", name="pop", sampler=population, budget={"trials": 8}, engine="inline"), "--quiet")
    said = hpo("replay", "pop")
    assert (said.code, "study 'pop' trained a population" in said.err) == (2, True)
