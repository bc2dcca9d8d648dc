"""What `group_by` and `min_complete` cost, on recorded trainings: LCBench's, by their number of layers.

    python benchmarks/group_policies.py DATA --out rows.jsonl --seeds 3
    python benchmarks/group_policies.py DATA --out rows.jsonl --table

DATA is that of benchmarks/policies.py, and so are workers, budget and regret. `together` has the number of layers as a
choice like others, `grouped` has `group_by` and no `min_complete`, `default` has both. Of each number of layers: the
least number of complete trials, and the regret of its best complete trial among its own recordings, in percent of what
separates their median from their best.
"""

from __future__ import annotations

import argparse
import itertools
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from policies import FULL_TRAININGS, LOSS, WORKERS, Task, Trace, spec_of, tasks

from hpo.engines.replay import NOWHERE, Clock, MemoryFiles, RecordedSampler, Recordings, ReplayEngine
from hpo.oracle.oracle import Oracle
from hpo.search.samplers import make_pruner, make_sampler
from hpo.space.search_space import SearchSpace
from hpo.spec.models import Budget

GROUP = "num_layers"
POLICIES = {"together": (None, 0), "grouped": (GROUP, 0), "default": (GROUP, 3)}
MOMENTS = (0.25, 0.5, 1.0)


def by_layers(task: Task) -> Task:
    """The task with its number of layers as a choice."""
    layers = sorted({recording.params[GROUP] for recording in task.recordings})
    return replace(task, space=SearchSpace.parse(task.space.data() | {GROUP: {"choices": layers}}))


def row_of(task: Task, name: str, seed: int, times: float) -> dict[str, Any]:
    """`times`: the budget, in parts of that of benchmarks/policies.py."""
    group_by, least = POLICIES[name]
    seconds = times * task.budget
    budget = Budget(trials=len(task.recordings), hours=seconds / 3600, failures=10**9)
    longest = max(len(recording.steps) for recording in task.recordings)
    changes = {"group_by": group_by, "min_complete": least, "budget": budget, "constants": {"epochs": longest}}
    spec = spec_of(task.space, seed).model_copy(update=changes)
    recordings, clock = Recordings(task.space, task.recordings), Clock()
    study = optuna.create_study(sampler=RecordedSampler(make_sampler(spec, 0), recordings), pruner=make_pruner(spec))
    trace = Trace(clock)
    # What runs when the budget is spent goes on, as it does in a run.
    files = MemoryFiles(saves=True)
    oracle = Oracle(spec, study, NOWHERE, trace, clock, files)
    ReplayEngine(recordings, clock, WORKERS, files=files).run(oracle)
    regrets = [
        task.regret(min((value for at, value in trace.seen if at <= part * seconds), default=task.high))
        for part in MOMENTS
    ]
    groups = []
    for choice in task.space.find(GROUP)[0].choices:
        own = [r for r in task.recordings if r.params[GROUP] == choice and r.outcome.metrics]
        finals = [recording.outcome.metrics[LOSS.name] for recording in own]
        found = [
            trial.value
            for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
            if trial.params[GROUP] == choice
        ]
        low, middle = min(finals), float(np.median(finals))
        regret = 100 * (min(found) - low) / (middle - low) if found else None
        groups.append({"complete": len(found), "regret": regret})
    return {
        "policy": name, "task": task.name, "seed": seed, "times": times, "regret": regrets, "groups": groups,
        "trials": trace.trials, "took": clock.now / seconds,
    }  # fmt: skip


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        "| full trainings | policy | runs | regret at 25 % | 50 % | 100 % | groups with none complete | with 3 | "
        "regret within a group | time |",
        "|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for times in sorted({row["times"] for row in rows}):
        for name in POLICIES:
            own = [row for row in rows if (row["policy"], row["times"]) == (name, times)]
            if not own:
                continue
            groups = [group for row in own for group in row["groups"]]
            regrets = " | ".join(f"{np.mean([row['regret'][k] for row in own]):.1f}" for k in range(len(MOMENTS)))
            complete = np.array([group["complete"] for group in groups])
            within = np.mean([100.0 if group["regret"] is None else group["regret"] for group in groups])
            shares = f"{np.mean(complete == 0):.0%} | {np.mean(complete >= 3):.0%}"
            took = np.mean([row["took"] for row in own])
            head = f"| {times * FULL_TRAININGS:g} | {name} | {len(own)} |"
            lines.append(f"{head} {regrets} | {shares} | {within:.1f} | {took:.2f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--times", type=float, nargs="+", default=[1.0, 3.0], help="budgets")
    parser.add_argument("--table", action="store_true", help="run nothing")
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    rows = [json.loads(line) for line in given.out.read_text().splitlines()] if given.out.exists() else []
    if not given.table:
        found = [by_layers(task) for task in tasks(given.data, "lcbench")]
        seeds = range(given.first, given.first + given.seeds)
        for seed, times, task, name in itertools.product(seeds, given.times, found, POLICIES):
            if (name, task.name, seed, times) not in {(r["policy"], r["task"], r["seed"], r["times"]) for r in rows}:
                rows.append(row_of(task, name, seed, times))
                with given.out.open("a") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
