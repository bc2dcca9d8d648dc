"""Studies that were whole, and what a test plants in them."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import sqlite3

import optuna
import pytest
from books import check_books

from hpo import layout
from hpo.doctor.examine import examine
from hpo.oracle.oracle import Oracle
from hpo.oracle.queue import Queue
from hpo.runner import run
from hpo.spec.load import load_spec
from hpo.storage.load_study import load_study
from hpo.storage.open import open_storage, storage_url
from hpo.warm_start.trust import WarmStart


class Planted:
    """A finished study `toy` of 4 trials, to be damaged. path: its study.yaml."""

    def __init__(self, path, runs):
        self.path, self.runs, self.directory = path, runs, runs / "toy"

    @property
    def study(self):
        """The study, to be written."""
        spec, _ = load_study(self.runs, "toy")
        return optuna.load_study(study_name="toy", storage=open_storage(storage_url(spec, self.runs)))

    @property
    def spec(self):
        return load_spec(self.path)

    def folder(self, number):
        return layout.trial_directory(self.directory, number)

    def history(self, number):
        return self.folder(number) / layout.HISTORY

    def oracle(self, trials=8):
        spec = load_spec(self.path, [f"budget.trials={trials}"])
        storage = open_storage(storage_url(spec, self.runs))
        return Oracle(spec, optuna.load_study(study_name="toy", storage=storage), self.directory)

    def left_by_a_dead_driver(self, trials=8, save=False):
        """A trial that was running when its driver died, after three steps; its number."""
        oracle = self.oracle(trials)
        job = oracle.ask()
        for step in range(3):
            oracle.report(job.number, step, {"score": -((job.params["x"] - 0.3) ** 2) - 1.0 / (step + 1)})
        if save:
            (job.directory / layout.CHECKPOINT).write_bytes(b"\x80\x05K\x02.")  # pickle.dumps(2, 5)
        oracle.close()
        return job.number

    def queue(self):
        return Queue(self.spec, self.study, WarmStart((), 0, True))

    def finish(self, trials):
        """The study, driven to its end: exactly `trials` count, and the books agree."""
        result = run(load_spec(self.path, [f"budget.trials={trials}"]), self.runs)
        assert result.done
        return check_books(self.runs, trials)

    def state(self):
        """Every file but locks and what SQLite keeps beside a database, and its content."""
        return {
            str(path.relative_to(self.runs)): hashlib.sha256(_content(path)).hexdigest()
            for path in sorted(self.runs.rglob("*"))
            if path.is_file() and not path.name.endswith((".flock", ".lock", "-shm", "-wal"))
        }

    def look(self):
        """What is found, by kind and trial; a look changes nothing."""
        before = self.state()
        found = examine(self.runs, (), fix=False)
        assert self.state() == before
        assert {one.result for one in found} <= {"left"}
        return found

    def fix(self, *kinds):
        """Looks, fixes, and looks again; returns what was found, which is of these kinds."""
        found = self.look()
        assert sorted(one.finding.check for one in found) == sorted(kinds), found
        fixed = examine(self.runs, (), fix=True)
        assert {one.result for one in fixed} == {"fixed"}, fixed
        assert {one.finding.check for one in fixed} >= set(kinds)
        assert self.look() == []
        return [one.finding for one in found]


def _content(path):
    if path.suffix != ".db":
        return path.read_bytes()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return "\n".join(connection.iterdump()).encode()


SLOW = {"engine": {"name": "inline"}, "constants": {"seconds": 0.0}}


@pytest.fixture(scope="session")
def whole_runs(tmp_path_factory):
    """A runs folder with a study `toy`, to be copied: a journal does not mind where it lies."""
    return tmp_path_factory.mktemp("whole") / "runs"


@pytest.fixture
def ran(study_yaml, runs):
    """Runs a study of an objective; keys override."""

    def make(objective="slow", **keys):
        path = study_yaml(objective, **(SLOW | keys))
        run(load_spec(path), runs)
        return Planted(path, runs)

    return make


@pytest.fixture
def planted(study_yaml, runs, whole_runs):
    """A study of the objective `slow`."""
    path = study_yaml("slow", **SLOW)
    if not whole_runs.exists():
        run(load_spec(path), whole_runs)
    shutil.copytree(whole_runs, runs)
    return Planted(path, runs)


@pytest.fixture(params=["journal", "sqlite"])
def planted_anywhere(request, planted, runs):
    """The same in either storage."""
    if request.param == "journal":
        return planted
    shutil.rmtree(runs)
    return request.getfixturevalue("ran")(storage="sqlite:///study.db")
