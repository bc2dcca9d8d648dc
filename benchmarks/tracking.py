"""What tracking in MLflow costs the driver a trial, and how long it writes on after the last one.

    python benchmarks/tracking.py [--trials 200] [--rounds 5]
    python benchmarks/tracking.py --writer [--trials 100 1000] [--best 1000]

The same study of no-op trials of 10 reports, each with tracking in the default store (a SQLite file) and
without, taking turns within each round. Measured from the first trial's start to the last `tell`, with two worker
processes and TPE on a journal file; what is written after that is reported apart, with MLflow's import in it.

With --writer: CPU time of the process that writes, without a driver, for a further trial of 10 reports when so many
have ended before: of many that it finds at once, and of one that it finds alone, with what is looked at and said of the
study each time. --best N: as `mlflow: {trials: best N}`, where most further trials get no run."""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from noop import study_yaml
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, create_trial

from hpo import layout
from hpo.machine.sqlite_uri import sqlite_uri
from hpo.runner import run
from hpo.spec.load import load_spec
from hpo.storage.history import HistoryWriter, Step
from hpo.trackers.base import Progress, Tracker
from hpo.trial import Job, Outcome


class Stopwatch(Tracker):
    """When the first trial started, the last was told, and the run was over."""

    def __init__(self) -> None:
        self.first = 0.0
        self.last = 0.0

    def trial_started(self, job: Job) -> None:
        self.first = self.first or time.perf_counter()

    def trial_finished(self, job: Job, outcome: Outcome, progress: Progress) -> None:
        self.last = time.perf_counter()


def measure(tracked: bool, trials: int) -> Mapping[str, float]:
    """Milliseconds a trial to the last tell; seconds from there to the end, the report included."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "study.yaml"
        path.write_text(study_yaml("tracking", trials, tracked))
        stopwatch = Stopwatch()
        run(load_spec(path), Path(name) / "runs", [stopwatch])
        return {
            "trial": 1000 * (stopwatch.last - stopwatch.first) / trials,
            "after": time.perf_counter() - stopwatch.last,
        }


# --- the process that writes

FURTHER = 40  # trials whose writing is timed


def ended(study: Path, number: int, draws: random.Random) -> FrozenTrial:
    """Return a complete trial of 10 reports, as `hpo run` leaves it, with its history."""
    began, x = 1_700_000_000.0 + number, draws.random()
    writer = HistoryWriter(layout.trial_directory(study, number) / layout.HISTORY)
    for step in range(10):
        writer.append(Step(step, began + step / 20, 1, {"score": x - 1 / (step + 1), "other": x}))
    writer.close()
    job = {"seed": number, "attempt": 1, "source": "sampler", "started": began, "params": {"x": x, "y": 2.0}}
    outcome = {"state": "COMPLETE", "cause": "", "reason": "", "metrics": {"score": x}, "finished": began + 0.5,
               "seconds": 0.5, "gpu_seconds": 0.0, "peak_gpu_bytes": 0, "requeued": False}  # fmt: skip
    trial = create_trial(
        params={"x": x, "y": 2.0}, value=x,
        distributions={"x": FloatDistribution(0, 1), "y": FloatDistribution(1e-4, 10, log=True)},
        user_attrs={"hpo:job": job, "hpo:outcome": outcome},
    )  # fmt: skip
    trial.number = number
    return trial


def writer(before: int, best: int | None) -> tuple[float, float]:
    """Return CPU milliseconds of a further trial, of many at once and of one alone, after so many trials."""
    from hpo.trackers.mlflow.mirror import Mirror

    with tempfile.TemporaryDirectory() as name:
        runs, draws = Path(name) / "runs", random.Random(0)
        study = runs / "tracking"
        study.mkdir(parents=True)
        path = Path(name) / "study.yaml"
        tracked = "true" if best is None else f"{{trials: best {best}}}"
        path.write_text(study_yaml("tracking", before, tracked))
        uri = sqlite_uri(runs / layout.MLFLOW_STORE)
        mirror = Mirror(load_spec(path), runs, uri, "tracking", "key", 0.0, {}, 0.0, print)
        trials = [ended(study, number, draws) for number in range(before)]
        mirror.update(trials, last=False)
        further = [ended(study, before + index, draws) for index in range(FURTHER)]
        began = time.process_time()
        mirror.update([*trials, *further], last=False)
        together = 1000 * (time.process_time() - began) / FURTHER
        trials += further
        apart = []
        for _ in range(FURTHER // 4):
            trials.append(ended(study, len(trials), draws))
            began = time.process_time()
            mirror.update(trials, last=False)
            apart.append(1000 * (time.process_time() - began))
        return together, statistics.median(apart)


def writers(counts: list[int], best: int | None) -> None:
    for before in counts:
        together, alone = writer(before, best)
        print(f"{before:7} trials before: {together:7.2f} ms CPU a further trial, {alone:7.2f} ms alone", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", help="[200], with --writer [100 1000]")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--writer", action="store_true", help="CPU time of the process that writes")
    parser.add_argument("--best", type=int, help="with --writer: runs for so many best trials alone")
    options = parser.parse_args()
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    if options.writer:
        writers(options.trials or [100, 1000], options.best)
        return
    trials = (options.trials or [200])[0]
    rows = []
    for turn in range(options.rounds):
        # Who goes first changes from round to round.
        order = [False, True] if turn % 2 == 0 else [True, False]
        rows.append({tracked: measure(tracked, trials) for tracked in order})
    for tracked, label in ((False, "without"), (True, "with MLflow")):
        per_trial = statistics.median(row[tracked]["trial"] for row in rows)
        after = statistics.median(row[tracked]["after"] for row in rows)
        print(f"{per_trial:7.2f} ms a trial  {after:6.2f} s after the last  {label}")
    costs = [row[True]["trial"] - row[False]["trial"] for row in rows]
    print(f"{statistics.median(costs):7.2f} ms a trial  is the difference ({min(costs):.2f} to {max(costs):.2f})")


if __name__ == "__main__":
    main()
