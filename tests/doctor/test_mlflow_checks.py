"""The doctor and MLflow in its default store, a SQLite file: each mistake is planted, found, mended, and gone."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from pathlib import Path
from urllib.parse import urlparse

import pytest
from books import TPE, TRIALS, check_books, finish, processes_of, start
from mlflow_plants import PLANTS, Store, a_metric_that_the_history_lost, open_run, plants
from mlflow_reading import check_all_is_there, in_file, parent_of
from waiting import leftover

from hpo import layout, runner
from hpo.doctor import mlflow_checks
from hpo.doctor.context import Case
from hpo.errors import HpoError
from hpo.spec.load import load_spec
from hpo.storage import history
from hpo.storage.load_study import load_study
from hpo.trackers.mlflow import place
from hpo.trackers.mlflow.sync import sync

# MLflow 3.17's own tables use it; SQLAlchemy 2.1 says so when it first meets them.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning")

# What the words for a planted mistake must say, and how sure; `trial`: that it is of trial 1 alone.
SAID = {
    "open-run": ("trial 1 ended, and its run in MLflow is open", "certain", True),
    "doubled-run": ("trial 1 has more than one run in MLflow", "certain", True),
    "missing-run": ("trial 1 ended, and has no run in MLflow", "certain", True),
    "unknown-trial": ("MLflow has runs of trial 99, which the study does not have", "certain", False),
    "unknown-run": ("MLflow has runs with the study's key whose tags do not say of which trial", "likely", False),
    "other-trial": ("the run of trial 1 in MLflow is of another trial of that number (", "likely", True),
    "open-parent": ("the study's parent run in MLflow is open, and nobody drives the study", "certain", False),
    "doubled-parent": ("the study has 2 parent runs in MLflow", "certain", False),
    "missing-parent": ("the study has no parent run in MLflow", "certain", False),
    "study-status": ("the study's parent run in MLflow is FAILED rather than FINISHED", "certain", False),
    "wrong-parent": ("the run of trial 1 is not below the study's parent run in MLflow", "certain", True),
    "ended-otherwise": ("trial 1 ended otherwise than its run in MLflow: ", "certain", True),
    "values": ("the run of trial 1 in MLflow has other values: ", "likely", True),
    "points": ("the run of trial 1 in MLflow lacks metrics (", "certain", True),
    "more": ("MLflow has metrics of trial 1 that history.jsonl does not have (10 values)", "likely", True),
    "artifacts": ("the run of trial 1 in MLflow lacks files: history.jsonl", "certain", True),
    "study-artifacts": ("the study's parent run in MLflow lacks files: study.yaml", "certain", False),
    "experiment-deleted": ("MLflow's experiment of the study is in MLflow's trash", "possible", False),
}


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    return tmp_path_factory.mktemp("once") / "runs"


@pytest.fixture
def case(study_yaml, runs, once, monkeypatch):
    """A study of three trials, tracked in the default store."""
    monkeypatch.delenv(place.ENVIRONMENT, raising=False)
    empty = once.parent / "empty.db"
    if not once.exists():
        from hpo.trackers.mlflow.client import client_of

        client_of(f"sqlite:///{empty}").search_experiments()
        runner.run(load_spec(study_yaml(budget={"trials": 3})), once)
    spec = load_spec(study_yaml(budget={"trials": 3}, mlflow=True))
    shutil.copytree(once, runs)
    shutil.copyfile(empty, runs / layout.MLFLOW_STORE)
    (runs / "toy" / layout.SPEC).write_text(spec.to_yaml())
    sync(runs, "toy", pytest.fail)
    return case_of(runs)


def case_of(runs, name="toy", driver=None):
    spec, study = load_study(runs, name)
    trials = study.get_trials(deepcopy=False)
    return Case(runs, name, runs / name, spec, study, study._storage, trials, driver)


@pytest.fixture
def store(case):
    from hpo.trackers.mlflow.client import client_of

    uri = f"sqlite:///{case.runs / layout.MLFLOW_STORE}"
    client = client_of(uri)

    def artifacts(run):
        return Path(urlparse(client.get_run(run).info.artifact_uri).path)

    file = case.runs / layout.MLFLOW_STORE
    return Store(client, uri, "toy", file, artifacts, case.runs, in_file(file))


def find(case):
    return [finding for check in mlflow_checks.CHECKS for finding in check(case)]


def mend(case):
    """As the doctor's visit does: looks again after what it mended, at most three times."""
    for _ in range(3):
        found = find(case)
        if not found:
            return
        for finding in found:
            finding.mend()


def check_right(runs, name="toy"):
    assert find(case_of(runs, name)) == []
    key = place.read_place(runs / name).key
    found = [run for run in in_file(runs / layout.MLFLOW_STORE) if run.tags.get("hpo.key") == key]
    check_all_is_there(runs, name, found)
    assert parent_of(found).status == "FINISHED"


def test_nothing_is_found_in_what_was_written(case):
    check_right(case.runs)


@pytest.mark.parametrize("plant", plants(of_databases=True))
def test_each_mistake_is_found_mended_and_gone(store, case, plant):
    before = (case.folder(1) / layout.HISTORY).read_bytes()
    plant(store)
    found = find(case)
    assert {finding.check for finding in found} == {f"mlflow-{kind}" for kind in PLANTS[plant]}
    for finding in found:
        said, sure, of_one = SAID[finding.check.removeprefix("mlflow-")]
        assert finding.said.startswith(said)
        assert not finding.said.endswith(".")
        assert (finding.study, finding.sure) == ("toy", sure)
        assert finding.trial == (1 if of_one else 99 if "99" in said else None)
        assert finding.remedy
        assert "{" not in finding.said + finding.remedy
    mend(case)
    check_right(case.runs)
    assert (case.folder(1) / layout.HISTORY).read_bytes() == before
    assert in_file(store.file) != []


def test_several_at_once_are_told_of_each_and_mended_together(store, case):
    for number in range(3):
        store.client.update_run(store.run(number).id, status="RUNNING")
    store.client.delete_run(store.parent)
    (store.artifacts(store.run(0).id) / layout.HISTORY).unlink()
    found = {finding.check: finding for finding in find(case)}
    assert set(found) == {"mlflow-open-run", "mlflow-missing-parent"}
    assert found["mlflow-open-run"].said == "trials 0, 1, 2 ended, and their runs in MLflow are open"
    assert found["mlflow-open-run"].trial is None
    found["mlflow-missing-parent"].mend()
    check_right(case.runs)


def test_a_store_whose_file_is_gone_is_written_anew_and_not_by_looking(store, case):
    store.file.unlink()
    for suffix in ("-wal", "-shm"):
        Path(f"{store.file}{suffix}").unlink(missing_ok=True)
    found = {finding.check: finding.said for finding in find(case)}
    assert found == {
        "mlflow-missing-parent": "the study has no parent run in MLflow",
        "mlflow-missing-run": "trials 0, 1, 2 ended, and have no run in MLflow",
    }
    assert not store.file.exists()


def test_a_store_that_is_no_database_is_one_finding(store, case):
    for suffix in ("-wal", "-shm"):
        Path(f"{store.file}{suffix}").unlink(missing_ok=True)
    elsewhere = case.runs / "other.db"
    elsewhere.write_bytes(b"no database" * 1000)
    noted = case.directory / layout.MLFLOW
    noted.write_text(json.dumps(json.loads(noted.read_text()) | {"tracking_uri": f"sqlite:///{elsewhere}"}))
    (finding,) = find(case)
    assert (finding.check, finding.sure, finding.mend) == ("mlflow-unreachable", "certain", None)
    assert finding.said.startswith(f"MLflow at sqlite:///{elsewhere} cannot be read: ")
    assert "\n" not in finding.said


@pytest.mark.parametrize("content", [None, "", "{", '{"key": ', "[]", '{"experiment": "toy"}', "\0" * 80])
def test_a_note_that_is_lost_is_found_again_in_mlflow(store, case, content):
    noted = case.directory / layout.MLFLOW
    before = place.read_place(case.directory)
    noted.unlink()
    if content is not None:
        noted.write_text(content)
    (finding,) = find(case)
    assert (finding.check, finding.sure) == ("mlflow-lost", "likely")
    what = "is gone" if content is None else "cannot be read"
    assert finding.said == f"{noted} {what}; MLflow has runs of 'toy' that started when its trials did"
    finding.mend()
    assert place.read_place(case.directory) == before
    assert (noted.with_name("mlflow.json.damaged").exists()) == (content is not None)
    check_right(case.runs)


def test_runs_of_an_earlier_study_of_that_name_are_not_taken_for_its_own(store, case):
    """Deleted and made anew: the runs are there, of other moments."""
    store.sql("update runs set start_time = start_time - 3600000")
    noted = case.directory / layout.MLFLOW
    before = place.read_place(case.directory)
    noted.write_text("{")
    (finding,) = find(case)
    assert (finding.check, finding.sure) == ("mlflow-lost", "certain")
    assert finding.said == f"{noted} cannot be read, and MLflow has no runs of the study where study.yaml says"
    mend(case)
    assert noted.with_name("mlflow.json.damaged").read_text() == "{"
    assert place.read_place(case.directory).key != before.key
    check_right(case.runs)


def test_a_study_that_was_never_written_is_written_if_its_yaml_asks_for_it(store, case):
    key = place.read_place(case.directory).key
    store.sql("update tags set value = 'another' where key = 'hpo.study'")
    (case.directory / layout.MLFLOW).unlink()
    (finding,) = find(case)
    assert finding.said == "3 trials ended, and none was ever written to MLflow, which study.yaml asks for"
    finding.mend()
    assert place.read_place(case.directory).key != key
    check_right(case.runs)
    (case.directory / layout.MLFLOW).unlink()
    spec = case.spec.model_copy(update={"mlflow": None})
    (case.directory / layout.SPEC).write_text(spec.to_yaml())
    assert find(case_of(case.runs)) == []


def test_a_study_whose_tracking_was_switched_off_lacks_no_runs(store, case):
    store.client.set_tag(store.run(1).id, "hpo.key", "elsewhere")
    (case.directory / layout.SPEC).write_text(case.spec.model_copy(update={"mlflow": None}).to_yaml())
    assert find(case_of(case.runs)) == []
    open_run(store)  # what is there must be right all the same: this one is no longer the study's
    assert find(case_of(case.runs)) == []
    store.client.update_run(store.run(2).id, status="RUNNING")
    assert [finding.check for finding in find(case_of(case.runs))] == ["mlflow-open-run"]


def test_a_finished_study_that_was_extended_is_no_mistake_but_one_that_was_cut_short_is(store, case):
    spec = case.spec.model_copy(update={"budget": case.spec.budget.model_copy(update={"trials": 50})})
    (case.directory / layout.SPEC).write_text(spec.to_yaml())
    assert find(case_of(case.runs)) == []
    (case.directory / layout.SPEC).write_text(case.spec.to_yaml())
    store.client.set_terminated(store.parent, "KILLED")
    (finding,) = find(case)
    assert finding.said == "the study's parent run in MLflow is KILLED rather than FINISHED"
    mend(case)
    check_right(case.runs)


def test_another_store_in_the_environment_is_not_written_to(store, case, monkeypatch, tmp_path):
    monkeypatch.setenv(place.ENVIRONMENT, f"sqlite:///{tmp_path}/other.db")
    open_run(store)
    mend(case)
    assert not (tmp_path / "other.db").exists()
    check_right(case.runs)


def test_while_another_process_writes_nothing_is_mended(store, case):
    open_run(store)
    (finding,) = find(case)
    with place.writer_lock(case.directory, pytest.fail), pytest.raises(HpoError, match="another process is writing"):
        finding.mend()
    mend(case_of(case.runs))
    check_right(case.runs)


def test_a_study_that_is_driven_is_left_to_its_writer(store, case):
    open_run(store)
    driven = case_of(case.runs, driver={"host": "here", "pid": os.getpid()})
    assert find(driven) == []
    (case.directory / layout.MLFLOW).unlink()
    assert find(driven) == []


def test_what_mlflow_knows_of_a_history_is_added_to_it_and_what_it_has_stays(store, case):
    path = case.folder(1) / layout.HISTORY
    whole = history.read(path)
    a_metric_that_the_history_lost(store)
    rows = path.read_text().splitlines(keepends=True)
    path.write_text("".join(rows[:4] + rows[5:]))  # and a step, of which Optuna is not to know
    trial = case.study._storage.get_trial(case.trials[1]._trial_id)
    assert 4 in trial.intermediate_values
    assert find(case) == []  # a history that lacks what Optuna has is another finding, mended before
    path.write_text("".join(rows))
    (finding,) = find(case)
    assert finding.check == "mlflow-more"
    finding.mend()
    assert history.read(path) == whole
    damaged = path.with_name("history.jsonl.damaged").read_text()
    assert damaged == "".join(rows)
    check_right(case.runs)


def test_the_history_of_a_trial_is_none_without_a_store(case):
    assert len(mlflow_checks.steps_in_mlflow(case, 1)) == 10
    (case.directory / layout.MLFLOW).unlink()
    assert mlflow_checks.steps_in_mlflow(case, 1) is None


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(6))
def test_after_a_kill_the_runs_agree_and_a_run_that_ends_by_itself_leaves_nothing_to_mend(
    study_yaml, runs, monkeypatch, moment
):
    monkeypatch.delenv(place.ENVIRONMENT, raising=False)
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
    assert not leftover(processes_of(runs))
    mend(case_of(runs))
    assert find(case_of(runs)) == []
    finish(path, runs)
    check_books(runs, TRIALS)
    check_right(runs)
