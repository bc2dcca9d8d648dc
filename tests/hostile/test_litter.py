"""300 trials in one worker of an objective that leaves every kind of litter: the last begins as the first did."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hostile.command import hpo, remains
from hpo.storage.load_study import load_study

TRIALS = 300
# Libraries fill their caches in the first trials.
WARM = 20
# What caches may take in the other 280 trials, each of which leaves 16 MB.
MORE = {"mib": 200, "descriptors": 4, "threads": 0}


@pytest.mark.slow
def test_the_last_of_many_trials_begins_as_the_first(tmp_path: Path) -> None:
    folder, runs = tmp_path / "study", tmp_path / "study" / "runs"
    folder.mkdir()
    study = {
        "name": "litter",
        "objective": f"{Path(__file__).with_name('litter.py')}:train",
        "metrics": [{"name": "val_loss", "direction": "minimize"}],
        "search_space": {"x": {"choices": [0.0, 0.5]}},
        "sampler": "random",
        "pruner": "none",
        "budget": {"trials": TRIALS, "failures": 3},
        "engine": {"workers": 1, "cpu": 1, "retries": 0},
        "mlflow": False,
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    code, said = hpo(["run", "study.yaml", "--quiet"], folder, tmp_path, runs)
    left = remains(runs)
    trials = load_study(runs, "litter")[1].trials
    assert code == 0, said
    assert len(trials) == TRIALS
    failed = [(trial.number, trial.user_attrs["hpo:outcome"]["reason"]) for trial in trials if trial.values is None]
    assert not failed, failed[:3]
    worlds = [trial.user_attrs["hpo:outcome"]["metrics"] for trial in trials]
    changed = [(number, found) for number, world in enumerate(worlds) if (found := unlike(world, worlds[0]))]
    assert not changed, changed[:3]
    more = {name: worlds[-1][name] - worlds[WARM][name] for name in MORE}
    assert all(more[name] <= MORE[name] for name in MORE), more
    results = {(trial.params["x"], trial.value) for trial in trials}
    assert len(results) == 2, results
    assert left == []


def unlike(world: dict[str, float], first: dict[str, float]) -> dict[str, tuple[float, float]]:
    """What differs of a trial's world from the first one's, as (first, now)."""
    names = first.keys() - MORE.keys() - {"val_loss"}
    return {name: (first[name], world[name]) for name in names if world[name] != first[name]}
