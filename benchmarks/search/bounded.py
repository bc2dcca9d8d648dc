"""What a sampler proposes from a part of a long history, against what it proposes from all of it.

    python benchmarks/search/bounded.py --out rows.jsonl --asks 100                 # functions to choose on
    python benchmarks/search/bounded.py --out rows.jsonl --asks 100 --validation    # functions to judge on
    python benchmarks/search/bounded.py --out rows.jsonl --sampler tpe --histories 300 1000

With the default sampler a search of up to 4,000 trials, and so every one on the recorded tasks, is the same with both.
So the history is 10,000 trials of a function (functions.py has the two lists): 500 random ones, then two of five
random, and three mutations of the best twentieth so far. Both get the same random numbers, and so the same candidates.
The figure is the share of the history that is better than the proposal, in percent, with the function's true values.
Printed are its means, and those of the paired differences with their 95 % intervals; one above 0 says that the part is
worse. Rows are appended, and what is there is not run again."""

from __future__ import annotations

import argparse
import math
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from functions import CHOSEN_ON, FUNCTIONS, JUDGED_ON, Function
from optuna.samplers import BaseSampler
from optuna.trial import create_trial
from rows import Row, fill, key_of

from hpo.search.bounded_history import BoundedHistory
from hpo.search.kernel_sampler import PARENTS, KernelSampler
from hpo.search.study_view import view_of
from hpo.space.encoding import UnitCubeEncoder
from hpo.space.search_space import SearchSpace

TRIALS, FIRST, BATCH, MUTATED = 10_000, 500, 500, 0.6
ALL = 10**9


def history_of(function: Function, space: SearchSpace, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return configurations as a search leaves them."""
    cube = UnitCubeEncoder(space)
    names = list(cube.distributions)

    def configurations(points: np.ndarray) -> list[dict[str, Any]]:
        return [{name: cube.value(name, at) for name, at in zip(names, point, strict=True)} for point in points]

    points = rng.random((FIRST, len(names)))
    found = configurations(points)
    values = [function.value(list(one.values())) for one in found]
    while len(found) < TRIALS:
        parents = points[np.argsort(values)[: int(PARENTS * len(values))]]
        new = rng.random((BATCH, len(names)))
        mutated = int(MUTATED * BATCH)
        chosen = parents[rng.integers(len(parents), size=mutated)]
        new[:mutated] = np.clip(chosen + rng.normal(0, 0.12, chosen.shape), 0, 1)
        points = np.vstack([points, new])
        added = configurations(new)
        found += added
        values += [function.value(list(one.values())) for one in added]
    return found


def sampler_of(name: str, space: SearchSpace, history: int) -> tuple[BaseSampler, Callable[[int], object]]:
    """Return a sampler with a history, and what seeds it."""
    if name == "kernel":
        kernel = KernelSampler(space, random_fraction=0.0, history=history)
        return kernel, kernel._rng.seed
    tpe = optuna.samplers.TPESampler(multivariate=True, group=True)
    return tpe if history == ALL else BoundedHistory(tpe, history), tpe._rng.rng.seed


def shares(key: tuple[str, str, int, int]) -> Row:
    """Return the shares of the history that are better than each proposal of a sampler."""
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    name, title, history, asks = key
    function, rng = FUNCTIONS[title], np.random.default_rng(0)
    space = SearchSpace.parse(function.ranges)
    configurations = history_of(function, space, rng)
    values = np.array([function.value(list(one.values())) for one in configurations])
    noisy, distributions = values + rng.normal(0, function.noise, len(values)), space.distributions()
    sampler, seed = sampler_of(name, space, history)
    study = optuna.create_study(sampler=sampler)
    study.add_trials(
        [
            create_trial(params=one, distributions=distributions, value=float(value))
            for one, value in zip(configurations, noisy, strict=True)
        ]
    )
    view, better = view_of(study), np.sort(values)
    found = []
    for ask in range(asks):
        seed(ask)
        trial = view.ask()
        proposed = function.value(list(space.suggest(trial).values()))
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        found.append(100 * np.searchsorted(better, proposed) / len(better))
    return {"key": key, "shares": found}


def table(rows: list[Row], name: str, titles: list[str], histories: list[int], asks: int) -> str:
    """Return the figures in Markdown."""
    by_key = {key_of(row): np.array(row["shares"]) for row in rows}
    heads = [f"{history:,} (minus all)" for history in histories]
    lines = [f"| {asks} asks each | all | {' | '.join(heads)} |", "|---|--:|" + "--:|" * len(histories)]
    apart: dict[int, list[float]] = {history: [] for history in histories}
    for title in titles:
        whole = by_key[name, title, ALL, asks]
        cells = [f"{whole.mean():.2f}"]
        for history in histories:
            own = by_key[name, title, history, asks] - whole
            apart[history].append(float(own.mean()))
            cells.append(
                f"{whole.mean() + own.mean():.2f} ({own.mean():+.2f} ± {1.96 * own.std() / math.sqrt(asks):.2f})"
            )
        lines.append(f"| {title} | {' | '.join(cells)} |")
    means = [f"{np.mean(found):+.2f}" for found in apart.values()]
    return "\n".join([*lines, f"| mean difference | | {' | '.join(means)} |"])


def main() -> None:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--asks", type=int, default=100)
    parser.add_argument("--histories", type=int, nargs="+", default=[1000, 2000, 4000])
    parser.add_argument("--sampler", choices=("kernel", "tpe"), default="kernel")
    parser.add_argument("--validation", action="store_true")
    parser.add_argument("--jobs", type=int, default=1)
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    titles = list(JUDGED_ON if given.validation else CHOSEN_ON)
    keys = [(given.sampler, title, history, given.asks) for title in titles for history in (ALL, *given.histories)]
    rows = fill(given.out, dict(zip(keys, keys, strict=True)), key_of, shares, given.jobs)
    print(table(rows, given.sampler, titles, given.histories, given.asks))


if __name__ == "__main__":
    main()
