"""`hpo continue`: one training in two trials, its lineage, what it is kept out of, and what cannot go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
import yaml
from waiting import wait_until

from hpo import layout
from hpo.actions.best import as_yaml, choose
from hpo.analysis.lineages import searched
from hpo.analysis.records import read_study
from hpo.reports.study_report import study_report
from hpo.storage import history
from hpo.storage.load_study import load_study
from hpo.trackers.mlflow.records import trial_params, trial_tags

from .conftest import environment

OBJECTIVE = """
import os, time

def train(trial):
    every = trial.constants.get("every", 1)
    state = trial.restore() or {"epoch": 0, "sum": 0.0}
    if state["epoch"]:
        trial.report(state["epoch"], score=state["sum"])
    last = trial.constants.get("max_epochs", trial.constants.get("epochs", 4))
    for epoch in range(state["epoch"] + 1, last + 1):
        while epoch == trial.constants.get("wait_at") and not os.path.exists(trial.root / "gate"):
            time.sleep(0.02)
        state = {"epoch": epoch, "sum": state["sum"] + trial.params["x"]}
        if epoch % every == 0:
            trial.save(state)
        trial.report(epoch, score=state["sum"])
    return {"score": state["sum"]}

def forgetful(trial):
    for epoch in range(1, trial.constants.get("epochs", 4) + 1):
        trial.save(epoch)
        trial.report(epoch, score=float(epoch))
    return {"score": trial.params["x"]}

def fixed(trial):
    for epoch in range(trial.restore() or 1, 5):
        trial.save(epoch)
        trial.report(epoch, score=float(epoch))
    return {"score": trial.params["x"]}

def saves_nothing(trial):
    for epoch in range(1, 5):
        trial.report(epoch, score=float(epoch))
    return {"score": trial.params["x"]}
"""


@pytest.fixture
def study(tmp_path, study_yaml):
    def write(function="train", **keys):
        (tmp_path / "train.py").write_text(OBJECTIVE)
        path = study_yaml(**{"engine": {"name": "inline"}, "checkpoints": {"keep_best": "all"}} | keys)
        data = yaml.safe_load(path.read_text()) | {"objective": f"train.py:{function}"}
        path.write_text(yaml.safe_dump(data, sort_keys=False))
        return path

    return write


def curve(runs, number):
    steps = history.read(layout.trial_directory(runs / "toy", number) / layout.HISTORY)
    return {step.step: dict(step.metrics) for step in steps}


def test_a_finished_trial_goes_on_as_one_training(hpo, study, runs):
    hpo("run", study(), "--quiet")
    before = {number: curve(runs, number) for number in range(4)}
    said = hpo("continue", "toy", 1, "--epochs", 10)
    assert said.code == 0, said.err
    assert said.out.startswith("trial 4 of study 'toy' continues 1 from epoch 4 to epoch 10: score ")
    whole = curve(runs, 4)
    assert sorted(whole) == list(range(1, 11))
    assert {step: whole[step] for step in range(1, 5)} == before[1]
    assert {number: curve(runs, number) for number in range(4)} == before
    record = read_study(runs, "toy")
    trial, x = record.trials[4], record.trials[1].params["x"]
    assert trial.values["score"] == pytest.approx(10 * x)
    assert (trial.continued.parent, trial.continued.start, trial.continued.constants) == (1, 4, {"epochs": 10})
    assert record.spec.budget.trials == 5
    # The study goes on with the budget that it had.
    assert hpo("run", runs.parent / "study.yaml", "--trials", 6, "--quiet").code == 0
    assert len(read_study(runs, "toy").finished) == 6


def test_it_is_seen_in_mlflow_report_and_best(hpo, study, runs):
    hpo("run", study(search_space={"x": {"low": 0.0, "high": 1.0}, "kind": {"choices": ["a", "b"]}}), "--quiet")
    hpo("continue", "toy", 2, "--epochs", 9, "--set", "x=0.75")
    spec, stored = load_study(runs, "toy")
    trial = stored.get_trials()[4]
    tags = trial_tags(trial, spec)
    assert (tags["hpo.continues"], tags["hpo.parent"], tags["hpo.source"]) == ("2 from epoch 4", "2", "continue")
    assert "hpo.member" not in tags
    assert trial_params(trial, spec)["constants.epochs"] == "9"
    record = read_study(runs, "toy")
    assert record.trials[4].params == {**record.trials[2].params, "x": 0.75}
    report = (runs / "toy/report.md").read_text()
    assert "continues 2 from epoch 4" in report
    assert "Continued trials" in report
    written = as_yaml(spec, choose(record, 4))
    assert "#   steps 1 to 4 (trial 2): " in written
    assert "#   steps 5 to 9 (trial 4): x 0.75, epochs 9\n" in written
    assert yaml.safe_load(written)["constants"] == {"epochs": 9}


def test_comparisons_of_configurations_leave_it_out(hpo, study, runs):
    hpo("run", study(group_by="kind", search_space={"x": {"choices": [0.1, 0.9]}, "kind": {"choices": ["a", "b"]}},
                     sampler={"name": "grid"}), "--quiet")  # fmt: skip
    hpo("continue", "toy", 0, "--epochs", 50)
    record = read_study(runs, "toy")
    assert len(record.trials) == 5
    assert [trial.number for trial in searched(record).trials] == [0, 1, 2, 3]
    sections = {section.anchor: section for section in study_report(record).sections}
    assert "continued" in sections
    assert sections["importance"] == {s.anchor: s for s in study_report(searched(record)).sections}["importance"]
    # A grid that has tried all cells is still at its end, and the configuration is not one more of it.
    assert hpo("run", runs.parent / "study.yaml", "--quiet").code == 0
    assert len(read_study(runs, "toy").finished) == 5


SPIES = """
from optuna.pruners import BasePruner
from optuna.samplers import RandomSampler

def note(study, who):
    with open("seen.txt", "a") as file:
        print(who, *(trial.number for trial in study.get_trials(deepcopy=False)), file=file)

class Sampler(RandomSampler):
    def sample_independent(self, study, trial, name, distribution):
        note(study, "sampler")
        return super().sample_independent(study, trial, name, distribution)

class Pruner(BasePruner):
    def prune(self, study, trial):
        note(study, "pruner")
        return False
"""


@pytest.mark.parametrize("more", [{}, {"group_by": "kind"}])
def test_neither_the_sampler_nor_the_pruner_sees_it(hpo, study, tmp_path, more):
    (tmp_path / "spies.py").write_text(SPIES)
    space = {"x": {"low": 0.0, "high": 1.0}, "kind": {"choices": ["a"]}}
    path = study(search_space=space, sampler={"name": "spies:Sampler"}, pruner={"name": "spies:Pruner"}, **more)
    hpo("run", path, "--quiet")
    seen = tmp_path / "seen.txt"
    seen.unlink()
    assert hpo("continue", "toy", 1, "--epochs", 6).code == 0
    assert not seen.exists()  # nothing was drawn for it, and nobody was asked to prune it
    assert hpo("run", path, "--quiet", "--trials", 6).code == 0
    lines = set(seen.read_text().splitlines())
    assert {line.split()[0] for line in lines} == {"sampler", "pruner"}
    assert all(line.split()[1:] == ["0", "1", "2", "3", "5"] for line in lines), lines


def test_a_pruned_trial_goes_on_from_an_older_checkpoint(hpo, study, runs):
    # It is stopped at epoch 7, and the state is that of epoch 6.
    pruner = {"name": "threshold", "lower": 100.0, "n_warmup_steps": 7}
    hpo("run", study(pruner=pruner, constants={"epochs": 12, "every": 3}, budget={"trials": 1}), "--quiet")
    before = curve(runs, 0)
    assert sorted(before) == list(range(1, 8))
    said = hpo("continue", "toy", 0)
    assert said.out.startswith("trial 1 of study 'toy' continues 0 from epoch 6 to epoch 12: score "), said.err
    whole = curve(runs, 1)
    assert sorted(whole) == list(range(1, 13))
    assert all(whole[step] == before[step] for step in range(1, 7))


def test_a_continuation_goes_on_itself(hpo, study, runs):
    hpo("run", study(budget={"trials": 1}), "--quiet")
    hpo("continue", "toy", 0, "--epochs", 6)
    said = hpo("continue", "toy", 1, "--epochs", 8)
    assert "trial 2 of study 'toy' continues 1 from epoch 6 to epoch 8" in said.out
    assert sorted(curve(runs, 2)) == list(range(1, 9))
    again = hpo("continue", "toy", 1, "--epochs", 8)
    assert (again.code, "trial 2 of study 'toy' is that continuation" in again.err) == (2, True)
    assert hpo("reproduce", "toy", 2).code == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("toy", 0), "trial 0 was trained to its end at epoch 4; --epochs N trains it to epoch N"),
        (("toy", 0, "--epochs", 4), "was trained to epoch 4 already; --epochs is the number in all"),
        (("toy", 0, "--epochs", 9, "--set", "y=1"), "has no such parameter; expected x and constants"),
        (("toy", 0, "--epochs", 9, "--set", "x=7"), "A trial of a study stays in its search space"),
        (("toy", 0, "--epochs", 9, "--set", "x"), "expected NAME=VALUE"),
        (("toy", 0, "--epochs", 9, "--set", "kind=b"), "it is structural"),
        (("toy", 7, "--epochs", 9), "has no trial 7"),
    ],
)
def test_what_does_not_fit_is_said(hpo, study, arguments, words):
    space = {"x": {"low": 0.0, "high": 1.0}, "kind": {"choices": ["a", "b"], "structural": True}}
    hpo("run", study(search_space=space, constants={"epochs": 4}), "--quiet")
    said = hpo("continue", *arguments)
    assert (said.code, words.replace("x and constants", "x, kind, constants.epochs") in said.err) == (2, True), said.err


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("forgetful", "expected an objective that goes on from what it restores"),
        ("fixed", "it trained nothing beyond epoch 4"),
        ("saves_nothing", "no trial of study 'toy' has saved a state to go on from"),
    ],
)
def test_an_objective_that_cannot_go_on_is_told_what_is_missing(hpo, study, function, words):
    hpo("run", study(function, budget={"trials": 1}), "--quiet")
    said = hpo("continue", "toy", 0, "--epochs", 9)
    assert said.code == (2 if function == "saves_nothing" else 1)
    assert words in said.out + said.err


def test_the_number_of_epochs_may_have_another_name(hpo, study, runs):
    hpo("run", study(constants={"max_epochs": 3}, budget={"trials": 1}), "--quiet")
    said = hpo("continue", "toy", 0, "--epochs", 6)
    assert said.code == 0, said.err
    assert sorted(curve(runs, 1)) == [1, 2, 3, 4, 5, 6]
    assert read_study(runs, "toy").trials[1].continued.constants == {"max_epochs": 6}
    hpo("run", study("fixed", name="stubborn", constants={"num_epochs": 4}, budget={"trials": 1}), "--quiet")
    said = hpo("continue", "stubborn", 0, "--epochs", 6)
    assert (said.code, "expected an objective that reads constants.num_epochs (6 now)" in said.out + said.err) == (
        1,
        True,
    )


def test_a_trial_that_a_red_flag_has_ended_would_end_again(hpo, study):
    hpo("run", study(red_flags=[{"name": "low", "when": "score < 100", "from_epoch": 2}], budget={"trials": 1}), "-q")
    said = hpo("continue", "toy", 0, "--epochs", 9)
    assert (said.code, "was ended by the red flag 'low', which would end it again" in said.err) == (2, True)


def test_a_trial_whose_checkpoint_was_not_kept_is_named(hpo, study):
    hpo("run", study(checkpoints={"keep_best": 1}), "--quiet")
    said = [hpo("continue", "toy", number, "--epochs", 5) for number in range(4)]
    assert sorted(one.code for one in said) == [0, 2, 2, 2]
    assert any("checkpoints.keep_best keeps those of the best 1); kept are those of" in one.err for one in said)


def test_it_goes_on_after_a_kill(hpo, study, runs, tmp_path):
    path = study(engine={"workers": 1}, budget={"trials": 1})
    hpo("run", path, "--quiet")
    arguments = ["continue", "toy", "0", "--epochs", "9", "--set", "constants.wait_at=8"]
    command = [sys.executable, "-P", "-m", "hpo", *arguments]
    driver = subprocess.Popen(command, env=environment(), cwd=tmp_path, start_new_session=True)
    file = layout.trial_directory(runs / "toy", 1) / layout.HISTORY
    wait_until(lambda: any(row.step == 7 for row in history.rows(file)))
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()
    (tmp_path / "gate").touch()
    said = hpo(*arguments)
    assert said.code == 0, said.err
    assert "trial 2 of study 'toy' continues 0 from epoch 4 to epoch 9" in said.out
    assert sorted(curve(runs, 2)) == list(range(1, 10))
    record = read_study(runs, "toy")
    assert [trial.requeued for trial in record.trials] == [False, True, False]
    assert record.spec.budget.trials == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "more"), [("quickstart", ()), ("mitochondria_small", ("constants.schedule=constant",))]
)
def test_built_in_tasks_go_on_with_the_curve_that_one_training_has(hpo, name, more, runs):
    sets = [f"--set={one}" for one in ("mlflow=false", "pruner=none", "checkpoints={keep_best: all}", *more)]
    small = ["--set=constants.base_width=2", "--set=constants.data.slices=4"] if name == "mitochondria_small" else []
    start = ["run", name, "--trials", 1, "--quiet", *sets, *small]
    assert hpo(*start, "--set=constants.epochs=3").code == 0
    said = hpo("continue", name, 0, "--epochs", 5)
    assert said.code == 0, said.err
    assert hpo(*start, "--set=constants.epochs=5", "--runs", "whole").code == 0
    metric = read_study(runs, name).metrics[0].name
    whole = read_study(runs.parent / "whole", name).trials[0]
    # Configurations of study.yaml wait before it, and still do.
    parent, *_, trial = read_study(runs, name).trials
    assert (trial.continued.parent, trial.continued.start) == (0, 3)
    assert trial.series(metric)[:3] == parent.series(metric)
    assert trial.series(metric) == whole.series(metric)
    assert trial.values[metric] == whole.values[metric]
