from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from hpo.errors import StudyNotFound
from hpo.storage.load_study import load_study

from .conftest import Hpo, environment


def test_delete_removes_the_study_and_its_files_and_no_other(hpo: Hpo, finished, runs: Path):
    hpo("run", finished, "--new-name", "other", "--trials", 1, "-q")
    said = hpo("delete", "toy", "--yes")
    assert (said.code, said.out) == (0, "deleted study 'toy' (4 trials)\n")
    assert not (runs / "toy").exists()
    with pytest.raises(StudyNotFound):
        load_study(runs, "toy")
    assert len(load_study(runs, "other")[1].trials) == 1
    assert hpo("run", finished, "-q").code == 0, "the name is free again"


def test_without_a_terminal_it_needs_yes(hpo_process: Hpo, finished, runs: Path):
    said = hpo_process("delete", "toy")
    assert said.code == 1
    assert "study 'toy' (4 trials)" in said.err
    assert "needs --yes" in said.err
    assert (runs / "toy").exists()


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 1), ("\n", 1)])
def test_on_a_terminal_it_asks(finished, runs: Path, answer, code):
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "hpo", "delete", "toy"]
    asked = subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, env=environment())
    os.write(leader, answer.encode())
    assert asked.wait(timeout=300) == code
    assert (runs / "toy").exists() is (code != 0)
    assert b"Delete study 'toy' (4 trials)" in os.read(leader, 4096)
    os.close(leader)
    os.close(follower)


def test_the_study_must_be_named(hpo: Hpo, finished):
    assert hpo("delete", "--yes").code == 2


def test_a_study_that_is_only_a_folder_any_more_can_be_deleted(hpo: Hpo, finished, runs: Path):
    (runs / "journal.log").unlink()
    assert hpo("delete", "toy", "-y").code == 0
    assert not (runs / "toy").exists()
