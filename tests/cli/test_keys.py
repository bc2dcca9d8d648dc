"""A study whose choices and constants have keys that are no text, through the commands that read it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hpo.spec.load import load_spec

from .conftest import Hpo

OBJECTIVE = """\
def train(trial):
    params, weights = dict(trial.params), trial.constants["weights"]
    assert params["augment"] in (True, False) and ("strength" in params) is params["augment"], params
    assert params["batch"] in (16, None, 0.5) and set(weights) == {0, 1, None}, (params, weights)
    for step in range(3):
        trial.report(step, loss=params.get("strength", 0.2) + step)
    return {"loss": params.get("strength", 0.2)}
"""
STUDY = """\
name: keys
objective: objective.py:train
metrics: [{name: loss, direction: minimize}]
group_by: augment
search_space:
  augment: {choices: {true: {strength: {low: 0.0, high: 1.0}}, false: {}}}
  batch: {choices: {16: {}, 0.5: {lr: {low: 0.1, high: 0.3, step: 0.1}}, null: {}}}
constants: {weights: {0: 1.0, 1: .nan, null: .inf}, large: 1000000000000000000000000}
enqueue: [{augment: true, strength: 0.25, batch: 0.5, lr: 0.3}]
budget: {trials: 5}
engine: inline
pruner: none
mlflow: false
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    (tmp_path / "objective.py").write_text(OBJECTIVE)
    (tmp_path / "study.yaml").write_text(STUDY)
    return tmp_path / "study.yaml"


def test_it_goes_on_and_every_command_reads_it(hpo: Hpo, study: Path, tmp_path: Path) -> None:
    assert hpo("run", study).code == 0
    again = hpo("run", study, "--trials", 8)
    assert again.code == 0, again.err
    assert "8 of 8 trials finished: 8 complete" in again.out
    assert load_spec(tmp_path / "runs/keys/study.yaml", locate=False) == load_spec(study, ["budget.trials=8"])

    for command in (["status"], ["report"], ["doctor"], ["replay", "--sampler", "random"], ["status", "--json"]):
        said = hpo(command[0], "keys", *command[1:])
        assert (said.code, said.err) == (0, ""), command
    report = json.loads((tmp_path / "runs/keys/report.json").read_text())
    assert report["setup"]["constants"]["weights"] == {"0": 1.0, "1": None, "null": None}
    best = tmp_path / "best.yaml"
    best.write_text(hpo("best", "keys").out)
    assert hpo("run", best).code == 0
    assert hpo("run", best, "--trials", 2).code == 0

    knowledge = tmp_path / "knowledge.json"
    knowledge.write_text(hpo("export-knowledge", "keys").out)
    for source in ("keys", knowledge):
        name = f"from-{Path(source).stem}"
        said = hpo("run", study, "--new-name", name, "--set", f"warm_start={source}", "--runs", "runs")
        assert said.code == 0, said.err
        assert "warm start: " in said.out
        assert "configuration" in said.out


def test_a_change_of_a_key_is_refused(hpo: Hpo, study: Path) -> None:
    assert hpo("run", study).code == 0
    text = STUDY.partition("enqueue")[0] + "enqueue: []" + STUDY.partition("lr: 0.3}]")[2]
    for old, new, said in (
        (
            "{true: {strength",
            '{"true": {strength',
            "search_space.augment.choices was [true, false], is ['true', false]",
        ),
        ("{0: 1.0", '{"0": 1.0', "the list of keys of constants.weights was [0, 1, null], is ['0', 1, null]"),
        (".inf", ".nan", "constants.weights.null was inf, is nan"),
    ):
        study.write_text(text.replace(old, new))
        refused = hpo("run", study, "--trials", 9)
        assert refused.code != 0
        assert said in refused.err
    study.write_text(text)
    assert hpo("run", study, "--trials", 6).code == 0
