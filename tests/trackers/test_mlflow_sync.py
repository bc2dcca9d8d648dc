"""`hpo mlflow --sync` in a SQLite store and on a real MLflow server: whatever is planted in the runs of a study, one
call makes them equal to the study, a second one changes nothing, and what a user did stays."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlparse

import optuna
import psutil
import psycopg
import pytest
from books import TPE, TRIALS, check_books, finish, processes_of, start
from dying import Death, Writes
from mlflow_plants import (
    BEYOND_A_SEARCH,
    BEYOND_A_SEARCH_ON_A_SERVER,
    PLANTS,
    Store,
    doubled_closed_run,
    missing_run,
    open_run,
    plants,
)
from mlflow_reading import check_all_is_there, children_of, in_file, in_postgresql, over_http, parent_of
from optuna.distributions import FloatDistribution
from optuna.trial import create_trial
from servers import PostgreSQL

from hpo import layout, runner
from hpo.doctor.examine import examine
from hpo.errors import HpoError
from hpo.spec.load import load_spec
from hpo.storage import history
from hpo.storage.load_study import load_study
from hpo.storage.open import open_storage
from hpo.trackers.mlflow import place
from hpo.trackers.mlflow.sync import check, discard, make_equal, sync

# MLflow 3.17's own tables use it; SQLAlchemy 2.1 says so when it first meets them.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning")


@pytest.fixture(scope="module")
def finished_runs(tmp_path_factory):
    """A runs folder with a study `toy` of three trials, to be copied."""
    return tmp_path_factory.mktemp("finished") / "runs"


@pytest.fixture
def untracked(study_yaml, runs, finished_runs):
    """A copy of that study; returns a function that sets its `mlflow:`."""
    if not finished_runs.exists():
        runner.run(load_spec(study_yaml(budget={"trials": 3})), finished_runs)
    shutil.copytree(finished_runs, runs)

    def track(mlflow):
        spec = load_spec(study_yaml(budget={"trials": 3}, mlflow=mlflow))
        (runs / "toy" / layout.SPEC).write_text(spec.to_yaml())

    return track


@pytest.fixture
def in_sqlite(untracked, runs, empty_store):
    untracked(True)
    file = Path(shutil.copyfile(empty_store, runs / layout.MLFLOW_STORE))
    sync(runs, "toy", ignore)
    from hpo.trackers.mlflow.client import client_of

    uri = f"sqlite:///{file}"
    client = client_of(uri)

    def artifacts(run):
        return Path(urlparse(client.get_run(run).info.artifact_uri).path)

    return Store(client, uri, "toy", file, artifacts, runs, in_file(file))


@pytest.fixture
def on_server(untracked, runs, server, request):
    """In an experiment of the test's own."""
    experiment = request.node.name
    untracked({"tracking_uri": server.url, "experiment": experiment})
    sync(runs, "toy", ignore)
    from mlflow.tracking import MlflowClient

    client = MlflowClient(server.url)
    folder = server.file.parent / "artifacts" / client.get_experiment_by_name(experiment).experiment_id
    found = over_http(server.url, experiment)
    return Store(client, server.url, experiment, server.file, lambda run: folder / run / "artifacts", runs, found)


def ignore(text):
    pass


def differences(runs, name="toy", driven=False):
    return check(runs, *load_study(runs, name), driven)


def synced(runs, name="toy"):
    """What a sync says, when it did something."""
    said = []
    assert sync(runs, name, said.append)
    return said


def found_in(store):
    """All runs; on a server without those in the trash."""
    if store.uri.startswith("http"):
        return over_http(store.uri, store.experiment)
    return in_file(store.file)


def check_right(store, name="toy"):
    """The runs equal the study, and a further sync changes nothing."""
    assert differences(store.runs, name) == []
    before = found_in(store)
    assert not sync(store.runs, name, pytest.fail)
    assert found_in(store) == before
    key = place.read_place(store.runs / name).key
    own = [_without_users_metrics(run) for run in before if run.tags.get("hpo.key") == key]
    check_all_is_there(store.runs, name, own)
    assert parent_of(own).status == "FINISHED"


def _without_users_metrics(run):
    metrics = {name: [row for row in rows if row[0] != 1000] for name, rows in run.metrics.items()}
    metrics.pop("test/score", None)
    return replace(run, metrics=metrics)


def user_was_here(store):
    """Leaves things of a user's own; returns a function that asserts that they are as they were."""
    from mlflow.entities import Metric

    client, run, parent = store.client, store.run(2).id, store.parent
    client.set_tag(run, "reviewed", "yes")
    client.set_tag(run, "mlflow.note.content", "the one of the paper")
    client.set_tag(parent, "mlflow.note.content", "3 trials finished. I looked at them.")
    client.log_batch(run, [Metric("test/score", 0.4 + step, 1000, step) for step in (1, 2)])
    client.log_metric(run, "score", 7.0, timestamp=1, step=1000)  # a step that the study does not have
    client.update_run(run, name="the best")
    own = client.create_run(store.number, run_name="by hand", tags={"mine": "1"}).info.run_id
    client.log_metric(own, "score", 0.1)

    def check_user():
        of_trial, of_study = client.get_run(run), client.get_run(parent)
        assert (of_trial.info.run_name, of_trial.info.lifecycle_stage) == ("the best", "active")
        assert of_trial.data.tags["reviewed"] == "yes"
        assert of_trial.data.tags["mlflow.note.content"] == "the one of the paper"
        assert of_trial.data.tags["hpo.key"] == store.key
        assert of_study.data.tags["mlflow.note.content"] == "3 trials finished. I looked at them."
        assert [point.value for point in client.get_metric_history(run, "test/score")] == [1.4, 2.4]
        assert 7.0 in [point.value for point in client.get_metric_history(run, "score")]
        by_hand = client.get_run(own)
        assert (by_hand.info.status, by_hand.info.lifecycle_stage) == ("RUNNING", "active")
        assert (by_hand.data.tags["mine"], by_hand.data.metrics) == ("1", {"score": 0.1})
        assert "hpo.orphan_of" not in by_hand.data.tags

    check_user()
    return check_user


def plant_and_sync(store, plant, beyond_a_search):
    history_before = (store.runs / "toy/trials/1" / layout.HISTORY).read_bytes()
    check_user = user_was_here(store)
    plant(store)
    assert bool(differences(store.runs)) == (plant not in beyond_a_search)
    said = synced(store.runs)
    assert PLANTS[plant] in said[0]
    # Of two closed runs that of the lower ID stays, which may be the one without metrics.
    assert said[1:] in ([], ["completed 1 run that lacks parameters, metrics or files"])
    assert said[1:] == [] or plant is doubled_closed_run
    check_right(store)
    check_user()
    assert (store.runs / "toy/trials/1" / layout.HISTORY).read_bytes() == history_before


@pytest.mark.parametrize("plant", plants(on_server=False))
def test_one_sync_makes_the_runs_equal_to_the_study(in_sqlite, plant):
    plant_and_sync(in_sqlite, plant, BEYOND_A_SEARCH)


@pytest.mark.slow
@pytest.mark.parametrize("plant", plants(on_server=True))
def test_one_sync_makes_the_runs_equal_on_a_server(on_server, plant):
    plant_and_sync(on_server, plant, BEYOND_A_SEARCH | BEYOND_A_SEARCH_ON_A_SERVER)


def test_what_a_user_did_is_no_difference(in_sqlite):
    check_user = user_was_here(in_sqlite)
    in_sqlite.client.delete_run(in_sqlite.run(0).id)
    assert differences(in_sqlite.runs) == []
    assert not sync(in_sqlite.runs, "toy", pytest.fail)
    check_user()
    assert in_sqlite.client.get_run(in_sqlite.run(0).id).info.lifecycle_stage == "deleted"


def test_several_differences_are_counted_and_removed_together(in_sqlite):
    for number in range(3):
        in_sqlite.client.update_run(in_sqlite.run(number).id, status="RUNNING")
    in_sqlite.client.delete_run(in_sqlite.parent)
    (in_sqlite.artifacts(in_sqlite.run(0).id) / layout.HISTORY).unlink()
    assert differences(in_sqlite.runs) == ["1 missing parent run", "3 runs left open"]
    assert synced(in_sqlite.runs) == ["wrote 1 missing parent run", "completed and closed 3 runs left open"]
    check_right(in_sqlite)


def test_a_double_of_a_run_with_other_values_does_not_take_its_place(in_sqlite):
    doubled_closed_run(in_sqlite)
    for run in in_file(in_sqlite.file):
        if run.tags.get("hpo.trial") == "1":
            in_sqlite.client.log_metric(run.id, "final/score", 9.0, timestamp=run.end, step=0)
    synced(in_sqlite.runs)
    check_right(in_sqlite)


def test_nothing_that_mlflow_has_is_lost_when_a_run_is_taken_out(on_server):
    client = on_server.client
    made = on_server.another(1, closed=False)
    client.set_tag(made, "hpo.trial", "99")
    client.log_metric(made, "score", 0.9)
    client.log_metric(on_server.run(2).id, "final/score", 9.0, on_server.run(2).end + 1, step=0)
    assert differences(on_server.runs) == [
        "1 run of no trial of the study",
        "1 run with another start, other parameters or other values than its trial",
    ]
    synced(on_server.runs)
    check_right(on_server)
    for run, value in ((made, 0.9), (on_server.run(2).id, 9.0)):
        kept = client.get_run(run)
        assert kept.info.lifecycle_stage == "active"
        assert kept.info.status != "RUNNING"
        assert kept.data.tags["hpo.orphan_of"] == on_server.key
        assert value in kept.data.metrics.values()


def test_what_the_study_has_lost_is_neither_read_back_nor_removed_from_mlflow(in_sqlite):
    """Metrics that a history has lost are not known to be the study's; a history that lacks steps proves nothing."""
    path = in_sqlite.runs / "toy/trials/1" / layout.HISTORY
    kept = in_sqlite.artifacts(in_sqlite.run(1).id) / layout.HISTORY
    before = kept.read_bytes()
    for row in (rows := history.rows(path)):
        del row.metrics["other"]
    history.write(path, rows)
    without = path.read_text().splitlines(keepends=True)
    for content in ("".join(without), "".join(without[:4] + without[5:]), ""):
        path.write_text(content)
        assert differences(in_sqlite.runs) == []
        assert not sync(in_sqlite.runs, "toy", pytest.fail)
        assert path.read_text() == content
        assert kept.read_bytes() == before
    assert in_file(in_sqlite.file) == list(in_sqlite.found)


def test_points_of_a_history_that_was_restored_at_other_times_are_not_doubled(in_sqlite):
    path = in_sqlite.runs / "toy/trials/1" / layout.HISTORY
    steps = history.read(path)
    history.write(path, [history.Step(step.step, step.time + 0.5, step.attempt, step.metrics) for step in steps])
    open_run(in_sqlite)
    synced(in_sqlite.runs)
    (again,) = [run for run in in_file(in_sqlite.file) if run.tags.get("hpo.trial") == "1"]
    assert again == in_sqlite.run(1)


@pytest.mark.slow
def test_odd_names_and_values_are_no_difference(study_yaml, runs, server, request):
    runner.run(load_spec(study_yaml("odd", budget={"trials": 2}, red_flags=[], mlflow=False)), runs)
    tracked = {"tracking_uri": server.url, "experiment": request.node.name}
    spec = load_spec(study_yaml("odd", budget={"trials": 2}, red_flags=[], mlflow=tracked))
    (runs / "toy" / layout.SPEC).write_text(spec.to_yaml())
    assert synced(runs) == ["wrote 1 missing parent run", "wrote 2 missing runs"]
    assert differences(runs) == []  # infinities, NaN and names that MLflow does not take
    assert not sync(runs, "toy", pytest.fail)


@pytest.mark.slow
def test_steps_in_pieces_are_no_difference_and_one_piece_that_is_missing_is_written(study_yaml, runs, default_store):
    spec = load_spec(study_yaml("pieces", budget={"trials": 1}, mlflow=True))
    runner.run(spec, runs)
    assert differences(runs) == []
    with closing(sqlite3.connect(default_store)) as database, database:
        database.execute("delete from metrics where key = 'train_score' and step = 2")
    assert differences(runs) == ["1 run that lacks parameters, metrics or files"]
    synced(runs)
    check_all_is_there(runs, "toy", in_file(default_store))
    # A value that was reported again, of which MLflow was told while the trial ran.
    path = runs / "toy/trials/0/history.jsonl"
    first, *others = path.read_text().splitlines(keepends=True)
    path.write_text(first.replace('"train_score":', '"train_score":9') + first + "".join(others))
    assert differences(runs) == []


@pytest.mark.slow
def test_a_runs_folder_may_have_any_name(study_yaml, tmp_path, empty_store):
    runs = tmp_path / "a%41b?c#d&password=e {f}'\n" / "runs"
    runs.mkdir(parents=True)
    store = Path(shutil.copyfile(empty_store, runs / layout.MLFLOW_STORE))
    path = study_yaml("pieces", budget={"trials": 1}, mlflow=True, storage="sqlite:///study.db")
    there = runs.parent / "study.yaml"
    path.rename(there)
    runner.run(load_spec(there), runs)
    assert differences(runs) == []
    assert not sync(runs, "toy", ignore)
    check_all_is_there(runs, "toy", in_file(store))
    assert examine(runs, (), fix=False) == []
    assert sorted(one.name for one in runs.parent.iterdir() if not one.name.startswith("study.db-")) == [
        "runs", "study.db", "study.yaml",
    ]  # fmt: skip
    kept = [one.name for one in (runs / layout.MLFLOW_ARTIFACTS).rglob("*.*")]
    assert {"history.jsonl", "report.html", "study.yaml"} <= set(kept)
    assert [one.name for one in tmp_path.iterdir()] == [runs.parent.name]


def test_a_report_that_was_written_later_follows(on_server):
    (on_server.runs / "toy/report.zh-TW.html").write_text("<p>報告")
    (on_server.runs / "toy/trials/2/diagnosis.md").write_text("healthy")
    assert differences(on_server.runs) == []
    assert len(synced(on_server.runs)) == 2
    assert (on_server.artifacts(on_server.parent) / "report.zh-TW.html").read_text() == "<p>報告"
    assert (on_server.artifacts(on_server.run(2).id) / "diagnosis.md").read_text() == "healthy"
    check_right(on_server)


# --- stores


def test_a_store_whose_file_is_gone_is_written_anew_and_not_by_looking(in_sqlite):
    in_sqlite.file.unlink()
    for suffix in ("-wal", "-shm"):
        Path(f"{in_sqlite.file}{suffix}").unlink(missing_ok=True)
    assert differences(in_sqlite.runs) == ["1 missing parent run", "3 missing runs"]
    assert not in_sqlite.file.exists()


def test_a_store_that_is_no_database_cannot_be_read(in_sqlite):
    elsewhere = in_sqlite.runs / "other.db"
    elsewhere.write_bytes(b"no database" * 1000)
    noted = in_sqlite.runs / "toy" / layout.MLFLOW
    noted.write_text(json.dumps(json.loads(noted.read_text()) | {"tracking_uri": f"sqlite:///{elsewhere}"}))
    with pytest.raises(HpoError, match=f"MLflow at sqlite:///{elsewhere} cannot be read: ") as raised:
        differences(in_sqlite.runs)
    assert "\n" not in str(raised.value)


def test_an_experiment_under_another_name_is_not_written_a_second_time(on_server):
    on_server.client.rename_experiment(on_server.number, f"{on_server.experiment} of May")
    said = f"is called '{on_server.experiment} of May' now rather than '{on_server.experiment}'"
    for call in (differences, synced):
        with pytest.raises(HpoError, match=re.escape(said)):
            call(on_server.runs)
    assert on_server.client.get_experiment_by_name(on_server.experiment) is None


@pytest.mark.slow
def test_a_server_that_is_away_is_neither_read_nor_written(untracked, runs, own_server):
    own_server.start()
    own_server.wait()
    untracked(own_server.url)
    synced(runs)
    own_server.kill()
    with pytest.raises(HpoError, match=f"MLflow at {own_server.url} cannot be read: connection"):
        differences(runs)
    with pytest.raises(HpoError, match=f"MLflow at {own_server.url} cannot be read: connection refused"):
        differences(runs, driven=True)
    with pytest.raises(HpoError, match=f"MLflow at {own_server.url} cannot be written: connection refused"):
        synced(runs)


@pytest.mark.slow
def test_artifacts_that_are_not_taken_are_said_and_all_else_is_written(on_server):
    folder = on_server.artifacts(on_server.run(1).id)
    shutil.rmtree(folder)
    folder.write_text("a file is where the folder was")
    on_server.client.update_run(on_server.run(2).id, status="RUNNING")
    with pytest.raises(HpoError, match=f"MLflow at {on_server.uri} takes no artifacts: "):
        synced(on_server.runs)
    assert on_server.client.get_run(on_server.run(2).id).info.status != "RUNNING"
    folder.unlink()
    synced(on_server.runs)
    check_right(on_server)


@pytest.mark.slow
def test_five_hundred_trials_take_one_search_to_look_at(study_yaml, runs, server, request, monkeypatch):
    from mlflow.tracking import MlflowClient

    tracked = {"tracking_uri": server.url, "experiment": request.node.name}
    spec = load_spec(study_yaml(budget={"trials": 500}, mlflow=tracked))
    (runs / "toy").mkdir(parents=True)
    (runs / "toy" / layout.SPEC).write_text(spec.to_yaml())
    _write_study(runs, 500)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    assert synced(runs) == ["wrote 1 missing parent run", "wrote 500 missing runs"]
    asked = []
    for name in ("search_runs", "get_run", "get_metric_history"):
        original = getattr(MlflowClient, name)
        monkeypatch.setattr(
            MlflowClient, name, lambda *args, _n=name, _o=original, **kw: asked.append(_n) or _o(*args, **kw)
        )
    assert differences(runs) == []
    assert asked == ["search_runs"]
    began = time.monotonic()
    assert not sync(runs, "toy", pytest.fail)
    print(f"{time.monotonic() - began:.1f} s")


def _write_study(runs, trials):
    """As `hpo run` leaves it, without the time that it takes."""
    study = optuna.create_study(
        storage=open_storage(f"journal:{runs / layout.JOURNAL}"), study_name="toy", direction="maximize"
    )
    made = []
    for number in range(trials):
        began, x = 1_700_000_000.0 + number, number / trials
        writer = history.HistoryWriter(layout.trial_directory(runs / "toy", number) / layout.HISTORY)
        for step in range(10):
            writer.append(history.Step(step, began + step / 20, 1, {"score": x * step, "other": x}))
        writer.close()
        job = {"seed": number, "attempt": 1, "source": "sampler", "started": began, "params": {"x": x}}
        outcome = {"state": "COMPLETE", "cause": "", "reason": "", "metrics": {"score": x}, "finished": began + 0.5,
                   "seconds": 0.5, "gpu_seconds": 0.0, "peak_gpu_bytes": 0, "requeued": False}  # fmt: skip
        made.append(
            create_trial(
                params={"x": x}, distributions={"x": FloatDistribution(0, 1)}, value=x,
                intermediate_values={step: x * step for step in range(10)},
                user_attrs={"hpo:job": job, "hpo:outcome": outcome},
            )
        )  # fmt: skip
    study.add_trials(made)


@pytest.mark.slow
def test_a_store_in_postgresql_is_asked_for_the_number_of_points_too(untracked, runs, tmp_path):
    (tmp_path / "postgresql").mkdir()
    database = PostgreSQL(tmp_path / "postgresql")
    try:
        uri = database.url("mlflow")
        untracked(uri)
        synced(runs)
        assert differences(runs) == []
        run = children_of(in_postgresql(uri))[1]
        with closing(psycopg.connect(uri, autocommit=True)) as connection:
            connection.execute("delete from metrics where run_uuid = %s and key = 'score' and step = 4", [run.id])
        lacks = "1 run that lacks parameters, metrics or files"
        assert differences(runs) == [lacks]
        assert synced(runs) == [f"completed {lacks}"]
        assert not sync(runs, "toy", pytest.fail)
        check_all_is_there(runs, "toy", in_postgresql(uri))
    finally:
        database.close()


# --- the note of where the runs are


@pytest.mark.parametrize("content", [None, "", "{", '{"key": ', "[]", '{"experiment": "toy"}', "\0" * 80])
def test_runs_whose_note_is_lost_are_not_written_twice(in_sqlite, content):
    noted = in_sqlite.runs / "toy" / layout.MLFLOW
    before = place.read_place(noted.parent)
    noted.unlink()
    if content is not None:
        noted.write_text(content)
    said = []
    assert not sync(in_sqlite.runs, "toy", said.append)
    assert said == ([] if content is None else [f"{noted} cannot be read; it is kept as mlflow.json.damaged"])
    assert noted.with_name("mlflow.json.damaged").exists() == (content is not None)
    assert place.read_place(noted.parent) == before
    check_right(in_sqlite)


def test_runs_of_an_earlier_study_of_that_name_are_not_taken_for_its_own(in_sqlite):
    """Deleted and made anew: the runs are there, of other moments."""
    in_sqlite.sql("update runs set start_time = start_time - 3600000")
    key = in_sqlite.key
    (in_sqlite.runs / "toy" / layout.MLFLOW).unlink()
    assert synced(in_sqlite.runs) == ["wrote 1 missing parent run", "wrote 3 missing runs"]
    assert in_sqlite.key != key
    check_right(in_sqlite)


@pytest.mark.slow
def test_two_folders_with_one_key_get_runs_of_their_own(on_server):
    copy = on_server.runs / "copied"
    shutil.copytree(on_server.runs / "toy", copy)
    path = copy / layout.SPEC
    path.write_text(path.read_text().replace("name: toy", "name: copied", 1))
    opened = open_storage(f"journal:{on_server.runs / layout.JOURNAL}")
    optuna.copy_study(from_study_name="toy", from_storage=opened, to_storage=opened, to_study_name="copied")
    assert differences(on_server.runs) == []  # the original
    assert differences(on_server.runs, "copied") == [
        "its mlflow.json is that of study 'toy', as in a folder that was copied"
    ]
    assert synced(on_server.runs, "copied")[0] == (
        "gave the study runs of its own: its mlflow.json was that of study 'toy'"
    )
    assert place.read_place(copy).key != on_server.key
    check_right(on_server, "copied")
    check_right(on_server)


def synced_elsewhere(runs):
    """A sync in a process of its own: MLflow's client remembers where the artifacts of a run are."""
    command = [sys.executable, "-m", "hpo", "mlflow", "toy", "--sync", "--runs", str(runs)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=True).stdout


@pytest.mark.slow
def test_a_moved_runs_folder_does_not_make_the_old_place_again(in_sqlite, tmp_path):
    moved = tmp_path / "moved"
    in_sqlite.runs.rename(moved)
    assert differences(moved) == []
    (moved / "toy/report.zh-TW.html").write_text("a new report")
    assert "now equals study 'toy'" in synced_elsewhere(moved)
    assert list((moved / layout.MLFLOW_ARTIFACTS).glob("toy/*/artifacts/report.zh-TW.html"))
    assert json.loads((moved / "toy" / layout.MLFLOW).read_text())["tracking_uri"] == "sqlite:///mlflow.db"
    assert examine(moved, (), fix=True) == []
    assert not in_sqlite.runs.exists()


@pytest.mark.slow
@pytest.mark.parametrize("noted", ["as now", "by its whole path, as earlier versions did"])
def test_a_copied_runs_folder_has_its_own_store(in_sqlite, tmp_path, noted):
    if noted != "as now":
        (in_sqlite.runs / "toy" / layout.MLFLOW).write_text(
            json.dumps({"key": in_sqlite.key, "tracking_uri": in_sqlite.uri, "experiment": "toy"})
        )
    copy = tmp_path / "copy"
    shutil.copytree(in_sqlite.runs, copy)
    before, artifacts = found_in(in_sqlite), sorted((in_sqlite.runs / layout.MLFLOW_ARTIFACTS).rglob("*"))
    (copy / "toy/report.zh-TW.html").write_text("another report")
    assert "now equals study 'toy'" in synced_elsewhere(copy)
    assert synced_elsewhere(copy) == f"MLflow at sqlite:///{copy}/mlflow.db equals study 'toy'\n"
    assert discard(copy / "toy", copy, load_study(copy, "toy")[0], ignore) == 4
    assert {run.stage for run in in_file(copy / layout.MLFLOW_STORE)} == {"deleted"}
    assert found_in(in_sqlite) == before
    assert sorted((in_sqlite.runs / layout.MLFLOW_ARTIFACTS).rglob("*")) == artifacts
    check_right(in_sqlite)


@pytest.mark.slow
def test_the_runs_on_a_server_are_the_originals_and_a_copy_gets_its_own(on_server, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(on_server.runs, copy)
    spec = load_study(copy, "toy")[0]
    original = f"{on_server.runs}/toy"
    with pytest.raises(HpoError, match=f"^they are those of {original}, of which the study's folder is a copy$"):
        discard(copy / "toy", copy, spec, ignore)
    assert differences(copy) == [f"its mlflow.json is that of {original}, of which its folder is a copy"]
    assert synced(copy)[0] == (
        f"gave the study runs of its own: its mlflow.json was that of {original}, of which its folder is a copy"
    )
    assert discard(copy / "toy", copy, spec, ignore) == 4
    check_right(on_server)


@pytest.mark.slow
def test_a_folder_that_was_moved_keeps_its_runs_on_a_server(on_server, tmp_path):
    moved = tmp_path / "moved"
    on_server.runs.rename(moved)
    assert differences(moved) == []
    assert not sync(moved, "toy", pytest.fail)
    assert discard(moved / "toy", moved, load_study(moved, "toy")[0], ignore) == 4


# --- whether it is wanted, and who else is at it


def test_a_study_whose_tracking_was_switched_off_lacks_no_runs_until_they_are_asked_for(in_sqlite, untracked_spec):
    missing_run(in_sqlite)
    untracked_spec(in_sqlite)
    assert differences(in_sqlite.runs) == []
    in_sqlite.client.update_run(in_sqlite.run(2).id, status="RUNNING")
    assert differences(in_sqlite.runs) == ["1 run left open"]
    assert synced(in_sqlite.runs) == [
        "corrected 1 parent run with another status, other tags or other files",  # study.yaml itself is one
        "wrote 1 missing run",
        "completed and closed 1 run left open",
    ]
    check_right(in_sqlite)


@pytest.fixture
def untracked_spec():
    def write(store):
        spec = load_study(store.runs, "toy")[0].model_copy(update={"mlflow": None})
        (store.runs / "toy" / layout.SPEC).write_text(spec.to_yaml())

    return write


def test_a_finished_study_that_was_extended_is_no_difference_but_one_that_was_cut_short_is(in_sqlite):
    spec = load_study(in_sqlite.runs, "toy")[0]
    longer = spec.model_copy(update={"budget": spec.budget.model_copy(update={"trials": 50})})
    (in_sqlite.runs / "toy" / layout.SPEC).write_text(longer.to_yaml())
    assert differences(in_sqlite.runs) == []
    (in_sqlite.runs / "toy" / layout.SPEC).write_text(spec.to_yaml())
    in_sqlite.client.set_terminated(in_sqlite.parent, "KILLED")
    assert differences(in_sqlite.runs) == ["1 parent run with another status, other tags or other files"]
    synced(in_sqlite.runs)
    check_right(in_sqlite)


def test_while_another_process_writes_it_is_refused(in_sqlite):
    open_run(in_sqlite)
    with (
        place.writer_lock(in_sqlite.runs / "toy", pytest.fail),
        pytest.raises(HpoError, match="is writing it to MLflow now; it leaves nothing missing"),
    ):
        synced(in_sqlite.runs)
    assert in_file(in_sqlite.file) != list(in_sqlite.found)
    synced(in_sqlite.runs)
    check_right(in_sqlite)


def test_of_a_study_that_is_driven_finished_trials_are_written_and_the_parent_stays_open(in_sqlite):
    """Its own writer has died, or it runs with `mlflow: false`."""
    spec, study = load_study(in_sqlite.runs, "toy")
    running = study.ask()
    running.set_user_attr("hpo:job", study.trials[1].user_attrs["hpo:job"] | {"params": {"x": 0.5}})
    open_run(in_sqlite)
    assert differences(in_sqlite.runs, driven=True) == []
    for changed in (True, False):
        said = []
        assert make_equal(in_sqlite.runs, spec, study, in_sqlite.uri, "toy", True, said.append) == changed
    found = in_file(in_sqlite.file)
    assert parent_of(found).status == "RUNNING"
    assert [run.status for _, run in sorted(children_of(found).items())] == ["FINISHED"] * 3 + ["RUNNING"]


WRITES = (
    "create_experiment", "create_run", "log_batch", "set_terminated", "update_run", "set_tag", "delete_tag",
    "delete_run", "restore_run",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_death_at_any_write_of_a_sync_is_made_good_by_the_next(in_sqlite, monkeypatch):
    from mlflow.tracking import MlflowClient

    from hpo.trackers.mlflow import mirror

    writes = Writes()
    originals = {(MlflowClient, name): getattr(MlflowClient, name) for name in WRITES}
    originals[mirror, "upload"] = mirror.upload

    def let_die(deadly):
        for (owner, name), original in originals.items():
            monkeypatch.setattr(owner, name, writes.dying(original) if deadly else original)

    deaths = 0
    for writes.fatal in range(1, 100):
        let_die(False)
        store = replace_found(in_sqlite)
        store.client.update_run(store.run(0).id, status="RUNNING")
        doubled_closed_run(store)
        store.client.log_metric(store.run(2).id, "final/score", 9.0 + writes.fatal, timestamp=store.run(2).end, step=0)
        store.client.delete_run(store.parent)
        let_die(True)
        writes.made = 0
        try:
            sync(store.runs, "toy", ignore)
        except Death:
            deaths += 1
        else:
            break
        finally:
            let_die(False)
        sync(store.runs, "toy", ignore)
        check_right(store)
    assert deaths >= 15


def replace_found(store):
    own = [run for run in in_file(store.file) if run.tags.get("hpo.key") == store.key and run.stage == "active"]
    return replace(store, found=own)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("moment", range(6))
def test_after_a_kill_one_sync_makes_the_runs_equal_and_a_run_that_ends_by_itself_leaves_nothing(
    study_yaml, runs, moment
):
    chance = random.Random(3000 + moment)
    path = study_yaml(
        "slow", engine={"workers": 2}, budget={"trials": TRIALS}, constants={"seconds": 0.1}, mlflow=True,
        storage=[None, "sqlite:///study.db"][moment % 2], **TPE,
    )  # fmt: skip
    driver = start(path, runs)
    # The writer takes seconds to start: before it writes, while it makes its store, between its runs.
    time.sleep(chance.uniform(2.0, 12.0))
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    assert not psutil.wait_procs(processes_of(runs), timeout=240)[1]
    if (runs / "toy" / layout.SPEC).exists():  # it came that far
        sync(runs, "toy", ignore)
        assert differences(runs) == []
        assert not sync(runs, "toy", pytest.fail)
    finish(path, runs)
    check_books(runs, TRIALS)
    assert differences(runs) == []
    found = in_file(runs / layout.MLFLOW_STORE)
    check_all_is_there(runs, "toy", found)
    assert parent_of(found).status == "FINISHED"


def test_another_store_in_the_environment_is_not_looked_at(in_sqlite, monkeypatch, tmp_path):
    monkeypatch.setenv(place.ENVIRONMENT, f"sqlite:///{tmp_path}/other.db")
    open_run(in_sqlite)
    assert differences(in_sqlite.runs) == ["1 run left open"]
    assert not (tmp_path / "other.db").exists()
    assert os.environ[place.ENVIRONMENT]
