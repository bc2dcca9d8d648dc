from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

from hpo import layout

from .conftest import Hpo, environment


def tear(history: Path) -> None:
    history.write_bytes(history.read_bytes()[:-20])


def test_a_whole_study_and_what_is_said_of_it(hpo: Hpo, finished):
    assert hpo("doctor") == (said := hpo("doctor", "toy"))
    assert (said.code, said.out, said.err) == (0, "looked at 1 study: nothing is wrong\n", "")


def test_what_is_wrong_is_said_fixed_and_gone(hpo: Hpo, finished, runs: Path):
    trials = layout.trials_directory(runs / "toy")
    tear(trials / "1" / layout.HISTORY)
    (trials / "9").mkdir()
    said = hpo("doctor")
    assert (said.code, said.err) == (1, "")
    assert said.out.splitlines() == [
        "study toy",
        f"  history-missing (certain): {trials}/1/history.jsonl lacks 1 step that Optuna has",
        "    --fix would write what Optuna has of 1 step: score alone, the times spread evenly over the trial",
        f"  history-torn (certain): {trials}/1/history.jsonl: the last row is torn, as by a kill or a power cut",
        "    --fix would keep the whole rows, and a copy of the file as history.jsonl.damaged",
        f"  trial-unknown (certain): {trials}/9: Optuna knows no trial 9 of this study",
        "    --fix would move it to lost+found/trials/9",
        "",
        "looked at 1 study: 3 things are wrong; `hpo doctor --fix` fixes all of it",
    ]
    said = hpo("doctor", "toy", "--fix")
    assert said.code == 0
    assert said.out.splitlines()[-1] == "looked at 1 study: 3 things were wrong, 3 fixed, 0 left"
    assert f"  trial-unknown (certain): {trials}/9: Optuna knows no trial 9 of this study" in said.out.splitlines()
    assert "    done: move it to lost+found/trials/9" in said.out.splitlines()
    assert hpo("doctor").code == 0


def test_one_damaged_study_hides_no_other(hpo: Hpo, finished, runs: Path):
    hpo("run", finished, "--new-name", "other", "-q")
    (runs / "toy" / layout.SPEC).write_text("name: [")
    tear(layout.trial_directory(runs / "other", 0) / layout.HISTORY)
    said = hpo("doctor", "--json")
    assert said.code == 1
    document = json.loads(said.out)
    kinds = [(one["study"], one["check"], one["trial"], one["fixable"]) for one in document["findings"]]
    assert kinds == [
        ("toy", "spec-unreadable", None, False),
        ("other", "history-torn", 0, True),
        ("other", "history-missing", 0, True),
    ]
    assert (document["found"], document["mended"], document["left"]) == (3, 0, 3)
    said = hpo("doctor", "--fix", "--json")
    assert said.code == 1
    document = json.loads(said.out)
    assert (document["found"], document["mended"], document["left"]) == (3, 2, 1)
    assert {one["fate"] for one in document["findings"] if one["study"] == "other"} == {"mended"}
    assert hpo("doctor", "other").code == 0


def test_many_of_a_kind_are_cut(hpo: Hpo, finished, runs: Path):
    for number in range(100, 130):
        (layout.trials_directory(runs / "toy") / str(number)).mkdir()
    lines = hpo("doctor").out.splitlines()
    assert sum("trial-unknown (certain)" in line for line in lines) == 8
    assert "  ... and 22 more of trial-unknown (--json lists all)" in lines
    assert len(json.loads(hpo("doctor", "--json").out)["findings"]) == 30


def test_a_study_that_is_not_there(hpo: Hpo, finished, tmp_path: Path):
    said = hpo("doctor", "tyo")
    assert said.code == 2
    assert "Did you mean 'toy'?" in said.err
    said = hpo("doctor", "--runs", tmp_path / "empty")
    assert (said.code, said.out) == (2, "")
    assert f"there is no study in {tmp_path / 'empty'}" in said.err
    assert not (tmp_path / "empty").exists()


def test_on_a_terminal_it_shows_where_it_is(hpo: Hpo, finished, runs: Path):
    hpo("run", finished, "--new-name", "other", "-q")
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "hpo", "doctor"]
    ended = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=follower, env=environment(), text=True, timeout=300, check=False
    )
    os.close(follower)
    shown = os.read(leader, 10_000).decode()
    os.close(leader)
    assert (ended.returncode, ended.stdout) == (0, "looked at 2 studies: nothing is wrong\n")
    assert shown == "\r\x1b[K1/2 other\r\x1b[K2/2 toy\r\x1b[K"
