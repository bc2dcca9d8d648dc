"""Population-based training against the default search and random search, at an equal number of trained epochs.

On the quickstart's rare digits (learning rate, gamma and alpha of the focal loss) and on generated slices of
mitochondria at a small size (those, and contrast and brightness of the augmentation). Each policy trains as many epochs
as the population does in all; printed is the best validation value of any epoch, a line for each seed, and the
differences of the population to the others with a 95 % interval over seeds."""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from optuna.storages import InMemoryStorage
from scipy.stats import t

import objectives.mitochondria
from hpo import Trial
from hpo.engines.inline import InlineEngine
from hpo.oracle.open_study import open_study
from hpo.oracle.oracle import Oracle
from hpo.space.search_space import SearchSpace
from hpo.spec.models import StudySpec
from hpo.spec.normalize import rewrite
from hpo.trackers.base import Tracker
from hpo.trial import Job, Params

MEMBERS, SEGMENTS = 6, 6
RATE = {"low": 1.0e-4, "high": 3.0e-2, "log": True}
FOCAL = {"gamma": {"low": 0.0, "high": 5.0}, "alpha": {"low": 0.05, "high": 0.95}}
TASKS: dict[str, dict[str, Any]] = {
    "quickstart": {
        "objective": "objectives.quickstart:train",
        "metrics": [{"name": "val_average_precision", "direction": "maximize"}],
        "space": {"architecture": "cnn", "batch_size": 64, "loss": "focal", "learning_rate": RATE, **FOCAL},
        "constants": {"epochs": 18, "data": {"digit": 8, "prevalence": 0.03, "val_fraction": 0.5, "seed": 0}},
    },
    "mitochondria": {
        "objective": f"{__file__}:augmented",
        "metrics": [{"name": "val_jaccard", "direction": "maximize"}],
        "space": {
            "loss": "focal", "learning_rate": RATE, **FOCAL,
            "contrast": {"low": 0.0, "high": 0.6}, "brightness": {"low": 0.0, "high": 0.6},
        },
        "constants": {
            "architecture": "unet", "base_width": 4, "batch_size": 8, "epochs": 12, "settle_batches": 4,
            "data": {"patch_size": 64, "val_fraction": 0.4, "slices": 10, "height": 128, "width": 128, "seed": 0},
        },
    },
}  # fmt: skip
POLICIES = ("pbt", "default", "random")


def augmented(trial: Trial) -> dict[str, float]:
    """Train the task with contrast and brightness as parameters."""
    params = dict(trial.params)
    changes = {name: params.pop(name) for name in ("contrast", "brightness")}
    trial.constants = {**trial.constants, "augmentation": {"flip": True, **changes}}
    trial.params = Params(params)
    return objectives.mitochondria.train(trial)


class Epochs(Tracker):
    """Counts the epochs that trials train, keeps the best value, and ends the study when they are spent."""

    def __init__(self, metric: str, budget: int) -> None:
        self.metric, self.budget = metric, budget
        self.trained, self.best = 0, 0.0
        self.oracle: Oracle | None = None
        self._first = False

    def trial_started(self, job: Job) -> None:
        """Note whether the trial's first report repeats one of its checkpoint."""
        self._first = (job.directory / "checkpoint.pkl").exists()

    def reported(self, number: int, step: int, metrics: Mapping[str, float]) -> None:
        """Count an epoch."""
        self.trained += not self._first
        self._first = False
        self.best = max(self.best, metrics[self.metric])
        if self.trained >= self.budget and self.oracle is not None:
            self.oracle.control.interrupt("the epochs are spent")


def best_of(task: str, policy: str, seed: int) -> tuple[float, int]:
    """Return the best validation value of a search, and the epochs that it trained."""
    given = TASKS[task]
    epochs = given["constants"]["epochs"]
    values = {
        "name": f"{task}-{policy}",
        **{key: given[key] for key in ("objective", "metrics", "constants")},
        "budget": {"trials": 10_000},
        "engine": "inline",
        "seed": seed,
        "space": SearchSpace.parse(given["space"]),
    }
    if policy == "pbt":
        values["sampler"] = {"name": "pbt", "population_size": MEMBERS, "interval": -(-epochs // SEGMENTS)}
    elif policy == "random":
        values |= {"sampler": "random", "pruner": "none"}
    rewrite(values, Path(__file__).parents[1] / "study.yaml", True, lambda path, message: print(path, message))
    spec = StudySpec.model_validate(values)
    tracker = Epochs(spec.metrics[0].name, MEMBERS * epochs)
    with tempfile.TemporaryDirectory() as folder:
        study = open_study(spec, InMemoryStorage())
        tracker.oracle = Oracle(spec, study, Path(folder), tracker)
        InlineEngine().run(tracker.oracle)
        tracker.oracle.close()
    return tracker.best, tracker.trained


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="*", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--seeds", type=int, default=10)
    given = parser.parse_args()
    torch.set_num_threads(1)
    for task in given.tasks:
        found: dict[str, list[float]] = {policy: [] for policy in POLICIES}
        for seed in range(given.seeds):
            row = {policy: best_of(task, policy, seed) for policy in POLICIES}
            for policy, (value, _) in row.items():
                found[policy].append(value)
            print(task, seed, *(f"{policy} {value:.4f} ({n} epochs)" for policy, (value, n) in row.items()), flush=True)
        for policy, values in found.items():
            print(f"{task} {policy}: mean {statistics.mean(values):.4f}, median {statistics.median(values):.4f}")
        for policy in POLICIES[1:]:
            pairs = [own - other for own, other in zip(found["pbt"], found[policy], strict=True)]
            half = t.ppf(0.975, len(pairs) - 1) * statistics.stdev(pairs) / len(pairs) ** 0.5
            wins = sum(pair > 0 for pair in pairs)
            mean = statistics.mean(pairs)
            print(f"{task} pbt - {policy}: {mean:+.4f} ({mean - half:+.4f} to {mean + half:+.4f}), better in {wins}")


if __name__ == "__main__":
    main()
