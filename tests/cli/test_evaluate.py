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
    assert "kept are those of trials 1, 3. `hpo best toy 0` prints a study that trains it again" in said.err


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


SCREENING = """
import numpy as np

def train(trial):
    trial.save({"x": trial.params["x"]})
    return {"score": trial.params["x"]}

def table(seed):
    rng = np.random.default_rng(seed)
    target = rng.random(200) < 0.3
    score = 1 / (1 + np.exp(-rng.normal(2.0 * target - 1)))
    return {"target": target, "score": score, "group": rng.integers(0, 60, 200)}

def evaluate(trial, folder):
    about = {"items": "photographs", "groups": "patients", "positive": "ill"}
    image = np.arange(64 * 64).reshape(64, 64) % 256
    examples = [{"name": "eye 3", "kind": "worst", "score": 0.25, "images": {"image": image, "mask": image > 99}}]
    return {"auc": 0.5, "predictions": table(1), "about": about, "examples": examples}

def validate(trial):
    return {"predictions": table(2)}
"""


@pytest.fixture
def screening(study_yaml: Write, hpo: Hpo, tmp_path: Path) -> Callable[..., None]:
    def run(code: str = SCREENING, **keys: object) -> None:
        (tmp_path / "screen.py").write_text(code)
        path = study_yaml("keeps", **({"enqueue": TRIALS, "engine": "inline", "budget": {"trials": 4}} | keys))
        path.write_text(path.read_text().replace(f"{TOYS}:keeps", "screen.py:train"))
        assert hpo("run", path, "--quiet").code == 0

    return run


def test_an_evaluation_is_stored_and_reported(hpo: Hpo, screening: Callable[..., None], tmp_path: Path) -> None:
    screening()
    said = hpo("evaluate", "--specificity", "0.9")
    assert (said.code, said.err) == (0, "")
    assert "scored     200 photographs of 58 patients" in said.out
    assert "Intervals: bootstrap of patients, 1000 times, 95 %." in said.out
    assert "for a specificity of 0.9 on the validation split (there 0.9" in said.out
    assert "true, above 0.5" in said.out
    (tmp_path / "other").mkdir()
    assert hpo("evaluate", "--data", "other").code == 0
    stored = sorted(Path("runs/toy/trials/1/evaluations").glob("*.json"))
    assert len(stored) == 2
    first = json.loads(stored[0].read_text())
    assert (first["trial"], first["data"], first["threshold"]["chosen_on"]) == (1, None, "validation split")
    assert hpo("report", "toy").code == 0
    page, text = Path("runs/toy/report.html").read_text(), Path("runs/toy/report.md").read_text()
    assert r"data:image\u002fpng;base64," in page  # plotly's JSON
    assert "## On held-out data" in text
    assert "200 photographs of 58 patients" in text
    found = json.loads(Path("runs/toy/report.json").read_text())["evaluations"]
    assert [one["data"] for one in found] == [None, str(tmp_path / "other")]
    assert found[0]["scores"]["average_precision"]["low"] < found[0]["scores"]["average_precision"]["value"]
    assert hpo("report", "toy", "--lang", "zh-TW").code == 0


def test_a_damaged_file_of_an_evaluation_is_passed_over(hpo: Hpo, screening: Callable[..., None]) -> None:
    screening()
    assert hpo("evaluate").code == 0
    folder = Path("runs/toy/trials/1/evaluations")
    (folder / "2020.json").write_text('{"format": 1, "scores": [1]')
    (folder / "2021.json").write_text('{"format": 1, "scores": [1], "trial": 1}')
    assert hpo("report", "toy").code == 0
    assert len(json.loads(Path("runs/toy/report.json").read_text())["evaluations"]) == 1


def test_a_threshold_without_a_validation_split_says_so(hpo: Hpo, screening: Callable[..., None]) -> None:
    screening(SCREENING.replace('return {"predictions": table(2)}', 'raise ValueError("the folder is gone")'))
    said = hpo("evaluate", "--specificity", "0.9")
    assert said.code == 0
    assert (
        "on these data too, so both are optimistic. Why: the validation split could not be scored: the folder is "
        in (said.out)
    )


def test_predictions_that_cannot_be_used_are_a_sentence(hpo: Hpo, screening: Callable[..., None]) -> None:
    screening(SCREENING.replace('"score": score, ', ""))
    said = hpo("evaluate", "--specificity", "0.9")
    assert said.code == 2
    assert (
        "evaluating trial 1 failed: a threshold for a specificity needs scores of positives and negatives" in said.err
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning")
def test_the_scores_are_metrics_of_the_trials_run(hpo: Hpo, screening: Callable[..., None]) -> None:
    from mlflow.tracking import MlflowClient

    screening(mlflow={})
    assert hpo("evaluate").err == ""
    assert hpo("evaluate").err == ""
    client = MlflowClient(f"sqlite:///{Path('runs/mlflow.db').absolute()}")
    runs = client.search_runs([one.experiment_id for one in client.search_experiments()])
    run = next(run for run in runs if run.data.tags.get("hpo.trial") == "1")
    assert [point.step for point in client.get_metric_history(run.info.run_id, "test_auc")] == [0, 1]
    assert run.data.metrics["test_auc"] == 0.5
    assert "differ" not in hpo("doctor", "toy").out
