"""Search policies on the trainings themselves, not on their tables: a trial trains what the policy proposed.

    python benchmarks/search/live.py --out rows.jsonl --set 'third validation' --seeds 5 --only 'default,TPE + halving'

On a table a proposal is moved to the nearest of some hundred configurations, which are far apart in a dozen dimensions:
much of what one sampler knows better than another is lost. Here nothing is moved, and a search can find what is better
than all of the table: its regret is below 0 then. Time is simulated as on a table, by the counted work of an epoch;
workers, budget, moments and the unit of regret are those of `run.py`, and rows are kept as there. A search takes
some seconds. Spaces that do not end, alone: in the others a table has every configuration.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import tables
import torch
from families import tabled
from live_table import LiveTable
from peers import POLICIES
from problems import Problem
from rows import fill, search_of
from run import row_of, table
from simulator import simulate
from tried import POLICIES as TRIED


def problems(kind: str) -> list[Problem]:
    """Return the problems of a set whose spaces do not end, as a family of its own."""
    return [replace(one, family=f"{one.family}, live") for one in tabled(kind) if one.space.grid_size() is None]


def _row(job: tuple[str, str, int, int]) -> dict[str, Any]:
    name, kind, index, seed = job
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    problem = problems(kind)[index]
    sampler, pruner = POLICIES[name](problem, seed)
    trainings = LiveTable(problem, seed)
    trace, _ = simulate(problem, sampler, pruner, checkpoints=True, table=trainings)
    trainings.close()
    return row_of(name, problem, seed, trace)


def main() -> None:
    """Run what is missing, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--set", dest="kind", choices=tables.SETS, default="development", help="set of trainings")
    parser.add_argument("--seeds", type=int, default=20)
    usual = ",".join(name for name in POLICIES if name not in TRIED)
    parser.add_argument("--only", default=usual, help="policies, with commas between")
    parser.add_argument("--jobs", type=int, default=multiprocessing.cpu_count())
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes started below
    jobs = {
        (name, problem.family, problem.name, seed): (name, given.kind, index, seed)
        for seed in range(given.seeds)
        for index, problem in enumerate(problems(given.kind))
        for name in given.only.split(",")
    }
    print(table(fill(given.out, jobs, search_of, _row, given.jobs)))


if __name__ == "__main__":
    main()
