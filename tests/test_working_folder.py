"""A run goes on where the folder that it was started in is removed, and no command begins in such a folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow_reading import children_of, in_file
from waiting import PATIENCE, wait_until

from hpo import layout
from hpo.storage.load_study import load_study

# Libraries ask for the working folder while they load, and fail without one.
OBJECTIVE = """
import os, time

def train(trial):
    os.getcwd()
    gate = os.path.join(trial.constants["gates"], trial.directory.name)
    (trial.directory / "begun").touch()
    while not os.path.exists(gate):
        time.sleep(0.02)
    trial.report(1, score=trial.params["x"])
    return {"score": trial.params["x"]}
"""


@pytest.mark.parametrize("fresh", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_run_outlives_the_folder_that_it_was_started_in(
    study_yaml: Callable[..., Path], runs: Path, default_store: Path, tmp_path: Path, fresh: bool
) -> None:
    (tmp_path / "objective.py").write_text(OBJECTIVE)
    gates, began_in = tmp_path / "gates", tmp_path / "began in"
    gates.mkdir()
    began_in.mkdir()
    path = study_yaml(
        engine={"workers": 1, "fresh_process": fresh},
        mlflow=None,
        constants={"gates": str(gates)},
    )
    set_objective = ["--set", f"objective={tmp_path / 'objective.py'}:train"]
    command = [sys.executable, "-P", "-m", "hpo", "run", str(path), "--runs", str(runs), *set_objective]
    with subprocess.Popen(
        command, cwd=began_in, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=dict(os.environ)
    ) as driver:
        wait_until(lambda: (runs / "toy" / "trials" / "0" / "begun").exists())
        began_in.rmdir()
        for number in range(4):
            (gates / str(number)).touch()
        said = driver.communicate(timeout=PATIENCE)[0]
    assert driver.returncode == 0, said
    gone = "the folder in which this was started is not there any more; it goes on in"
    assert said.count(f"{gone} {runs / 'toy'}") == 1
    assert "Traceback" not in said
    assert f"hpo trials toy --runs {runs}" in said
    trials = load_study(runs, "toy")[1].trials
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 4
    assert (layout.study_directory(runs, "toy") / "report.html").is_file()
    assert set(children_of(in_file(default_store))) == {0, 1, 2, 3}


def test_a_command_in_a_folder_that_was_removed_is_answered_in_a_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    line = 'rmdir "$PWD" && exec "$0" -m hpo list'
    ended = subprocess.run(
        ["sh", "-c", line, sys.executable], cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "hpo: the current folder is not there any more; change to another one, such as `cd ~`\n"
