"""Search quality of the default sampler with a bounded history, against the same sampler with all of it.

    python benchmarks/search/bounded.py functions --out rows.jsonl --seeds 10                 # chosen on
    python benchmarks/search/bounded.py functions --out rows.jsonl --seeds 10 --validation    # judged on
    python benchmarks/search/bounded.py tables DATA --out rows.jsonl --seeds 10 [--validation]

functions: 2,000 trials each, one after the other, without a pruner (functions.py has the two lists). The figure is the
logarithm to base 10 of the regret after 500, 1,000 and 2,000 trials. tables: recorded trainings, on 8 workers with the
default pruner, for the time of --trainings full trainings, in which a few hundred trials start; the histories are as
much smaller. The figure is the regret of run.py, after a quarter, a half and all of the time. Printed are the means
over tasks and seeds, and the paired differences to `all`, with 95 % intervals of a bootstrap that draws tasks and
seeds; a difference above 0 says that the bounded history is worse. Rows are appended, and what is there is not run
again."""

from __future__ import annotations

import argparse
import itertools
import math
import os
import random
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from families import DEVELOPMENT, VALIDATION
from functions import CHOSEN_ON, FUNCTIONS, JUDGED_ON, Function, study_of
from problems import spec_of
from rows import Row, fill, search_of
from run import difference, problems, regrets
from simulator import simulate

from hpo.search.kernel_sampler import KernelSampler
from hpo.search.samplers import make_pruner
from hpo.search.study_view import view_of
from hpo.space.search_space import SearchSpace

ALL = "all"
TRIALS, MOMENTS, PARTS = 2000, (500, 1000, 2000), (0.25, 0.5, 1.0)


def sampler_of(space: SearchSpace, history: str, seed: int) -> KernelSampler:
    """Return the default sampler with a history."""
    return KernelSampler(space, seed=seed, history=10**9 if history == ALL else int(history))


def regret_of(function: Function, history: str, seed: int) -> Iterator[float]:
    """Yield the regret after each trial."""
    spec = study_of(function, "kernel", seed, TRIALS)
    study = view_of(optuna.create_study(sampler=sampler_of(spec.space, history, seed)))
    rng, least = random.Random(f"{seed} noise"), math.inf
    while True:
        trial = study.ask()
        value = function.value(list(spec.space.suggest(trial).values()))
        least = min(least, value)
        study.tell(trial, value + rng.gauss(0.0, function.noise))
        yield least - function.minimum


def on_function(key: tuple[str, str, str, int]) -> Row:
    """Search a function."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    history, family, title, seed = key
    found = list(itertools.islice(regret_of(FUNCTIONS[title], history, seed), TRIALS))
    figures = [math.log10(max(found[moment - 1], 1e-12)) for moment in MOMENTS]
    return {"policy": history, "family": family, "task": title, "seed": seed, "regret": figures, "trials": TRIALS}


def on_table(data: Path, trainings: float, key: tuple[str, str, str, int]) -> Row:
    """Search recorded trainings."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    history, family, name, seed = key
    problem = next(one for one in problems(data, family) if one.name == name)
    problem = replace(problem, full_trainings=trainings)
    trace, _ = simulate(problem, sampler_of(problem.space, history, seed), make_pruner(spec_of(problem.space, seed)))
    found = [problem.regret(trace.best(part * problem.budget, problem.scale[2])) for part in PARTS]
    return {"policy": history, "family": family, "task": name, "seed": seed, "regret": found, "trials": trace.trials}


def table(rows: list[Row], histories: list[str], moments: tuple[float, ...]) -> str:
    """Return the figures of each family in Markdown."""
    lines = []
    for family in dict.fromkeys(row["family"] for row in rows):
        whole = regrets(rows, ALL, family)
        seeds, tasks = {seed for _, seed in whole}, {task for task, _ in whole}
        trials = np.median([row["trials"] for row in rows if row["family"] == family])
        heads = [f"at {moment:g}" for moment in moments] + [f"minus all at {moment:g}" for moment in moments]
        title = f"{family} ({len(tasks)} tasks, {len(seeds)} seeds, {trials:.0f} trials)"
        lines += [f"| {title} | {' | '.join(heads)} |", "|---|" + "--:|" * len(heads)]
        for history in histories:
            own = regrets(rows, history, family)
            if own.keys() != whole.keys():
                continue
            cells = [f"{value:.2f}" for value in np.mean(list(own.values()), axis=0)]
            if history != ALL:
                apart, (low, high) = difference(own, whole)
                cells += [f"{a:+.2f} ({b:+.2f} to {c:+.2f})" for a, b, c in zip(apart, low, high, strict=True)]
            lines.append(f"| {history} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Run what is missing, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("functions", "tables"))
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--histories", nargs="+", help="[functions: all 250 500 1000; tables: all 50 100]")
    parser.add_argument("--families", nargs="+", help="of tables; left out: all of development, or of validation")
    parser.add_argument("--trainings", type=float, default=40.0)
    parser.add_argument("--validation", action="store_true")
    parser.add_argument("--jobs", type=int, default=1)
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    tasks: list[tuple[str, str]]
    if given.what == "functions":
        family, functions = ("judged on", JUDGED_ON) if given.validation else ("chosen on", CHOSEN_ON)
        tasks, work, moments = [(family, title) for title in functions], on_function, MOMENTS
        histories = given.histories or [ALL, "250", "500", "1000"]
    else:
        if given.data is None:
            parser.error("tables needs DATA, the folder of taskset.npz and lcbench.npz")
        families = given.families or list(VALIDATION if given.validation else DEVELOPMENT)
        tasks = [(family, one.name) for family in families for one in problems(given.data, family)]
        work, moments = partial(on_table, given.data, given.trainings), PARTS
        histories = given.histories or [ALL, "50", "100"]
    keys: list[Any] = [
        (history, family, name, seed) for seed in range(given.seeds) for family, name in tasks for history in histories
    ]
    rows = fill(given.out, dict(zip(keys, keys, strict=True)), search_of, work, given.jobs)
    known = set(keys)
    print(table([row for row in rows if search_of(row) in known], histories, moments))


if __name__ == "__main__":
    main()
