"""What only MLflow still has of a study's own files: the doctor takes it from there."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
from books import check_books

from hpo import layout
from hpo.doctor.examine import visit
from hpo.storage import history

# MLflow's own tables use it.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning")


@pytest.fixture
def tracked(ran, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return ran(mlflow=True)


def test_what_the_folder_has_lost_comes_from_mlflow(tracked):
    spec = tracked.directory / layout.SPEC
    before, steps = spec.read_text(), history.read(tracked.history(2))
    for content in (None, "name: toy\nobjective: [", ""):
        if content is None:
            spec.unlink()
        else:
            spec.write_text(content)
        (found,) = tracked.mend("spec-unreadable")
        assert "as MLflow has it" in found.remedy
        assert spec.read_text() == before
    assert spec.with_name("study.yaml.damaged").read_text() == "name: toy\nobjective: ["
    assert spec.with_name("study.yaml.damaged.2").read_text() == ""

    tracked.history(2).unlink()
    (found,) = tracked.mend("history-missing")
    assert "10 steps that MLflow has" in found.remedy
    assert history.read(tracked.history(2)) == steps


def test_a_lost_history_waits_for_mlflow_while_that_cannot_be_read(tracked):
    """Optuna has the first metric alone: what it has is not taken for all there was."""
    steps, away = history.read(tracked.history(2)), tracked.runs / "away"
    away.mkdir()
    for path in tracked.runs.glob(f"{layout.MLFLOW_STORE}*"):
        path.rename(away / path.name)
    (tracked.runs / layout.MLFLOW_STORE).write_bytes(b"not a database" * 100)
    tracked.history(2).unlink()
    # A process of its own: MLflow keeps what it has opened.
    command = [sys.executable, "-m", "hpo", "doctor", "--fix", "--json", "--runs", str(tracked.runs)]
    said = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=False).stdout)
    (found,) = [one for one in said["findings"] if one["check"] == "history-missing"]
    assert found["fate"] == "left"
    assert "look again when it can" in found["remedy"]
    assert not tracked.history(2).exists()
    for path in tracked.runs.glob(f"{layout.MLFLOW_STORE}*"):
        path.unlink()
    for path in away.iterdir():
        path.rename(tracked.runs / path.name)
    away.rmdir()
    tracked.mend("history-missing")
    assert history.read(tracked.history(2)) == steps


def test_a_folder_that_is_gone_is_made_again_of_what_mlflow_has(tracked):
    before = {number: history.read(tracked.history(number)) for number in range(4)}
    shutil.rmtree(tracked.directory)
    assert [one.finding.check for one in tracked.look()] == ["folder-missing"]
    mended = visit(tracked.runs, (), fix=True)
    assert {one.fate for one in mended} == {"mended"}, mended
    assert tracked.look() == []
    assert {number: history.read(tracked.history(number)) for number in range(4)} == before
    check_books(tracked.runs, 4)
