"""A named pipe in place of any file of a runs folder: no command waits for its other end, or ends in a traceback."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from hpo import layout
from tests.cli.conftest import Hpo

COMMANDS = (("list",), ("status", "toy"), ("report", "toy"), ("doctor",), ("doctor", "--fix"), ("logs", "toy"))
FILES = [
    *("toy/driver.log", "toy/identity.json", "toy/steering.json", "toy/driver.lock", "toy/study.yaml"),
    *("toy/mlflow.lock", "toy/mlflow.log", "toy/mlflow.json", "toy/report.html", "toy/workers/0.log"),
    *("toy/trials/1/history.jsonl", "toy/trials/1/output.log", "journal.log", "mlflow.db"),
]


@pytest.mark.parametrize("name", FILES)
def test_no_command_waits_for_a_pipe(hpo: Hpo, study_yaml: Callable[..., Path], runs: Path, name: str) -> None:
    path = study_yaml("smooth", engine="inline", budget={"trials": 2})
    assert hpo("run", path, "--quiet").code == 0
    there = runs / name
    there.unlink(missing_ok=True)
    there.parent.mkdir(exist_ok=True)
    os.mkfifo(there)
    for command in (*COMMANDS, ("run", path, "--trials", 3, "--quiet"), *COMMANDS[:2]):
        said = hpo(*command)
        assert said.code in (0, 1, 2), (command, said)
        assert "Traceback" not in said.out + said.err, (command, said)
        if said.code and command != ("doctor",):
            assert str(there) in said.out + said.err, (command, said)


@pytest.mark.parametrize("place", ["toy", "toy/trials"])
@pytest.mark.parametrize("target", ["nowhere", "itself"])
def test_a_link_that_leads_nowhere_is_a_sentence(
    hpo: Hpo, study_yaml: Callable[..., Path], runs: Path, place: str, target: str
) -> None:
    path = study_yaml("smooth", engine="inline", budget={"trials": 2})
    assert hpo("run", path, "--quiet").code == 0
    there = runs / place
    shutil.rmtree(there)
    there.symlink_to(there.name if target == "itself" else "/nowhere/at/all")
    for command in (*COMMANDS, ("run", path, "--trials", 3, "--quiet")):
        said = hpo(*command)
        assert said.code in (0, 1, 2), (command, said)
        assert "Traceback" not in said.out + said.err, (command, said)
    assert layout.LOST_AND_FOUND not in os.listdir(runs)
