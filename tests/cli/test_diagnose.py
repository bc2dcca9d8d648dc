"""`hpo diagnose` on trials, runs and files."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from .conftest import Hpo


def overfitting(epochs: int = 40) -> list[tuple[float, float]]:
    """(training, validation) losses with a little noise; validation is best about epoch 14."""
    rng = np.random.default_rng(3)
    falls = [math.exp(-k / 9) for k in range(epochs)]
    return [
        (0.1 + fall + 0.004 * rng.normal(), 0.15 + fall + max(0, k - 12) * 0.03 + 0.01 * rng.normal())
        for k, fall in enumerate(falls)
    ]


@pytest.fixture
def keras() -> Path:
    path = Path("training.csv")
    lines = [f"{k},{1 - train / 2},{train},{val}" for k, (train, val) in enumerate(overfitting())]
    path.write_text("\n".join(["epoch,accuracy,loss,val_loss", *lines]) + "\n")
    return path


def test_a_file_of_keras(hpo: Hpo, keras: Path) -> None:
    said = hpo("diagnose", keras)
    assert (said.code, said.err) == (0, "")
    assert "training.csv: overfitting\n" in said.out
    assert "Read as: a log of Keras's CSVLogger" in said.out
    assert "1. Keep the weights of epoch 1" in said.out
    assert not list(Path().glob("**/diagnosis.*"))


def test_a_folder_of_lightning(hpo: Hpo) -> None:
    folder = Path("lightning_logs/version_0")
    folder.mkdir(parents=True)
    rows = ["epoch,step,train_loss_epoch,train_loss_step,val_loss"]
    for epoch in range(30):
        for k in range(5):
            step = 5 * epoch + k
            rows.append(f"{epoch},{step},,{1.2 * math.exp(-step / 60) + 0.3 + 0.01 * (step % 3)},")
        rows.append(f"{epoch},{5 * epoch + 4},,,{1.2 * math.exp(-epoch / 12) + 0.4}")
        rows.append(f"{epoch},{5 * epoch + 4},{1.2 * math.exp(-epoch / 12) + 0.3},,")
    (folder / "metrics.csv").write_text("\n".join(rows) + "\n")
    said = hpo("diagnose", folder, "--json", "-o", "out")
    assert (said.code, said.err) == (0, "")
    data = json.loads(said.out)
    assert data["judgement"]["verdict"] == "healthy"
    assert "Lightning" in data["read_as"]
    assert data["by_epoch"][0]["steps"] == 5
    assert data["files"]["html"] == str(Path("out/diagnosis.html").absolute())
    assert Path("out/diagnosis.md").is_file()
    written = json.loads(Path("out/diagnosis.json").read_text())
    assert written["judgement"] == data["judgement"]


def test_columns_of_any_file(hpo: Hpo) -> None:
    lines = [f"{k};{train};{val}" for k, (train, val) in enumerate(overfitting(), start=1)]
    Path("log.txt").write_text("\n".join(["Zeit;A;B", *lines]))
    said = hpo("diagnose", "log.txt", "--columns", "epoch=Zeit,train_loss=A", "--columns", "val_loss=B")
    assert "log.txt: overfitting\n" in said.out
    for given, problem in [
        ("train_loss", "'train_loss' is not NAME=COLUMN"),
        ("a=A,a=B", "'a' is given twice"),
        ("a=A,b=A", "column 'A' is given twice"),
        ("epoch=Zeit,train_loss=C", "no column 'C'"),
    ]:
        said = hpo("diagnose", "log.txt", "--columns", given)
        assert (said.code, said.out) == (2, "")
        assert problem in said.err


# A process of its own: MLflow's imports warn, which ends a test.
LOGGED = """
import json, math, sys
from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient

client = MlflowClient(tracking_uri=sys.argv[1], registry_uri=sys.argv[1])
experiment = client.create_experiment("elsewhere", artifact_location=sys.argv[2])
run = client.create_run(experiment, run_name="by hand").info.run_id
metrics = [
    Metric(name, value, 1_700_000_000_000 + epoch, epoch)
    for epoch, losses in enumerate(json.load(sys.stdin), start=1)
    for name, value in zip(("train_loss", "val_loss"), losses)
]
metrics[8] = Metric("train_loss", math.inf, 1_700_000_000_005, 5)
client.log_batch(run, metrics, [Param("learning_rate", "0.01")])
client.set_terminated(run, "FINISHED")
print(run)
"""


@pytest.fixture
def run_id(default_store: Path) -> str:
    """A run in the store of the runs folder, logged as anyone may log it."""
    places = (f"sqlite:///{Path('runs/mlflow.db').absolute()}", Path("artifacts").absolute().as_uri())
    command = [sys.executable, "-c", LOGGED, *places]
    losses = json.dumps(overfitting())
    return subprocess.run(command, input=losses, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.slow
def test_a_run_of_mlflow(hpo: Hpo, hpo_process: Hpo, run_id: str) -> None:
    said = hpo_process("diagnose", f"mlflow:{run_id}", "--json")
    assert (said.code, said.err) == (0, "")
    data = json.loads(said.out)
    assert (data["training"], data["state"], data["epochs"]) == ("by hand", "COMPLETE", 40)
    assert data["params"] == {"learning_rate": 0.01}
    assert data["judgement"]["verdict"] == "overfitting"
    # MLflow keeps infinity as the largest number; here it is none that could be judged, and that is said.
    assert [one["numbers"] for one in data["advice"] if one["code"] == "not_finite"] == [
        {"series": "train_loss", "n": 1}
    ]
    store = Path("runs/mlflow.db").rename("other.db")
    assert "there is no MLflow store" in hpo("diagnose", f"mlflow:{run_id}").err
    unknown = hpo_process("diagnose", "mlflow:nope", "--tracking-uri", f"sqlite:///{store}")
    assert (unknown.code, unknown.out) == (1, "")
    assert "has no run 'nope'" in unknown.err


def test_trials_of_a_study(hpo: Hpo, finished: Path) -> None:
    best = json.loads(hpo("best", "--json").out)["trial"]
    said = hpo("diagnose")
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith(f"toy/{best}: ")
    folder = Path("runs/toy/trials") / str(best)
    assert {"diagnosis.html", "diagnosis.md", "diagnosis.json"} <= {path.name for path in folder.iterdir()}
    assert str((folder / "diagnosis.html").absolute()) in said.out
    other = (best + 1) % 4
    assert hpo("diagnose", f"toy/{other}").out.startswith(f"toy/{other}: ")
    assert hpo("diagnose", finished, "--trial", other).out.startswith(f"toy/{other}: ")
    assert hpo("diagnose", "toy", other).out.startswith(f"toy/{other}: ")


@pytest.mark.usefixtures("finished")
def test_what_cannot_be_diagnosed_is_said(hpo: Hpo, keras: Path) -> None:
    for arguments, problem in [
        (("nope.csv",), "there is no file nope.csv"),
        (("nope",), "Nor is 'nope' a file"),
        (("toy/99",), "has no trial 99"),
        (("toy/1", "--trial", "2"), "is trial 1 already"),
        ((keras, "--trial", "2"), "a trial's number needs a study"),
        (("toy", "--columns", "epoch=e"), "--columns needs a log file"),
        ((keras, "--open"), "give -o DIR"),
        (("mlflow:1", "--tracking-uri", "sqlite:///nowhere.db"), "there is no MLflow store nowhere.db"),
        (("mlflow:1", "--tracking-uri", "mlruns"), "the tracking URI is 'mlruns'"),
        ((keras, "--lang", "klingon"), "klingon"),
    ]:
        said = hpo("diagnose", *arguments)
        assert (said.code != 0, said.out) == (True, ""), arguments
        assert problem in said.err
        assert "Traceback" not in said.err


def test_in_another_language(hpo: Hpo, keras: Path) -> None:
    said = hpo("diagnose", keras, "--lang", "zh-TW", "-o", "out")
    assert (said.code, said.err) == (0, "")
    assert Path("out/diagnosis.zh-TW.html").is_file()


def test_the_metric_that_counts_is_chosen(hpo: Hpo) -> None:
    lines = [f"{k},{math.exp(-k / 9)},{0.5 + 0.01 * k},{0.3 + 0.02 * k},{k}" for k in range(20)]
    Path("log.csv").write_text("\n".join(["epoch,val_loss,val_auc,val_f1,val_gain", *lines]) + "\n")
    assert "Best val_auc: 0.69 in epoch 19" in hpo("diagnose", "log.csv").out
    assert "Best val_f1: 0.68 in epoch 19" in hpo("diagnose", "log.csv", "--metric", "f1").out
    assert "Best val_gain: 0 in epoch 0" in hpo("diagnose", "log.csv", "--metric", "val_gain:minimize").out
    said = hpo("diagnose", "log.csv", "--metric", "val_acu")
    assert (said.code, said.out) == (2, "")
    assert "has no metric 'val_acu'; it has val_loss, val_auc, val_f1, val_gain. Did you mean 'val_auc'?" in said.err
    said = hpo("diagnose", "log.csv", "--metric", "val_gain")
    assert "expected --metric val_gain:maximize or --metric val_gain:minimize" in said.err
