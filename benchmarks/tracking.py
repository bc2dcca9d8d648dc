"""What tracking in MLflow costs the driver a trial, and how long it writes on after the last one.

    python benchmarks/tracking.py [--trials 200] [--rounds 5]

The same study of no-op trials of 10 reports, each with tracking in the default store (a SQLite file) and
without, taking turns within each round. Measured from the first trial's start to the last `tell`, with two worker
processes and TPE on a journal file; what is written after that is reported apart, with MLflow's import in it."""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from noop import study_yaml

from hpo.runner import run
from hpo.spec.load import load_spec
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    rows = []
    for turn in range(options.rounds):
        # Who goes first changes from round to round.
        order = [False, True] if turn % 2 == 0 else [True, False]
        rows.append({tracked: measure(tracked, options.trials) for tracked in order})
    for tracked, label in ((False, "without"), (True, "with MLflow")):
        per_trial = statistics.median(row[tracked]["trial"] for row in rows)
        after = statistics.median(row[tracked]["after"] for row in rows)
        print(f"{per_trial:7.2f} ms a trial  {after:6.2f} s after the last  {label}")
    costs = [row[True]["trial"] - row[False]["trial"] for row in rows]
    print(f"{statistics.median(costs):7.2f} ms a trial  is the difference ({min(costs):.2f} to {max(costs):.2f})")


if __name__ == "__main__":
    main()
