"""`hpo confirm`, and the commands that know of a confirmation."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import Hpo

Write = Callable[..., Path]
KEYS = {"engine": "inline", "enqueue": [{"x": x} for x in (0.1, 0.9, 0.902, 0.5)]}


@pytest.fixture
def searched(hpo: Hpo, study_yaml: Write) -> Path:
    path = study_yaml("lucky", **KEYS)
    hpo("run", path, "--quiet")
    return path


def test_a_confirmation_from_the_command_to_the_report(hpo: Hpo, searched: Path) -> None:
    before = hpo("best")
    assert (before.code, before.err) == (
        0,
        "Not confirmed: `hpo confirm` trains the best ones again with fresh seeds.\n",
    )
    said = hpo("confirm", "--top", "2", "--seeds", "3")
    assert said.code == 0, said.err
    assert "study      toy.confirm" in said.out
    assert "budget     15 trials" in said.out
    assert "Confirmed: trial 2, score" in said.out or "Confirmed: trial 1, score" in said.out
    assert "by 3 seeds that did not choose it." in said.out
    assert "It is better than the reference, trial 0, by +" in said.out

    again = hpo("confirm", "toy", "--json")
    found = json.loads(again.out)["confirmation"]
    assert (again.code, found["done"], found["study"], found["name"]) == (0, True, "toy", "toy.confirm")
    assert "nothing was left to run\n" in again.err
    best = hpo("best", "toy", "--json")
    assert json.loads(best.out)["confirmed"] is True
    assert json.loads(best.out)["trial"] == found["winner"]["trial"]
    # The study last driven is now the confirmation; its best is the winner too, not its luckiest training.
    after = hpo("best")
    assert after.err.startswith(f"Confirmed: trial {found['winner']['trial']}, score")
    assert "# Confirmed: trial" in after.out
    other = hpo("best", "toy", "--trial", "3")
    assert other.err == f"The confirmed winner is trial {found['winner']['trial']}.\n"

    report = Path("runs/toy/report.md").read_text()
    assert "## Confirmation\n\nConfirmed: trial" in report
    first = report.split("\n## ")[1]
    assert first.startswith("What was found")
    assert "Confirmed: trial" in first
    assert "hpo confirm" not in first  # as the next command
    own = Path("runs/toy.confirm/report.md").read_text()
    assert "## Confirmation" in own
    assert "## Best configuration" not in own
    written = json.loads(Path("runs/toy/report.json").read_text())["confirmation"]
    assert written["winner"]["trial"] == found["winner"]["trial"]
    # Its module has an `evaluate`, which counts the files: of the winner alone, for the reference was left behind.
    assert written["winner"]["test"]["score"][1] == 3


def test_a_confirmation_is_steered_and_reported_as_any_study(hpo: Hpo, searched: Path) -> None:
    said = hpo("confirm", "--top", "1", "--seeds", "2", "--quiet")
    assert "[1/" not in said.out + said.err
    assert "winner" in said.out
    status = hpo("status", "toy.confirm")
    assert status.code == 0
    assert "\nconfirmed" in status.out
    assert "\nbest" not in status.out  # that is the training with the luckiest seed
    assert hpo("trials", "toy.confirm").code == 0
    assert hpo("report", "toy.confirm").code == 0
    assert hpo("report", "toy", "--lang", "zh-TW").code == 0
    assert "## 確認" in Path("runs/toy/report.zh-TW.md").read_text()
    assert hpo("doctor", "toy.confirm").code == 0
    refused = hpo("confirm", "toy", "--per-group")
    assert (refused.code, refused.err.startswith("hpo: --per-group: study 'toy' has no group_by")) == (1, True)


@pytest.mark.slow
def test_a_run_that_confirms_at_its_end(hpo: Hpo, study_yaml: Write) -> None:
    path = study_yaml("lucky", **KEYS, confirm={"top": 1, "seeds": 2}, budget={"trials": 16})
    said = hpo("run", path)
    assert said.code == 0, said.err
    assert "8 of 8 trials finished" in said.out
    assert "Confirmed: trial" in said.out
    again = hpo("run", path, "--json")
    assert again.code == 0
    assert json.loads(again.out)["confirmation"]["done"] is True


def test_a_study_without_a_complete_trial(hpo: Hpo, study_yaml: Write) -> None:
    hpo("run", study_yaml("raising", **(KEYS | {"enqueue": [{"x": 0.9}], "budget": {"trials": 1}})), "--quiet")
    said = hpo("confirm")
    assert said.code == 1
    assert "no trial of study 'toy' has completed, so there is nothing to confirm" in said.err


@pytest.mark.slow
def test_its_study_yaml_runs_it_as_a_queue_does(hpo: Hpo, searched: Path) -> None:
    assert hpo("confirm", "--top", "1", "--seeds", "2", "--quiet").code == 0
    written = Path("runs/toy/report.md").read_text()
    Path("runs/toy/report.md").unlink()
    said = hpo("run", "runs/toy.confirm/study.yaml")
    assert said.code == 0, said.err
    assert "Confirmed: trial" in said.out
    assert "## Confirmation" in written
    assert "## Confirmation" in Path("runs/toy/report.md").read_text()
    assert json.loads(Path("runs/toy/confirmed.json").read_text()).keys() >= {"0"}
    own = Path("runs/toy.confirm/report.md").read_text()
    # What is best in it is the winner, not the training with the luckiest seed.
    assert "best score" not in own.split("## Setup")[0]


@pytest.mark.slow
def test_the_tags_of_the_runs_in_mlflow(hpo: Hpo, study_yaml: Write, default_store: Path) -> None:
    hpo("run", study_yaml("lucky", **KEYS, mlflow=True), "--quiet")
    # In a process of its own: MLflow warns of itself, which is an error in this one.
    command = [sys.executable, "-P", "-m", "hpo", "confirm", "--top", "1", "--seeds", "2", "--quiet"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert said.returncode == 0, said.stderr
    with closing(sqlite3.connect(default_store)) as store:
        found = store.execute(
            "select key, value from tags where key like 'hpo.confirm%' or key = 'hpo.part'"
        ).fetchall()
    kinds = {key: {value for name, value in found if name == key} for key, _ in found}
    winner = json.loads(hpo("best", "toy", "--json").out)["trial"]
    assert kinds["hpo.part"] == {"choose", "estimate"}
    assert kinds["hpo.confirms"] == {"toy/0", f"toy/{winner}"}
    assert "winner" in kinds["hpo.confirmed"]
