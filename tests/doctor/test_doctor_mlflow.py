"""The doctor and MLflow: it says that the runs of a study differ from it, and `--fix` makes them equal."""

from __future__ import annotations

import json
import shutil

import pytest
from mlflow_reading import check_all_is_there, children_of, in_file

from hpo import layout
from hpo.doctor.examine import examine
from hpo.storage.driver_lock import driver_lock
from hpo.trackers.mlflow import place
from hpo.trackers.mlflow.sync import sync

# MLflow 3.17's own tables use it; SQLAlchemy 2.1 says so when it first meets them.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning")


@pytest.fixture
def tracked(planted, monkeypatch):
    """A study that is in MLflow too."""
    monkeypatch.delenv(place.ENVIRONMENT, raising=False)
    spec = planted.directory / layout.SPEC
    spec.write_text(spec.read_text().replace("mlflow: false\n", "mlflow: true\n"))
    sync(planted.runs, "toy", lambda text: None)
    return planted


@pytest.fixture
def differing(tracked):
    """Its run of trial 1 is open."""
    from hpo.trackers.mlflow.client import client_of

    uri = f"sqlite:///{tracked.runs / layout.MLFLOW_STORE}"
    run = children_of(in_file(tracked.runs / layout.MLFLOW_STORE))[1].id
    client_of(uri).update_run(run, status="RUNNING")
    return tracked


def check_right(planted):
    check_all_is_there(planted.runs, "toy", in_file(planted.runs / layout.MLFLOW_STORE))


def test_runs_that_differ_are_one_finding_and_fixed_by_a_sync(differing):
    (found,) = differing.fix("mlflow-differs")
    assert found.said == "MLflow's runs differ from the study: 1 run left open"
    assert (found.study, found.trial, found.sure) == ("toy", None, "certain")
    assert found.remedy == f"run `hpo mlflow toy --sync --runs {differing.runs}`"
    check_right(differing)


@pytest.mark.slow
def test_runs_of_a_study_that_is_driven_are_left_to_its_writer(differing):
    with driver_lock(differing.directory):
        assert examine(differing.runs, (), fix=True) == []
        (differing.directory / layout.MLFLOW).unlink()
        assert examine(differing.runs, (), fix=True) == []


@pytest.mark.slow
def test_while_another_process_writes_nothing_is_fixed(differing):
    with place.writer_lock(differing.directory, pytest.fail):
        (one,) = examine(differing.runs, (), fix=True)
    assert (one.finding.check, one.result) == ("mlflow-differs", "failed")
    assert "is writing it to MLflow now" in one.why


@pytest.mark.slow
@pytest.mark.parametrize("content", [None, "{"])
def test_a_note_of_the_runs_that_is_lost_is_found_again(tracked, content):
    noted = tracked.directory / layout.MLFLOW
    before = place.read_place(tracked.directory)
    noted.unlink()
    if content is not None:
        noted.write_text(content)
    (found,) = tracked.fix("mlflow-lost")
    assert str(noted) in found.said
    assert place.read_place(tracked.directory) == before
    assert noted.with_name("mlflow.json.damaged").exists() == (content is not None)
    check_right(tracked)


def test_a_store_that_cannot_be_read_is_said_and_left(tracked):
    elsewhere = tracked.runs / "other.db"
    elsewhere.write_bytes(b"no database" * 1000)
    noted = tracked.directory / layout.MLFLOW
    noted.write_text(json.dumps(json.loads(noted.read_text()) | {"tracking_uri": f"sqlite:///{elsewhere}"}))
    (one,) = examine(tracked.runs, (), fix=True)
    assert (one.finding.check, one.result) == ("mlflow-unreachable", "left")
    assert one.finding.said.startswith(f"MLflow at sqlite:///{elsewhere} cannot be read: ")


def test_nothing_flows_back_from_mlflow(tracked):
    """MLflow has study.yaml and every history; what the study has lost is for the user all the same."""
    shutil.rmtree(tracked.directory)
    (one,) = examine(tracked.runs, (), fix=True)
    assert (one.finding.check, one.result) == ("folder-missing", "left")
    assert not tracked.directory.exists()
