"""Search policies on recorded trainings, by families of problems.

    python benchmarks/search/run.py DATA --out rows.jsonl                  # all policies on the development families
    python benchmarks/search/run.py DATA --out rows.jsonl --only 'default,TPE + halving' --families taskset --seeds 5
    python benchmarks/search/run.py DATA --out rows.jsonl --validation            # once for each candidate of a release

DATA is a folder with taskset.npz and lcbench.npz; the tables are in this folder. Rows are appended, and what is there
already is not run again. 8 workers search for the time of 20 full trainings. Regret: the best value so far minus the
best of the table, in percent of what separates the table's median configuration from its best. A difference is of
pairs with the same task and seed; its 95 % interval takes tasks and seeds as drawn, for the tasks of a family have the
configurations and the seeds in common (paired.py).
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from families import DEVELOPMENT, FAMILIES, VALIDATION
from paired import differences, figures_of, task_means
from peers import EACH_ONCE, POLICIES
from problems import Problem
from recorded import FAMILIES as RECORDED
from rows import fill, search_of
from simulator import Trace, simulate
from tried import POLICIES as TRIED
from tried import portfolio

MOMENTS = (0.25, 0.5, 1.0)


@cache
def problems(data: Path, family: str) -> list[Problem]:
    """Return the problems of a family."""
    return FAMILIES[family](data)


def _row(data: Path, job: tuple[str, str, int, int]) -> dict[str, Any]:
    name, family, index, seed = job
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    problem = problems(data, family)[index]
    if name in EACH_ONCE:
        problem = replace(problem, again=False)
    sampler, pruner = POLICIES[name](problem, seed)
    began = time.process_time()
    others = (one for other in ("development tables", *RECORDED) for one in problems(data, other))
    warm = portfolio(problem, seed, others) if name == "portfolio" else None
    trace, _ = simulate(problem, sampler, pruner, checkpoints=True, warm=warm)
    took = time.process_time() - began
    return row_of(name, problem, seed, trace) | {"ask_ms": 1000 * took / max(1, trace.trials)}


def row_of(policy: str, problem: Problem, seed: int, trace: Trace) -> dict[str, Any]:
    """Return the row of a search, with its regrets at the moments."""
    row = {"policy": policy, "family": problem.family, "task": problem.name, "seed": seed}
    return row | {"regret": trace.regrets(problem, MOMENTS), "trials": trace.trials}


def table(rows: Sequence[Mapping[str, Any]], reference: str = "default") -> str:
    """Return a table of each family in Markdown."""
    lines = []
    for family in dict.fromkeys(row["family"] for row in rows):
        ours = figures_of(rows, reference, family)
        count = len({task for task, _ in ours})
        lines += [
            f"| {family} ({count} tasks) | seeds | 25 % | 50 % | 100 % | worst task at 100 % "
            f"| {reference} minus policy at 25 % | at 50 % | at 100 % | ms an ask |",
            "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
        ]
        for name in POLICIES:
            own = figures_of(rows, name, family)
            if not own or {task for task, _ in own} != {task for task, _ in ours}:
                continue
            seeds = {seed for _, seed in own}
            by_task = task_means(own)
            means = np.mean(list(by_task.values()), axis=0)
            cells = [f"{value:.1f}" for value in means] + [f"{max(value[-1] for value in by_task.values()):.1f}"]
            if name == reference:
                cells += ["", "", ""]
            else:
                cells += differences(ours, own)
            own_rows = [row for row in rows if (row["policy"], row["family"]) == (name, family)]
            took = f"{np.median([row['ask_ms'] for row in own_rows]):.1f}" if "ask_ms" in own_rows[0] else ""
            lines.append(f"| {name} | {len(seeds)} | {' | '.join(cells)} | {took} |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Run what is missing, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=20)
    usual = ",".join(name for name in POLICIES if name not in TRIED)
    parser.add_argument(
        "--only", default=usual, help="policies, with commas between; left out: all but those of tried.py"
    )
    parser.add_argument("--families", default="", help="families, with commas between; left out: all of development")
    parser.add_argument("--validation", action="store_true", help="the validation families")
    parser.add_argument("--jobs", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--table", action="store_true", help="run nothing, print what is there")
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes started below
    families = given.families.split(",") if given.families else list(VALIDATION if given.validation else DEVELOPMENT)
    jobs = {
        (name, problem.family, problem.name, seed): (name, family, index, seed)
        for seed in range(0 if given.table else given.seeds)
        for family in families
        for index, problem in enumerate(problems(given.data, family))
        for name in given.only.split(",")
    }
    print(table(fill(given.out, jobs, search_of, partial(_row, given.data), given.jobs)))


if __name__ == "__main__":
    main()
