"""`hpo plan`: what a study costs, from past trials or a probe, and a budget that ends at a time."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from waiting import wait_until

from hpo.actions.pruner_saving import saving_of
from hpo.analysis.records import read_study
from tests.cli.conftest import Hpo, environment

TWO_NETS = {"x": {"low": 0.0, "high": 1.0}, "net": {"choices": ["small", "large"], "structural": True}}


@pytest.fixture
def slow_study(study_yaml: Callable[..., Path]) -> Callable[..., Path]:
    """Ten epochs of 10 ms, two nets."""
    keys = {"objective": "slow", "search_space": TWO_NETS, "constants": {"epochs": 10}}
    return lambda **more: study_yaml(**{**keys, **more})


def planned(hpo: Hpo, *arguments: object) -> Any:
    said = hpo("plan", *arguments, "--json")
    assert said.code == 0, said.err
    return json.loads(said.out)


def test_without_history_it_says_what_is_not_known_and_how_to_learn_it(hpo: Hpo, slow_study, runs: Path):
    said = hpo("plan", slow_study(), "--runs", runs)
    assert said.code == 0
    assert "there is no past trial of this space. --probe trains two epochs" in said.out
    assert not runs.exists()


def test_past_trials_of_the_same_space_are_measured(hpo: Hpo, slow_study, runs: Path):
    study = slow_study(engine="inline")
    assert hpo("run", study, "--runs", runs, "-q").code == 0
    found = planned(hpo, study, "--runs", runs, "--set", "name=next", "--trials", "20")
    assert found["source"] == "4 trials of study 'toy'"
    # 20 trials of at least 10 epochs of 10 ms each, one after the other; the interval allows for drift to both sides.
    forecast = found["forecast"]
    assert forecast["trials"] == {"low": 20, "middle": 20, "high": 20}
    assert forecast["seconds"]["middle"] > 2.0
    assert forecast["seconds"]["low"] <= forecast["seconds"]["middle"] <= forecast["seconds"]["high"]
    assert {one["group"] for one in found["groups"]} == {"net small", "net large"}
    assert all(one["epoch"] >= 0.01 for one in found["groups"] if one["measured"])
    # What the study itself has left: nothing, then six more.
    assert planned(hpo, study, "--runs", runs)["forecast"]["seconds"]["high"] == 0
    assert planned(hpo, study, "--runs", runs, "--trials", "10")["forecast"]["trials"]["middle"] == 6
    # Twice the epochs take twice the time.
    twice = planned(hpo, study, "--runs", runs, "--set", "name=next", "--trials", "20", "--set", "constants.epochs=20")
    assert twice["forecast"]["seconds"]["middle"] / forecast["seconds"]["middle"] == pytest.approx(2, rel=0.2)


def test_other_constants_are_another_training(hpo: Hpo, slow_study, runs: Path):
    assert hpo("run", slow_study(engine="inline"), "--runs", runs, "-q", "--trials", "1").code == 0
    said = hpo("plan", slow_study(constants={"epochs": 10, "width": 64}, name="wide"), "--runs", runs)
    assert "no past trial of this space (study 'toy' had other constants (width)). --probe" in said.out


def test_hours_say_how_many_trials_fit(hpo: Hpo, slow_study, runs: Path):
    study = slow_study(engine="inline")
    assert hpo("run", study, "--runs", runs, "-q").code == 0
    options = ("--runs", runs, "--set", "name=next", "--set", "budget={hours: 0.01}")  # 36 s, trials of 0.1 s
    trials = planned(hpo, study, *options)["forecast"]["trials"]
    assert 1 <= trials["low"] <= trials["middle"] <= trials["high"]
    assert trials["middle"] < 370
    assert "fit the budget" in hpo("plan", study, *options).out
    grid = ("--set", "search_space.x={low: 0, high: 1, step: 0.0001}", "--set", "sampler=grid")
    warning = hpo("plan", study, *options, *grid).out
    assert "the grid has 20002 cells, and about " in warning
    assert re.search(r"\((< 1|1|2)%\) fit the budget", warning)
    cells = ("--set", "name=cells", "--set", "search_space={x: {choices: [0.1, 0.2]}}", "--set", "sampler=grid")
    few = ("--runs", runs, "--set", "budget={hours: 1}", *cells)
    assert hpo("run", study, "-q", *few).code == 0
    assert "the grid" not in hpo("plan", study, *few).out  # nothing of it is left


def test_a_budget_that_ends_at_a_time(hpo: Hpo, slow_study, runs: Path):
    study = slow_study(engine="inline")
    assert hpo("run", study, "--runs", runs, "-q").code == 0
    soon = (datetime.now() + timedelta(minutes=5)).strftime("%Y-%m-%d %H:%M:%S")
    until = ("--runs", runs, "--set", "name=next", "--set", f"budget={{by: '{soon}'}}")
    said = hpo("plan", study, *until).out
    assert f"budget     until {soon[:16]}" in said
    assert "no trial starts from" in said
    both = ("--runs", runs, "--set", "name=next", "--set", f"budget={{by: '{soon}', trials: 20}}")
    assert "to be done in time" in hpo("plan", study, *both).out


def test_the_probe_measures_each_group_and_keeps_nothing(hpo: Hpo, slow_study, runs: Path):
    said = hpo("plan", slow_study(), "--runs", runs, "--probe", "--json")
    assert said.code == 0, said.err
    found = json.loads(said.out)
    assert "probes 2 epochs of 2 groups, 1 trial at a time" in said.err
    assert {one["group"]: one["measured"] for one in found["groups"]} == {"net small": 4, "net large": 4}
    assert all(0.01 <= one["epoch"] < 1 and one["host_bytes"] > 10**6 for one in found["groups"])
    assert found["forecast"]["trials"]["middle"] == 4
    assert not runs.exists()
    text = hpo("plan", slow_study(), "--runs", runs, "--probe").out
    assert "measured   a probe of 8 trainings\n" in text
    assert "MiB" in text


def test_a_probe_that_fails_says_why(hpo: Hpo, study_yaml, runs: Path):
    said = hpo("plan", study_yaml("misspelt", constants={"epochs": 3}), "--runs", runs, "--probe")
    assert said.code == 1
    assert "no training of the probe could be measured (all trials: " in said.out
    unknown = hpo("plan", study_yaml("smooth"), "--runs", runs, "--probe")
    assert unknown.code == 1
    assert "no parameter or constant is `epochs`" in unknown.out


def test_ctrl_c_ends_a_probe_and_leaves_no_folder(slow_study, runs: Path, tmp_path: Path):
    """The signal goes to the process alone, as Ctrl-C in a shell without job control would to the group."""
    study = slow_study(constants={"epochs": 10, "seconds": 600})
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    command = [sys.executable, "-P", "-m", "hpo", "plan", str(study), "--runs", str(runs), "--probe"]
    process = subprocess.Popen(command, env=environment(TMPDIR=str(temporary)), stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: list(temporary.glob(".hpo-probe-*/trials/0")))
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "interrupted" in errors
    assert not list(temporary.glob(".hpo-probe-*"))


def test_what_the_pruner_saves_is_replayed_or_taken_over_or_its_rungs(hpo: Hpo, slow_study, runs: Path, make_spec):
    study = slow_study(engine="inline", budget={"trials": 8})
    assert hpo("run", study, "--runs", runs, "-q").code == 0
    record = read_study(runs, "toy")
    assert record.spec is not None
    assert saving_of(record.spec, record, 1).words == "as in 8 trials of study 'toy'"
    assert saving_of(record.spec, record, 1).saved == 0
    median = {"name": "median", "options": {"n_startup_trials": 2, "n_warmup_steps": 0}}
    pruned = record.spec.model_copy(update={"pruner": record.spec.pruner.model_validate(median)})
    replayed = saving_of(pruned, record, 1)
    assert replayed.words == "by a replay of 8 trials of study 'toy'"
    assert 0 < replayed.saved < 1
    # Half of the trials end after 2 of 10 epochs: 40% at most, less for the first ones, which nobody is compared with.
    halving = {"name": "successive_halving", "min_resource": 2, "reduction_factor": 2, "min_early_stopping_rate": 0}
    fresh = make_spec(pruner=halving, constants={"epochs": 10}, budget={"trials": 60})
    made_up = saving_of(fresh, None, 2)
    assert made_up.words.startswith("by its rungs alone")
    assert 0.25 < made_up.saved < 0.65
    assert saving_of(make_spec(pruner=halving), None, 1).words.startswith("what successive_halving")


def test_trials_that_wait_train_fewer_epochs(hpo: Hpo, study_yaml, make_spec, runs: Path):
    """Of trials whose order never changes a half goes on after step 1, or with checkpoints a quarter."""
    keys = {"pruner": "halving", "constants": {"epochs": 10}, "budget": {"trials": 60}, "engine": "inline"}
    spec = make_spec(**keys)
    stopped, waiting, unknown = (saving_of(spec, None, 2, saves) for saves in (False, True, None))
    assert 0.4 < stopped.saved == unknown.saved < 0.6
    assert 0.65 < waiting.saved < 0.85
    assert "for trials whose order never changes and that wait with their checkpoints; red" in waiting.words
    assert "and that save no checkpoint; red" in stopped.words
    assert "(that is not known; with checkpoints it saves more)" in unknown.words
    # A probe sees it, and so do past trials.
    probed = hpo("plan", study_yaml("smooth", **keys), "--runs", runs, "--probe", "--json")
    assert json.loads(probed.out)["saving"] == {"saved": waiting.saved, "words": waiting.words}
    few = study_yaml("smooth", **keys | {"pruner": "median", "budget": {"trials": 3}})
    assert hpo("run", few, "--runs", runs, "-q").code == 0
    assert saving_of(spec, read_study(runs, "toy"), 2).words == waiting.words


def test_a_wrong_study_is_refused(hpo: Hpo, slow_study, runs: Path):
    said = hpo("plan", slow_study(budget={"by": "2020-01-01 09:00"}), "--runs", runs)
    assert said.code == 2
    assert "budget.by: 2020-01-01 09:00 has passed, it is 2" in said.err
    assert "expected a later time" in said.err
    said = hpo("plan", slow_study(enqueue=[{"x": 2.0, "net": "small"}]), "--runs", runs)
    assert said.code == 2
    assert "enqueue" in said.err


def test_a_run_ends_at_its_time(hpo: Hpo, slow_study, runs: Path):
    by = (datetime.now().astimezone() + timedelta(seconds=4)).isoformat()
    study = slow_study(engine="inline", budget={"by": by})
    said = hpo("run", study, "--runs", runs)
    assert said.code == 0, said.err
    assert time.time() > datetime.fromisoformat(by).timestamp()
    assert 1 <= len(read_study(runs, "toy").finished) < 60
    # What ran can be read when its time has passed, and is refused when it is to go on.
    status = json.loads(hpo("status", "--runs", runs, "--json").out)
    assert datetime.fromisoformat(status["budget"]["by"]) == datetime.fromisoformat(by)
    again = hpo("run", study, "--runs", runs)
    assert again.code == 2
    assert "has passed" in again.err
    assert os.path.exists(runs / "toy" / "report.html")
