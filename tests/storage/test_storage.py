"""Real journals, SQLite and PostgreSQL; torn files, dead locks, passwords."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import optuna
import pytest
from servers import PostgreSQL

from hpo.errors import StorageError, StudyChanged, StudyNotFound
from hpo.runner import run
from hpo.storage.load_study import load_study
from hpo.storage.open import open_storage, storage_url
from hpo.text import redact
from hpo.trackers.base import Tracker


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ann:secret@db.lab:5432/hpo", "postgresql://ann@db.lab:5432/hpo"),
        ("postgresql+psycopg2://ann:p@ss:word@db/hpo", "postgresql+psycopg2://ann@db/hpo"),
        ("postgresql://db/hpo?user=ann&password=secret", "postgresql://db/hpo?user=ann"),
        ("postgresql://db/hpo?password=secret&user=ann", "postgresql://db/hpo?user=ann"),
        ("postgresql://ann:pa/ss?word@db/hpo", "postgresql://ann@db/hpo"),
        ("postgresql://db:5432/hpo?options=a@b", "postgresql://db:5432/hpo?options=a@b"),
        ("mysql://db/hpo?passwd=secret&user=ann", "mysql://db/hpo?user=ann"),
        ("sqlite:////home/ann/study.db", "sqlite:////home/ann/study.db"),
        ("journal:/home/ann/runs/journal.log", "journal:/home/ann/runs/journal.log"),
    ],
)
def test_passwords_are_removed(url, shown):
    assert redact(url) == shown
    assert redact(f"cannot reach {url} today") == f"cannot reach {shown} today"


def test_the_default_storage_is_the_journal_of_the_runs_folder(make_spec, runs):
    assert storage_url(make_spec(), runs) == f"journal:{runs}/journal.log"


def test_sqlite_writes_ahead(tmp_path):
    storage = open_storage(f"sqlite:///{tmp_path}/study.db")
    with storage.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 60_000
    storage.engine.dispose()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://ann:secret@127.0.0.1:9/hpo", "the storage postgresql://ann@127.0.0.1:9/hpo cannot be opened"),
        ("sqlite:////proc/none/study.db", "the storage sqlite:////proc/none/study.db cannot be opened"),
        ("journal:/proc/none/journal.log", "the storage journal:/proc/none/journal.log cannot be opened"),
    ],
)
def test_a_storage_that_cannot_be_opened_is_a_sentence_without_its_password(url, words):
    with pytest.raises(StorageError) as caught:
        open_storage(url)
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_study_that_is_not_there_offers_the_nearest(make_spec, runs):
    with pytest.raises(StudyNotFound, match="it holds none"):
        load_study(runs, "toy")
    run(make_spec(), runs)
    with pytest.raises(StudyNotFound, match=r"no study 'tyo' in .*it holds toy. Did you mean 'toy'"):
        load_study(runs, "tyo")


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory):
    server = PostgreSQL(tmp_path_factory.mktemp("postgresql"))
    yield server.url("hpo")
    server.close()


def test_a_study_in_postgresql_is_resumed_there(make_spec, runs, postgresql):
    class Stop(Tracker):
        def trial_finished(self, job, outcome, progress):
            if progress.complete == 2:
                os.kill(os.getpid(), 2)

    spec = make_spec("slow", storage=postgresql)
    assert run(spec, runs, [Stop()]).progress.complete == 2
    result = run(spec, runs)
    assert result.progress.complete == 4
    trials = load_study(runs, "toy")[1].trials
    assert all(len(trial.intermediate_values) == 10 for trial in trials if trial.state.name == "COMPLETE")


@pytest.mark.slow
def test_two_studies_share_a_journal_at_the_same_time(study_yaml, runs, tmp_path):
    drivers = []
    for name in ("one", "two"):
        path = study_yaml("slow", name=name).rename(tmp_path / f"{name}.yaml")
        command = [sys.executable, "-m", "hpo", "run", str(path), "--runs", str(runs)]
        drivers.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
    for driver in drivers:
        output = driver.communicate(timeout=300)[0]
        assert driver.returncode == 0, output
    for name in ("one", "two"):
        assert len(load_study(runs, name)[1].trials) == 4
    for line in (runs / "journal.log").read_text().splitlines():
        json.loads(line)


def test_a_study_of_the_same_name_that_hpo_did_not_make_is_refused(make_spec, runs):
    spec = make_spec()
    study = optuna.create_study(study_name="toy", storage=open_storage(storage_url(spec, runs)))
    study.tell(study.ask(), 1.0)
    with pytest.raises(StudyChanged, match=r"already holds a study 'toy' that hpo did not make; .* --new-name toy-2"):
        run(spec, runs)
