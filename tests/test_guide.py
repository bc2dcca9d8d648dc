"""The guide "Bring your own task", followed line by line in an empty folder."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
import torch

from hpo.storage.load_study import load_study

GUIDE = Path(__file__).parents[1] / "docs" / "guides" / "bring-your-own-task.md"


def files_in(text: str) -> dict[str, str]:
    """The files that the page shows, by the name in their first line; what is continued is appended."""
    files: dict[str, str] = {}
    for body in re.findall(r"```(?:python|yaml)\n(# .*?)```", text, re.DOTALL):
        name, _, continued = body.partition("\n")[0].removeprefix("# ").partition(", ")
        assert bool(continued) == (name in files)
        files[name] = files.get(name, "") + "\n\n" * bool(continued) + body
    return files


def commands_in(text: str) -> list[str]:
    return re.findall(r"^\$ (.*)$", text, re.MULTILINE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("guide")
    for name, body in files_in(GUIDE.read_text()).items():
        (folder / name).write_text(body)
    return folder


def follow(folder: Path, commands: list[str]) -> list[str]:
    """Runs them in turn, each with what is on the PATH of an activated environment; returns what they printed."""
    printed = []
    for command in commands:
        words = shlex.split(command)
        words[:1] = [sys.executable, *(["-m", "hpo"] if words[0] == "hpo" else [])]
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        printed.append(done.stdout + done.stderr)
    return printed


def trials_of(folder: Path, name: str) -> list[optuna.trial.FrozenTrial]:
    return load_study(folder / "runs", name)[1].get_trials(deepcopy=False)


def test_the_page_shows_what_is_tested_here() -> None:
    text = GUIDE.read_text()
    assert list(files_in(text)) == ["plain.py", "task.py", "tumours.yaml", "boost.py", "boosting.yaml"]
    assert "torch" not in files_in(text)["boost.py"]
    assert len(commands_in(text)) == 10


@pytest.mark.slow
def test_as_a_function(folder: Path) -> None:
    commands = [command for command in commands_in(GUIDE.read_text()) if "boost" not in command]
    printed = follow(folder, commands)
    assert printed[0].splitlines()[-1].startswith("10 0.9")
    assert "12 of 12 trials" in printed[-2]
    trials = trials_of(folder, "tumours")
    assert {trial.state for trial in trials} == {optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED}
    assert max(trial.value for trial in trials if trial.value is not None) > 0.97
    assert (folder / "runs" / "tumours" / "report.html").stat().st_size > 1_000_000
    assert len(trials_of(folder, "try")) == 1

    (folder / "held").mkdir()
    torch.save({"x": torch.randn(20, 30), "y": torch.arange(20) % 2}, folder / "held" / "held_out.pt")
    assert "average_precision" in follow(folder, ["hpo evaluate tumours --data held"])[0]
    assert "average_precision, held out" in follow(folder, ["hpo ensemble tumours --data held"])[0]
    follow(folder, ["hpo predict tumours --ensemble --data held --out scores.csv"])
    assert len((folder / "scores.csv").read_text().splitlines()) == 21


@pytest.mark.slow
def test_as_a_command(folder: Path) -> None:
    commands = [command for command in commands_in(GUIDE.read_text()) if "boost" in command]
    printed = follow(folder, commands)
    assert printed[0].splitlines()[-1].startswith('{"step": 5, "val_average_precision": 0.9')
    trials = trials_of(folder, "boosting")
    assert len(trials) == 6
    assert min(trial.value for trial in trials if trial.value is not None) > 0.5
    assert {trial.params["depth"] for trial in trials} <= {1, 3}
