"""Does the 80 % interval of `hpo plan` hold? Real runs of the small studies, each planned twice.

Each study is planned from a probe and run; then it is planned from that run, and run again with another seed. A row
says the interval of the finish time, what the run took from its first trial's start to its last trial's end, and the
load of the machine, which the interval cannot know.

    python benchmarks/plan.py [STUDY ...] [--runs DIR] [--rounds 1]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hpo.analysis.records import read_study

STUDIES = Path(__file__).parents[1] / "studies"
# Settings with which a run takes a minute or two on two cores.
SHRUNK = {
    "quickstart": ["budget.trials=30"],
    "abr_small": ["budget.trials=10", "constants.epochs=6", "constants.data.records=600"],
    "audio_angle_small": ["budget.trials=10", "constants.epochs=6", "constants.data.clips=200"],
    "glaucoma_small": [
        *("budget.trials=12", "enqueue=[]", "constants.data.images=800"),
        "search_space.epochs={choices: [6, 9]}",
    ],
    "mitochondria_small": ["constants.epochs=3", "constants.data.slices=10"],
}


def hpo(*arguments: object) -> str:
    """Run a command line, and return what it prints."""
    command = [sys.executable, "-P", "-m", "hpo", *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(STUDIES.parent)}
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def rows(study: str, runs: Path, seed: int) -> Iterator[tuple[Any, ...]]:
    """Plan and run a study twice. Yield what was planned from, the interval, what it took, and the load."""
    settings = [*SHRUNK[study], "mlflow=false", "warm_start=false"]
    for source in ("probe", "history"):
        name = f"{study}-{seed}-{source}"
        seeds = [f"name={name}", f"seed={seed if source == 'probe' else seed + 1000}"]
        options = [part for one in (*settings, *seeds) for part in ("--set", one)]
        before = os.getloadavg()[0]
        plan = hpo(
            "plan", STUDIES / f"{study}.yaml", "--runs", runs, "--json", *options, *["--probe"] * (source == "probe")
        )
        interval = json.loads(plan)["forecast"]["seconds"]
        middle = os.getloadavg()[0]
        hpo("run", STUDIES / f"{study}.yaml", "--runs", runs, "-q", *options)
        trials = read_study(runs, name).finished
        took = max((t.started or 0) + (t.seconds or 0) for t in trials) - min(t.started or 0 for t in trials)
        yield (
            study,
            source,
            interval["low"],
            interval["middle"],
            interval["high"],
            took,
            before,
            middle,
            os.getloadavg()[0],
        )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("studies", nargs="*", default=list(SHRUNK))
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--rounds", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hpo-plan-") as folder:
        print("| study | from | low | middle | high | took | held | high/low | load at plan, start, end |")
        print("|---|---|---|---|---|---|---|---|---|", flush=True)
        for seed in range(given.rounds):
            for study in given.studies:
                # Each round has a runs folder of its own, so that it plans from its own history alone.
                place = (given.runs or Path(folder)) / str(seed)
                for name, source, low, middle, high, took, *load in rows(study, place, seed):
                    held = "yes" if low <= took <= high else "no"
                    shown = ", ".join(f"{one:.1f}" for one in load)
                    print(
                        f"| {name} | {source} | {low:.0f} s | {middle:.0f} s | {high:.0f} s | {took:.0f} s | {held} "
                        f"| {high / low:.2f} | {shown} |",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
