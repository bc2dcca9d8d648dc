"""`hpo import` on real sources: Optuna's SQLite and journal, an MLflow store, CSV files whole and damaged."""

from __future__ import annotations

import json
import math
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from hpo.analysis.records import StudyRecord, read_study
from hpo.storage.load_study import load_study

from .conftest import Hpo

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning")

TOYS = Path(__file__).parents[1] / "toys.py"
SPACE = {
    "lr": {"low": 1e-4, "high": 0.1, "log": True},
    "batch_size": {"choices": [8, 16, 32]},
    "loss": {"choices": {"bce": {}, "focal": {"gamma": {"low": 0.0, "high": 5.0}}}},
}


@pytest.fixture
def target(tmp_path: Path) -> Callable[..., Path]:
    """Writes a study.yaml `target` over SPACE and the metric `score`; keys override."""

    def write(**keys: Any) -> Path:
        study = {
            "name": "target",
            "objective": f"{TOYS}:smooth",
            "metrics": [{"name": "score", "direction": "maximize"}],
            "search_space": SPACE,
            "sampler": "tpe",
            "pruner": "none",
            "budget": {"trials": 3},
            "engine": {"workers": 1},
            "mlflow": False,
        } | keys
        path = tmp_path / "target.yaml"
        path.write_text(yaml.safe_dump(study, sort_keys=False))
        return path

    return write


def tune(storage: Any, name: str = "old one", trials: int = 12, slash: bool = False) -> optuna.Study:
    """A study of Optuna's with pruned, failed, running and waiting trials and a conditional parameter."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    pruner = optuna.pruners.ThresholdPruner(lower=0.25, n_warmup_steps=1)
    study = optuna.create_study(
        storage=storage,
        study_name=name,
        direction="maximize",
        pruner=pruner,
        sampler=optuna.samplers.RandomSampler(seed=1),
    )

    def objective(trial: optuna.Trial) -> float:
        lr = trial.suggest_float("optimizer/lr" if slash else "lr", 1e-4, 0.1, log=True)
        trial.suggest_categorical("batch_size", [8, 16, 32])
        loss = trial.suggest_categorical("loss", ["bce", "focal"])
        gamma = trial.suggest_float("gamma", 0.0, 5.0) if loss == "focal" else 0.0
        if trial.number == 5:
            raise ValueError("boom")
        for step in range(3):
            value = 1 - abs(math.log10(lr) + 2) / 2 - gamma / 10 + step / 100
            trial.report(value, step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return value

    study.optimize(objective, n_trials=trials, catch=(ValueError,))
    study.ask()
    study.enqueue_trial({"batch_size": 8})
    return study


def seen(trial: optuna.trial.FrozenTrial) -> Any:
    values = trial.values if trial.state.name == "COMPLETE" else None
    return trial.state.name, values, trial.params, trial.intermediate_values, trial.datetime_start


def record(runs: Path, name: str = "target") -> StudyRecord:
    return read_study(runs, name)


# --- Optuna


@pytest.mark.parametrize("kind", ["sqlite", "journal", "path of a file"])
def test_a_study_of_optuna_comes_in_with_a_yaml_of_its_own(hpo: Hpo, runs: Path, tmp_path: Path, kind: str):
    if kind == "sqlite":
        url: str = f"sqlite:///{tmp_path / 'old.db'}"
        study = tune(url, slash=True)
    else:
        file = tmp_path / "old file.log"
        study = tune(JournalStorage(JournalFileBackend(str(file))), slash=True)
        url = f"journal:{file}" if kind == "journal" else str(file)
    said = hpo("import", "optuna", url, "old one")
    assert said.code == 0, said.err
    assert "study 'old-one' has 12 new trials" in said.out
    assert "1 trial still ran there (trial 12)" in said.err
    written = yaml.safe_load(Path("old-one.yaml").read_text())
    assert written["search_space"] == {
        "optimizer_lr": {"low": 1e-4, "high": 0.1, "log": True},
        "batch_size": {"choices": [8, 16, 32]},
        "loss": {"choices": {"bce": {}, "focal": {"gamma": {"low": 0.0, "high": 5.0}}}},
    }
    assert written["metrics"] == [{"name": "value", "direction": "maximize"}]
    _, stored = load_study(runs, "old-one")
    names = {"optimizer_lr": "optimizer/lr", "loss.focal.gamma": "gamma"}
    found = [seen(trial) for trial in stored.trials]
    for trial, there in zip(found, map(seen, study.trials), strict=False):
        called = {names.get(name, name): value for name, value in trial[2].items()}
        assert (trial[0], trial[1], called, trial[3], trial[4]) == there
    assert len(found) == 12
    own = record(runs, "old-one")
    assert len(own.imported) == 12
    assert not own.trained
    assert own.spans == []
    assert [step.metrics for step in own.trials[0].history] == [
        {"value": value} for value in study.trials[0].intermediate_values.values()
    ]
    assert own.trials[0].seconds == pytest.approx(study.trials[0].duration.total_seconds(), abs=2e-3)
    assert hpo("doctor").out.strip().endswith("nothing is wrong")


def test_a_second_import_adds_what_is_new_and_a_run_goes_on(hpo: Hpo, runs: Path, target, tmp_path: Path):
    study = tune(f"sqlite:///{tmp_path / 'old.db'}")
    path = target(search_space=SPACE | {"x": 0.3})
    command = ("import", "optuna", "old.db", "old one", "--study", path)
    assert hpo(*command).code == 0
    assert "0 new trials; 12 were there already" in hpo(*command).out
    study.tell(12, 0.5)
    said = hpo(*command)
    assert "do not fit" in said.err  # it was asked and has no parameters
    study.optimize(lambda trial: [trial.suggest_float("lr", 1e-4, 0.1, log=True)][0], n_trials=1)
    said = hpo(*command, "--leave-out")
    assert said.code == 0, said.err
    assert "0 new trials; 12 were there already; 2 left out" in said.out
    ran = hpo("run", path, "--quiet")
    assert ran.code == 0, ran.err
    own = record(runs)
    assert (len(own.imported), len(own.trained)) == (12, 3)  # the budget of 3 pays for none that came in
    status = json.loads(hpo("status", "--json").out)
    assert (status["imported"], status["finished"], status["budget"]["trials"]) == (12, 3, 3)
    assert 0 < status["seconds"] < sum(trial.seconds for trial in own.trained) + 60
    assert hpo("doctor").out.strip().endswith("nothing is wrong")
    report = (runs / "target" / "report.md").read_text()
    assert "12 trials of old one (" in report
    assert "no time, GPU hour or budget of this study counts them" in report
    assert "imported (old one, trial 5)" in hpo("trials", "--all").out


def test_a_killed_import_is_completed_by_the_same_command(hpo: Hpo, runs: Path, target, tmp_path, monkeypatch):
    from hpo.transfer import bring_in

    tune(f"sqlite:///{tmp_path / 'old.db'}")
    command = ("import", "optuna", "old.db", "--study", target())
    written, create = [], bring_in._frozen

    def killed(*arguments: Any) -> Any:  # after the history of the sixth trial, before the trial itself
        written.append(1)
        if len(written) == 6:
            raise KeyboardInterrupt
        return create(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(bring_in, "_frozen", killed)
        assert hpo(*command).code == 130
    assert len(load_study(runs, "target")[1].trials) == 5
    assert (runs / "target" / "trials" / "5" / "history.jsonl").exists()
    said = hpo(*command)
    assert "7 new trials; 5 were there already" in said.out
    own = record(runs)
    assert len(own.trials) == 12
    assert not (runs / "target" / "lost+found").exists()
    assert hpo("doctor").out.strip().endswith("nothing is wrong")


def test_what_does_not_fit_is_said_by_reason_and_nothing_is_imported(hpo: Hpo, runs: Path, target, tmp_path: Path):
    tune(f"sqlite:///{tmp_path / 'old.db'}")
    narrow = {"lr": {"low": 1e-3, "high": 0.01}, "batch_size": {"choices": [8, 16]}, "loss": SPACE["loss"]}
    said = hpo(
        "import", "optuna", "old.db", "--study", target(search_space=narrow | {"momentum": {"low": 0, "high": 1}})
    )
    assert said.code == 2
    assert "of 12 trials of old one do not fit study 'target', and nothing was imported" in said.err
    assert "has no 'momentum'" in said.err
    assert "--fill momentum=VALUE" in said.err
    assert "lr is not a number of 0.001 to 0.01" in said.err
    assert "To take them in: batch_size: {choices: [8, 16, 32]}" in said.err
    assert not runs.exists() or not (runs / "target").exists()
    some = hpo("import", "optuna", "old.db", "--study", target(search_space=narrow), "--leave-out")
    assert some.code == 0
    assert "left out" in some.out
    assert {trial.params["batch_size"] for trial in record(runs).trials} <= {8, 16}
    assert hpo("doctor").out.strip().endswith("nothing is wrong")


WRONG = (
    (("missing.db",), "missing.db is not there"),
    (("old.db", "old on"), "there is no study 'old on'"),
    (("old.db",), "holds 2 studies; name one of them"),
    ((".",), "is a folder"),
    (("old.db", "old one", "--metric", "value:minimize"), "old one says maximize"),
    (("old.db", "old one", "--rename", "lr"), "'lr' is not NAME=VALUE"),
    (("old.db", "empty"), "has no finished trial"),
    (("text.txt",), "text.txt"),
)


def test_bad_input_is_answered_in_a_sentence(hpo: Hpo, tmp_path: Path):
    tune(f"sqlite:///{tmp_path / 'old.db'}", trials=2)
    optuna.create_study(storage=f"sqlite:///{tmp_path / 'old.db'}", study_name="empty")
    (tmp_path / "text.txt").write_text("hello\n")
    for arguments, said in WRONG:
        answer = hpo("import", "optuna", *arguments)
        assert answer.code in (1, 2)
        assert said in answer.err
        assert "Traceback" not in answer.err
        assert not Path("runs").exists()


def test_a_yaml_is_written_into_a_new_folder_and_taken_when_it_is_there(hpo: Hpo, tmp_path: Path):
    tune(f"sqlite:///{tmp_path / 'old.db'}", trials=2)
    assert hpo("import", "optuna", "old.db", "--study", "new folder/s.yaml").code == 0
    assert Path("new folder/s.yaml").exists()
    (tmp_path / "file").write_text("")
    answer = hpo("import", "optuna", "old.db", "--study", "file/s.yaml", "--new-name", "x")
    assert answer.code == 2
    assert "file" in answer.err
    assert "Traceback" not in answer.err
    assert "0 new trials; 2 were there already" in hpo("import", "optuna", "old.db").out
    again = hpo("import", "optuna", "old.db")
    assert "old-one.yaml is there, and is taken as the study" in again.err


def test_damaged_storages_are_answered_in_a_sentence(hpo: Hpo, runs: Path, tmp_path: Path):
    tune(f"sqlite:///{tmp_path / 'old.db'}", trials=3)
    (tmp_path / "cut.db").write_bytes((tmp_path / "old.db").read_bytes()[:9000])
    with closing(sqlite3.connect("old.db")) as database, database:
        database.execute("update trial_params set distribution_json = '{broken' where trial_id = 2")
    tune(JournalStorage(JournalFileBackend("old.log")), trials=3)
    lines = Path("old.log").read_text().splitlines(keepends=True)
    Path("garbled.log").write_text("".join([*lines[:3], "garbage\n", *lines[3:]]))
    for name, said in (("cut.db", "malformed"), ("old.db", "a record of it is damaged"), ("garbled.log", "is damaged")):
        answer = hpo("import", "optuna", name)
        assert answer.code == 1
        assert said in answer.err
        assert "Traceback" not in answer.err
    Path("torn.log").write_text("".join(lines)[:-40])  # as a kill leaves it
    assert hpo("import", "optuna", "torn.log").code == 0
    assert len(record(runs, "old-one").trials) == 3
    assert not Path("runs/cut").exists()


def test_directions_that_differ_do_not_compare(hpo: Hpo, target, tmp_path: Path):
    tune(f"sqlite:///{tmp_path / 'old.db'}", trials=2)
    said = hpo("import", "optuna", "old.db", "--study", target(metrics=[{"name": "score", "direction": "minimize"}]))
    assert said.code == 2
    assert "is to minimize score, and old one was to maximize value: they do not compare" in said.err


def test_several_metrics_and_damaged_values(hpo: Hpo, runs: Path, tmp_path: Path):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        storage=f"sqlite:///{tmp_path / 'many.db'}", study_name="many", directions=["maximize", "minimize"]
    )
    study.optimize(lambda trial: (trial.suggest_float("x", 0, 1), math.inf if trial.number == 1 else 1.0), n_trials=3)
    said = hpo("import", "optuna", "many.db", "--metric", "auc", "--metric", "ece")
    assert said.code == 0, said.err
    assert "2 complete, 0 pruned, 1 failed" in said.out
    assert "1 trial with a final metric that is not finite count as failed" in said.err
    own = record(runs, "many")
    assert [one.name for one in own.metrics] == ["auc", "ece"]
    assert own.trials[1].reason == "its ece was inf at its end"
    assert own.trials[0].values["auc"] == study.trials[0].values[0]
    assert hpo("doctor").out.strip().endswith("nothing is wrong")


def test_the_objective_and_constants_may_be_decided_after_an_import(hpo: Hpo, runs: Path, target, tmp_path: Path):
    tune(f"sqlite:///{tmp_path / 'old.db'}", trials=4)
    space = SPACE | {"x": 0.3}
    assert (
        hpo("import", "optuna", "old.db", "--study", target(objective="train.py:train", search_space=space)).code == 0
    )
    assert hpo("run", target(constants={"a": 1}, search_space=space), "--trials", "1", "--quiet").code == 0
    said = hpo("run", target(constants={"a": 2}, search_space=space), "--trials", "2", "--quiet")
    assert "constants.a was 1, is 2" in said.err
    other = hpo("run", target(constants={"a": 1}, search_space=space | {"lr": {"low": 1e-4, "high": 1}}), "--quiet")
    assert "search_space.lr.high was 0.1, is 1" in other.err
    assert len(record(runs).imported) == 4


def test_a_population_takes_none(hpo: Hpo, target, tmp_path: Path):
    tune(f"sqlite:///{tmp_path / 'old.db'}", trials=2)
    sampler = {"name": "pbt", "population_size": 4, "interval": 2}
    path = target(sampler=sampler, constants={"epochs": 8}, budget={"trials": 16})
    said = hpo("import", "optuna", "old.db", "--study", path)
    assert said.code == 2
    assert "trials from elsewhere have no place in it" in said.err


# --- MLflow


@pytest.fixture
def store(tmp_path: Path, empty_store: Path) -> str:
    """An MLflow store with an experiment: a parent, two finished runs, a failed, a killed and a running one."""
    from hpo.trackers.mlflow.client import client_of

    file = Path(shutil.copyfile(empty_store, tmp_path / "store.db"))
    client = client_of(f"sqlite:///{file}")
    experiment = client.create_experiment("lr search")
    parent = client.create_run(experiment, run_name="parent")
    for k, status in enumerate(("FINISHED", "FINISHED", "FAILED", "KILLED", "RUNNING")):
        tags = {"mlflow.parentRunId": parent.info.run_id}
        if status == "KILLED":
            tags["state"] = "TrialState.PRUNED"
        run = client.create_run(experiment, run_name=f"run-{k}", tags=tags, start_time=1_700_000_000_000 + 1000 * k)
        client.log_param(run.info.run_id, "lr", str(0.001 * (k + 1)))
        client.log_param(run.info.run_id, "batch_size", ["8", "16", "32"][k % 3])
        client.log_param(run.info.run_id, "loss", "bce")
        client.log_param(run.info.run_id, "output_dir", f"/data/{k}")
        for step in range(1, 3):
            for name, value in (("score", 0.1 * k + 0.01 * step), ("train_loss", 1.0 / step)):
                client.log_metric(run.info.run_id, name, value, timestamp=1_700_000_001_000 + step, step=step)
        if status != "RUNNING":
            client.set_terminated(run.info.run_id, status, end_time=1_700_000_060_000 + 1000 * k)
    client.set_terminated(parent.info.run_id)
    return f"sqlite:///{file}"


def test_runs_of_mlflow_come_in_with_every_metric_of_every_step(hpo: Hpo, runs: Path, store: str, target):
    command = ("import", "mlflow", store, "lr search", "--study", target())
    refused = hpo(*command)
    assert "the study has no parameter 'output_dir'" in refused.err
    said = hpo(*command, "--ignore", "output_dir")
    assert said.code == 0, said.err
    assert "4 new trials (of this source: 2 complete, 1 pruned, 1 failed)" in said.out
    assert "1 run had not ended there (run run-4)" in said.err
    assert "(run parent)" in said.err
    own = record(runs)
    first = own.trials[0]
    assert (first.params["lr"], first.params["batch_size"]) == (0.001, 8)
    assert [(step.step, step.metrics, step.time) for step in first.history] == [
        (1, {"score": 0.01, "train_loss": 1.0}, 1_700_000_001.001),
        (2, {"score": 0.02, "train_loss": 0.5}, 1_700_000_001.002),
    ]
    assert first.values == {"score": 0.02, "train_loss": 0.5}
    assert (first.started, first.seconds) == (1_700_000_000, 60)
    assert own.spans == []
    assert "0 new trials; 4 were there already" in hpo(*command, "--ignore", "*").out
    assert hpo("doctor").out.strip().endswith("nothing is wrong")


def test_an_experiment_without_a_yaml(hpo: Hpo, runs: Path, store: str):
    asked = hpo("import", "mlflow", store, "lr search", "--ignore", "output_dir")
    assert "does not say which metric is optimized" in asked.err
    assert "score, train_loss" in asked.err
    said = hpo("import", "mlflow", store, "lr search", "--metric", "score", "--ignore", "output_dir")
    assert said.code == 0, said.err
    written = yaml.safe_load(Path("lr-search.yaml").read_text())
    assert written["constants"] == {"loss": "bce"}
    assert written["search_space"]["batch_size"] == {"choices": [8, 16, 32]}
    assert len(record(runs, "lr-search").imported) == 4


WRONG_STORES = (
    (("nothing.db", "e"), "there is no MLflow store"),
    ((".", "e"), "MLflow 3 reads runs in folders of files no more"),
    (("file:///tmp/mlruns", "e"), "MLflow 3 reads runs in folders of files no more"),
    (("store.db", "lr serch"), "has no experiment 'lr serch'; it has"),
    (("text.txt", "e"), "cannot be read"),
)


def test_a_wrong_store_is_answered_in_a_sentence(hpo: Hpo, store: str, tmp_path: Path):
    (tmp_path / "text.txt").write_text("hello\n")
    for arguments, said in WRONG_STORES:
        answer = hpo("import", "mlflow", *arguments)
        assert answer.code in (1, 2)
        assert said in answer.err
        assert "Traceback" not in answer.err


# --- CSV


def table(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


ROWS = "lr,batch_size,loss,gamma,score,state\n0.01,8,bce,,0.5,complete\n0.001,16,focal,2,0.7,COMPLETE\n"


def test_a_row_a_trial(hpo: Hpo, runs: Path, target, tmp_path: Path):
    file = table(tmp_path / "my results ü.csv", ROWS + "0.1,32,bce,,,failed\n")
    said = hpo("import", "csv", file, "--study", target())
    assert said.code == 0, said.err
    own = record(runs)
    assert [trial.state for trial in own.trials] == ["COMPLETE", "COMPLETE", "FAIL"]
    assert own.trials[1].params == {"lr": 0.001, "batch_size": 16, "loss": "focal", "gamma": 2.0}
    assert own.trials[0].started is None
    assert own.trials[0].seconds is None
    assert "0 new trials; 3 were there already" in hpo("import", "csv", file, "--study", target()).out
    assert hpo("doctor").out.strip().endswith("nothing is wrong")


def test_a_row_a_step(hpo: Hpo, runs: Path, tmp_path: Path):
    file = table(
        tmp_path / "epochs.csv",
        "name,epoch,lr,opt,val_loss,train_loss,state\n"
        "a,1,0.001,adam,0.5,0.6,\na,2,0.001,adam,0.4,nan,finished\nb,1,0.1,sgd,0.9,0.8,crashed\nc,1,0.2,sgd,1,1,running\n",
    )
    said = hpo("import", "csv", file, "--metric", "val_loss")
    assert said.code == 0, said.err
    assert "1 trial had not ended (trial c)" in said.err
    own = record(runs, "epochs")
    assert own.trials[0].values["val_loss"] == 0.4
    history = own.trials[0].history
    assert [step.metrics["val_loss"] for step in history] == [0.5, 0.4]
    assert math.isnan(history[1].metrics["train_loss"])
    assert load_study(runs, "epochs")[1].trials[0].intermediate_values == {1: 0.5, 2: 0.4}
    again = hpo("import", "csv", file, "--metric", "val_loss")
    assert "0 new trials; 2 were there already" in again.out, again.err
    assert hpo("doctor").out.strip().endswith("nothing is wrong")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("lr,score\n", "has a header and no row"),
        ("lr,score\n0.1,0.5,7\n", "line 2: 3 cells, where the header has 2 columns"),
        ("lr,lr\n0.1,0.5\n", "has the column 'lr' twice"),
        ("trial,lr,score\n1,0.1,0.5\n1,0.2,0.5\n", "trial 1 is there before, in line 2"),
        ("trial,lr,score,state\n1,0.1,0.5,dun\n", "line 2: 'dun' is no state of a trial"),
        ("epoch,lr,score\n1,0.1,0.5\n2,0.1,0.6\n", "none that tells trials apart"),
        ("trial,epoch,lr,score\n1,1.5,0.1,0.5\n", "'1.5' is no step"),
        ("trial,epoch,lr,score\n1,1,0.1,0.5\n1,2,0.2,0.5\n", "lr of trial 1 is '0.2', and '0.1' in line 2"),
        ("trial,score\n1,0.5\n", "has no column that is a parameter"),
        ("lr,batch_size,loss,score\nfast,8,bce,0.5\n", "lr is not a number of 1e-4 to 0.1, log, such as 'fast'"),
        ("lr,batch_size,loss,score\n0.1,8,bce,\n", "has no final value of the metric 'score'"),
        ("lr,batch_size,loss,gamma,score\n0.1,8,focal,,1\n", "has no 'gamma' (where loss = focal)"),
        ('lr,batch_size\n"0.1', "do not fit"),
    ],
)
def test_a_damaged_table_is_answered_with_its_line(hpo: Hpo, target, tmp_path: Path, text: str, said: str):
    answer = hpo("import", "csv", table(tmp_path / "t.csv", text), "--study", target())
    assert answer.code == 2
    assert said in answer.err
    assert "Traceback" not in answer.err
    assert not Path("runs").exists()


def test_files_that_are_none(hpo: Hpo, target, tmp_path: Path):
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x01")
    for name in ("missing.csv", ".", "binary.csv"):
        answer = hpo("import", "csv", name, "--study", target())
        assert answer.code == 2
        assert "Traceback" not in answer.err


def test_the_runs_table_of_wandb(hpo: Hpo, runs: Path, tmp_path: Path):
    file = table(
        tmp_path / "wandb.csv",
        '"Name","State","Notes","Created","Runtime","ID","config.lr.value","config.net","val_auc","_step","epoch"\n'
        '"fox-1","finished","-","2024-01-05T10:00:00.000Z","120","k2","0.001","unet","0.91","10","10"\n'
        '"cat-2","crashed","","2024-01-05T11:00:00.000Z","12","k3","0.1","resnet","","1","1"\n'
        '"fox-1","finished","","2024-01-05T12:00:00.000Z","60","k5","0.01","{""value"": ""unet""}","0.93","9","9"\n'
        '"dog","running","","2024-01-05T12:00:00.000Z","60","k6","0.01","unet","0.93","9","9"\n',
    )
    said = hpo("import", "wandb-csv", file, "--metric", "val_auc")
    assert said.code == 0, said.err
    assert "3 new trials (of this source: 2 complete, 0 pruned, 1 failed)" in said.out
    own = record(runs, "wandb")
    assert [trial.params for trial in own.trials] == [
        {"lr": 0.001, "net": "unet"},
        {"lr": 0.1, "net": "resnet"},
        {"lr": 0.01, "net": "unet"},
    ]
    assert own.trials[0].started == 1704448800
    assert own.trials[0].seconds == 120
    assert not own.trials[0].history
    assert hpo("doctor").out.strip().endswith("nothing is wrong")


def test_the_runs_option_stands_anywhere(hpo: Hpo, target, tmp_path: Path):
    file = table(tmp_path / "t.csv", ROWS)
    for k, place in enumerate((0, 1, 5)):
        arguments = ["import", "csv", file, "--study", target()]
        arguments[place:place] = ["--runs", tmp_path / f"runs{k}"]
        assert hpo(*arguments).code == 0
        assert (tmp_path / f"runs{k}" / "target").is_dir()
