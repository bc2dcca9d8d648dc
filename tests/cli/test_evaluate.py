"""`hpo evaluate`: which weights, on which data, and each way it can go wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Hpo
from tests.conftest import TOYS

Write = Callable[..., Path]
TRIALS = [{"x": x} for x in (0.2, 0.8, 0.4, 0.6)]


@pytest.fixture
def study(hpo: Hpo, study_yaml: Write) -> Callable[..., Path]:
    def run(objective: str = "keeps", **keys: object) -> Path:
        path = study_yaml(objective, **({"enqueue": TRIALS, "checkpoints": 2, "engine": "inline"} | keys))
        hpo("run", path, "--quiet")
        return path

    return run


def test_the_winner_on_the_studys_test_split(hpo: Hpo, study: Write) -> None:
    study()
    said = hpo("evaluate")
    assert (said.code, said.err) == (0, "")
    assert "trial      1 (x 0.8)" in said.out
    assert "data       the study's test split" in said.out
    assert f"weights    {Path('runs/toy/trials/1/weights.pt').absolute()}" in said.out
    assert "score        0.4         0.8" in said.out


def test_a_trial_on_a_folder_as_json(hpo: Hpo, study: Write, tmp_path: Path) -> None:
    study()
    (tmp_path / "held").mkdir()
    (tmp_path / "held" / "a.png").touch()
    said = hpo("evaluate", "toy", 3, "--data", "held", "--json")
    found = json.loads(said.out)
    assert (said.code, found["trial"], found["params"]) == (0, 3, {"x": 0.6})
    assert (found["metrics"], found["validation"]) == ({"score": 0.3, "files": 1.0}, {"score": 0.6})
    assert found["data"] == str(tmp_path / "held")
    assert found["weights"].endswith("trials/3/weights.pt")


def test_weights_that_were_not_kept(hpo: Hpo, study: Write) -> None:
    study()
    said = hpo("evaluate", "toy", 0)
    assert said.code == 1
    assert "the weights of trial 0 were not kept (checkpoints.keep_best keeps those of the best 2)" in said.err
    assert "kept are those of trials 1, 3. `hpo best toy --trial 0` prints a study that trains it again" in said.err


def test_weights_of_another_trial_are_not_scored_as_those_of_this_one(hpo: Hpo, study: Write) -> None:
    study()
    Path("runs/toy/trials/1").rename("runs/toy/trials/1.moved")
    Path("runs/toy/trials/3").rename("runs/toy/trials/1")
    said = hpo("evaluate")
    assert said.code == 1
    assert "holds files of another trial, so that its weights are not those of trial 1" in said.err


def test_an_objective_that_keeps_nothing(hpo: Hpo, study: Write) -> None:
    study("raising")
    said = hpo("evaluate")
    assert said.code == 1
    assert "no trial of study 'toy' has kept weights; expected the objective to write weights.pt" in said.err


def test_no_such_study_trial_or_folder(hpo: Hpo, study: Write) -> None:
    study()
    for arguments, sentence in (
        (["tox"], "there is no study 'tox'"),
        (["toy", 9], "study 'toy' has no trial 9; it has trials 0 to 3"),
        (["toy", "--data", "nowhere"], "Directory 'nowhere' does not exist"),
    ):
        said = hpo("evaluate", *arguments)
        assert said.code == 2
        assert sentence in said.err
        assert "Traceback" not in said.err


def test_what_the_objective_raises_is_a_sentence(hpo: Hpo, study: Write) -> None:
    study(constants={"no_test": True})
    said = hpo("evaluate")
    assert said.code == 2
    assert "evaluating trial 1 failed: ValueError: the study's data has no test split" in said.err
    assert "Traceback" not in said.err


def test_a_module_without_the_function_and_a_command(hpo: Hpo, study: Write, tmp_path: Path) -> None:
    (tmp_path / "bare.py").write_text("def train(trial):\n    trial.save(1)\n    return {'score': trial.params['x']}\n")
    path = study(name="bare", budget={"trials": 1})
    path.write_text(path.read_text().replace("name: bare", "name: other").replace(f"{TOYS}:keeps", "bare.py:train"))
    hpo("run", path, "--quiet")
    said = hpo("evaluate", "other")
    assert said.code == 2
    assert "has no function 'evaluate'" in said.err
    study(objective=None, name="shell", command=["sh", "-c", 'echo "{{\\"score\\": {x}}}"'])
    said = hpo("evaluate", "shell")
    assert said.code == 2
    assert "study 'shell' runs a command, which hpo can train but not evaluate" in said.err
