"""Loss weights that a search found against equal ones, on generated brainstem responses.

    python benchmarks/abr_weights.py                        # the weights below
    python benchmarks/abr_weights.py --search runs          # those of the best trial with a simplex in runs/abr_small
    python benchmarks/abr_weights.py --learned              # uncertainty weighting beside them

Both sides are trained with the same settings and seeds, one thread each. Printed: of every training its CPU time and
its metrics at the epoch of the best val_score, on validation and on test records that neither training nor search has
seen; and mean and sample standard deviation (N - 1) over seeds. The records are the same for all: what differs between
seeds is the initial weights and the order of the batches."""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from hpo.analysis.records import read_study
from hpo.trial import Job, ObjectiveRef, Trial
from objectives.abr import evaluate, train
from objectives.abr.losses import TASKS

EQUAL = dict.fromkeys(TASKS, 0.25)
# Of the best trial of one run of studies/abr_small.yaml, its fifteenth.
FOUND = {"signal": 0.6440, "class": 0.1244, "peak": 0.2311, "threshold": 0.0004}
METRICS = ("macro_f1", "balanced_accuracy", "threshold_mae", "latency_mae", "amplitude_mae", "signal_correlation",
           "score")  # fmt: skip


def from_search(runs: Path) -> dict[str, float]:
    """The weights of the best complete trial of abr_small that has some."""
    study = read_study(runs, "abr_small")
    complete = [one for one in study.trials if one.state == "COMPLETE" and "loss_weights" in one.params]
    if not complete:
        raise SystemExit(f"{runs}/abr_small has no complete trial with loss_weights; run the study there first")
    return dict(max(complete, key=lambda one: one.values["val_score"]).params["loss_weights"])


def trained(seed: int, params: Mapping[str, Any], constants: Mapping[str, Any]) -> dict[str, float]:
    """One training: val_ and test_ metrics, CPU seconds of training (of the process, loading included)."""
    with tempfile.TemporaryDirectory() as folder:
        reference = ObjectiveRef(target="objectives.abr:train", root=folder)
        job = Job(0, params, seed, reference, constants, Path(folder), ("val_score",))
        trial = Trial(job, lambda step, metrics: None)
        began = time.process_time()
        found = train(trial)
        seconds = time.process_time() - began
        held_out = evaluate(trial, None)
    return found | {f"test_{name}": value for name, value in held_out.items()} | {"cpu_seconds": seconds}


def spread(values: Sequence[float]) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else float("nan")
    return f"{statistics.mean(values):.3f} +- {deviation:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--search", type=Path, help="a runs folder with abr_small in it")
    parser.add_argument("--learned", action="store_true", help="uncertainty weighting as a third side")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--architecture", default="tiny")
    for name, default in (("records", 6000), ("epochs", 15), ("batch_size", 64)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--learning_rate", type=float, default=3e-3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = FOUND if given.search is None else from_search(given.search)
    settings = {"architecture": given.architecture, "epochs": given.epochs, "batch_size": given.batch_size,
                "learning_rate": given.learning_rate, "schedule": "cosine"}  # fmt: skip
    sides: dict[str, dict[str, Any]] = {"equal": {"loss_weights": EQUAL}, "found": {"loss_weights": found}}
    if given.learned:
        sides["learned"] = {"weighting": "uncertainty"}
    print(f"{given.records:,} records; {', '.join(f'{name} {value}' for name, value in settings.items())}")
    print(f"found: {', '.join(f'{name} {weight:.4f}' for name, weight in found.items())}\n")

    results: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for seed in given.seeds:  # the sides take turns, so that a noisy machine is noisy to all
        for name, side in sides.items():
            one = trained(seed, settings | side, {"data": {"records": given.records}})
            results[name].append(one)
            reached = f"macro-F1 {one['val_macro_f1']:.3f}, threshold {one['val_threshold_mae']:.2f} dB"
            print(f"{name:8} seed {seed}: {reached}, {one['cpu_seconds'] / 60:.1f} CPU minutes", flush=True)
    for split in ("val", "test"):
        print(f"\n{split + ', mean +- sd of ' + str(len(given.seeds)):28}" + "".join(f"{name:>18}" for name in sides))
        for metric in METRICS:
            key = f"{split}_{metric}"
            if key in results["equal"][0]:
                cells = "".join(f"{spread([one[key] for one in results[name]]):>18}" for name in sides)
                print(f"{metric:28}{cells}")
    print(f"{'CPU minutes':28}" + "".join(
        f"{spread([one['cpu_seconds'] / 60 for one in results[name]]):>18}" for name in sides
    ))  # fmt: skip


if __name__ == "__main__":
    main()
