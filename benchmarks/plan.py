"""Does the 80 % interval of `hpo plan` hold? Real runs of the small studies, each planned twice.

Each study is planned from a probe and run; then it is planned from that run, and run again with another seed. A row
says the interval of the finish time, what the run took from its first trial's start to its last trial's end, and the
load of the machine, which the interval cannot know.

    python benchmarks/plan.py [STUDY ...] [--runs DIR] [--rounds 1] [--seed 0]
    python benchmarks/plan.py --recorded RUNS ...
    python benchmarks/plan.py --lcbench DATA

The second form judges the end that is said during a run: each recorded study is cut when a quarter, half and three
quarters of its trials had finished, and the rest is estimated from what was known then.

The third form judges the plan alone, on trainings that others timed (LCBench, Zimmer, Lindauer and Hutter 2021; no data
of it built the model): of each of its data sets, 50 times, a few configurations are measured, each number of layers a
group, and 40 others are run, two at a time. No machine grows slower there between the plan and the run.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hpo import layout
from hpo.analysis.forecast import DRIFT, PRIOR_TRIALS, Composition, Interval, Limits, Model, Timing, rest_of
from hpo.analysis.records import StudyRecord, read_study
from hpo.spec.models import Budget

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


def cut(study: StudyRecord, now: float) -> StudyRecord:
    """Return a study as it stood at a moment."""
    trials = []
    for trial in study.finished:
        if (trial.started or now) >= now:
            continue
        if trial.started + trial.seconds > now:
            history = tuple(step for step in trial.history if step.time <= now)
            trial = replace(trial, state="RUNNING", seconds=None, values={}, history=history)
        trials.append(trial)
    return replace(study, trials=tuple(trials))


def recorded(runs: Path) -> Iterator[tuple[str, float, float, Interval, float]]:
    """Yield study, part of its trials that had finished, high/low, the interval of the rest, and what it took."""
    for name in layout.studies_in(runs):
        study = read_study(runs, name)
        ends = sorted((t.started or 0) + (t.seconds or 0) for t in study.finished)
        if study.spec is None or len(ends) < 8:
            continue
        for part in (0.25, 0.5, 0.75):
            now = ends[int(part * len(ends)) - 1]
            spec = study.spec.model_copy(update={"budget": Budget(trials=len(ends))})
            found = rest_of(cut(study, now + 1e-3), spec, now + 1e-3)
            if found is not None:
                yield name, part, found.seconds.high / max(found.seconds.low, 1e-3), found.seconds, ends[-1] - now


def judge(folders: list[Path]) -> None:
    """Print the table of the ends said during recorded runs."""
    print("| part finished | estimates | held | median high/low | median of took/middle |")
    print("|---|---|---|---|---|")
    found = [row for runs in folders for row in recorded(runs)]
    for part in (0.25, 0.5, 0.75):
        rows = [row for row in found if row[1] == part]
        held = sum(interval.low <= took <= interval.high for _, _, _, interval, took in rows)
        ratio = statistics.median(row[2] for row in rows)
        off = statistics.median(took / interval.middle for _, _, _, interval, took in rows)
        print(f"| {part:.0%} | {len(rows)} | {held} | {ratio:.2f} | {off:.2f} |")


def timed_by_others(data: Path) -> None:
    """Print how often the interval holds on LCBench, by the number of measured configurations."""
    with np.load(data / "lcbench.npz") as file:
        seconds, layers = file["epoch_seconds"].astype(float), file["X"][:, list(file["names"]).index("num_layers")]
    groups = [f"layers {int(one)}" for one in layers]
    weights = {group: PRIOR_TRIALS * n / len(groups) for group, n in Counter(groups).items()}
    composition = Composition(weights, None, dict.fromkeys(weights, (50,)))
    print("| measured | plans | held | median high/low | median of took/middle |")
    print("|---|---|---|---|---|")
    for measured in (1, 4, 10):
        held, ratios, off = [], [], []
        for place, task in enumerate(np.repeat(seconds, 50, axis=0)):
            rng = np.random.default_rng(place)
            order = rng.permutation(len(groups))
            of_group = {group: [k for k in order if groups[k] == group][:measured] for group in weights}
            seen = [Timing(groups[k], 0.0, float(task[k]), None) for own in of_group.values() for k in own]
            rest = np.setdiff1d(order, [k for own in of_group.values() for k in own])
            free = [0.0, 0.0]
            for k in rng.choice(rest, 40, replace=False):
                free[free.index(min(free))] += 50 * float(task[k])
            found = Model(seen, composition, [1.0], DRIFT).forecast(Limits(trials=40), 2).seconds
            held.append(found.low <= max(free) <= found.high)
            ratios.append(found.high / found.low)
            off.append(max(free) / found.middle)
        print(
            f"| {measured} of each group | {len(held)} | {sum(held)} | {statistics.median(ratios):.2f} "
            f"| {statistics.median(off):.2f} |"
        )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("studies", nargs="*", default=list(SHRUNK))
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recorded", type=Path, nargs="+")
    parser.add_argument("--lcbench", type=Path)
    given = parser.parse_args()
    if given.lcbench:
        timed_by_others(given.lcbench)
        return
    if given.recorded:
        judge(given.recorded)
        return
    with tempfile.TemporaryDirectory(prefix="hpo-plan-") as folder:
        print("| study | from | low | middle | high | took | held | high/low | load at plan, start, end |")
        print("|---|---|---|---|---|---|---|---|---|", flush=True)
        for seed in range(given.seed, given.seed + given.rounds):
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
