"""The guide "Bring your own task", followed line by line in an empty folder."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
import torch
from documentation.blocks import blocks_of
from documentation.walk import Walk

from hpo.storage.load_study import load_study

pytestmark = pytest.mark.slow
GUIDE = Path(__file__).parents[1] / "docs" / "guides" / "bring-your-own-task.md"


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    return Walk(tmp_path_factory.mktemp("guide")).follow(GUIDE)


def printed_by(walk: Walk, command: str) -> str:
    (printed,) = [printed for given, printed in walk.printed if given == command]
    return printed


def trials_of(walk: Walk, name: str) -> list[optuna.trial.FrozenTrial]:
    return load_study(walk.folder / "runs", name)[1].get_trials(deepcopy=False)


def test_as_a_function(followed: Walk) -> None:
    assert printed_by(followed, "python plain.py").splitlines()[-1].startswith("10 0.9")
    assert "12 of 12 trials" in printed_by(followed, "hpo status tumours")
    trials = trials_of(followed, "tumours")
    assert {trial.state for trial in trials} == {optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED}
    assert max(trial.value for trial in trials if trial.value is not None) > 0.97
    assert (followed.folder / "runs" / "tumours" / "report.html").stat().st_size > 1_000_000
    assert len(trials_of(followed, "try")) == 1


def test_what_the_page_says_of_held_out_data(followed: Walk) -> None:
    held = followed.folder / "held"
    held.mkdir()
    torch.save({"x": torch.randn(20, 30), "y": torch.arange(20) % 2}, held / "held_out.pt")
    block = blocks_of(GUIDE)[0]
    for command in ("evaluate tumours", "ensemble tumours", "predict tumours --ensemble --out scores.csv"):
        followed.shell(f"hpo {command} --data held", block)
    assert "average_precision" in printed_by(followed, "hpo evaluate tumours --data held")
    assert "average_precision, held out" in printed_by(followed, "hpo ensemble tumours --data held")
    assert len((followed.folder / "scores.csv").read_text().splitlines()) == 21


def test_as_a_command(followed: Walk) -> None:
    printed = printed_by(followed, "python boost.py --rate 0.2")
    assert printed.splitlines()[-1].startswith('{"step": 5, "val_average_precision": 0.9')
    trials = trials_of(followed, "boosting")
    assert len(trials) == 6
    assert min(trial.value for trial in trials if trial.value is not None) > 0.5
    assert {trial.params["depth"] for trial in trials} <= {1, 3}
    assert "torch" not in (followed.folder / "boost.py").read_text()
