"""Regret of samplers on functions of numbers, without a pruner: what `sampler: auto` takes there.

    python benchmarks/search/functions.py run --out functions.jsonl --seeds 20 --trials 50
    python benchmarks/search/functions.py table functions.jsonl
    python benchmarks/search/functions.py time --trials 400

The rule was chosen on Branin, Hartmann-6 and the noisy sphere. The functions of JUDGED_ON were run once, after that
choice. Regret: the least value of the trials so far, without its noise, minus the function's minimum. Samplers are
built as a study's are; trials run one after the other.

Sources: Surjanovic and Bingham, Virtual Library of Simulation Experiments, https://www.sfu.ca/~ssurjano; two are made
up: a loss of learning rate and weight decay, sampled by their logarithms, whose product counts, and one of integers.
"""

from __future__ import annotations

import argparse
import itertools
import math
import random
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from rows import fill, key_of, read

from hpo.search.samplers import make_sampler
from hpo.space.search_space import SearchSpace
from hpo.spec.models import Budget, Component, Metric, StudySpec

BUDGETS = (25, 50, 100, 200, 400)
SAMPLERS = ("auto", "gp", "kernel", "tpe", "random")


@dataclass(frozen=True)
class Function:
    """A function to minimize, the ranges of its numbers, its minimum and the deviation of its noise."""

    ranges: dict[str, dict[str, Any]]
    value: Callable[[Sequence[float]], float]
    minimum: float
    noise: float = 0.0


def _ranges(n: int, low: float, high: float) -> dict[str, dict[str, Any]]:
    return {f"x{i}": {"low": low, "high": high} for i in range(n)}


def _branin(x: Sequence[float]) -> float:
    wave = 10 * (1 - 1 / (8 * math.pi)) * math.cos(x[0])
    return (x[1] - 5.1 / (4 * math.pi**2) * x[0] ** 2 + 5 / math.pi * x[0] - 6) ** 2 + wave + 10


def _hartmann6(x: Sequence[float]) -> float:
    weights = np.array([1.0, 1.2, 3.0, 3.2])
    steep = np.array(
        [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
    )
    places = 1e-4 * np.array(
        [
            [1312, 1696, 5569, 124, 8283, 5886],
            [2329, 4135, 8307, 3736, 1004, 9991],
            [2348, 1451, 3522, 2883, 3047, 6650],
            [4047, 8828, 8732, 5743, 1091, 381],
        ]
    )
    return -float(weights @ np.exp(-(steep * (np.asarray(x) - places) ** 2).sum(axis=1)))


def _sphere(x: Sequence[float]) -> float:
    return sum((one - 0.3) ** 2 for one in x)


def _rosenbrock(x: Sequence[float]) -> float:
    return sum(100 * (b - a * a) ** 2 + (a - 1) ** 2 for a, b in itertools.pairwise(x))


def _ackley(x: Sequence[float]) -> float:
    squares, waves = sum(one * one for one in x) / len(x), sum(math.cos(2 * math.pi * one) for one in x) / len(x)
    return -20 * math.exp(-0.2 * math.sqrt(squares)) - math.exp(waves) + 20 + math.e


def _levy(x: Sequence[float]) -> float:
    w = [1 + (one - 1) / 4 for one in x]
    middle = sum((one - 1) ** 2 * (1 + 10 * math.sin(math.pi * one + 1) ** 2) for one in w[:-1])
    return math.sin(math.pi * w[0]) ** 2 + middle + (w[-1] - 1) ** 2 * (1 + math.sin(2 * math.pi * w[-1]) ** 2)


def _michalewicz(x: Sequence[float]) -> float:
    return -sum(math.sin(one) * math.sin((i + 1) * one * one / math.pi) ** 20 for i, one in enumerate(x))


def _rate_and_decay(x: Sequence[float]) -> float:
    rate, decay = math.log10(x[0]), math.log10(x[1])
    return 0.1 + 0.05 * (rate + decay + 6.5) ** 2 + 0.02 * (rate + 2.7) ** 2 + 0.5 / (1 + math.exp(-8 * (rate + 1.5)))


def _steps(x: Sequence[float]) -> float:
    return 0.01 * (x[0] - 37) ** 2 + 0.3 * (x[1] - 5) ** 2 + abs(x[2] - 0.35)


_RATE = {"low": 1e-5, "high": 1.0, "log": True}

CHOSEN_ON = {
    "branin": Function({"x0": {"low": -5.0, "high": 10.0}, "x1": {"low": 0.0, "high": 15.0}}, _branin, 0.397887358),
    "hartmann6": Function(_ranges(6, 0.0, 1.0), _hartmann6, -3.32236801),
    "noisy sphere": Function(_ranges(4, 0.0, 1.0), _sphere, 0.0, noise=0.02),
}
JUDGED_ON = {
    "rosenbrock4": Function(_ranges(4, -2.0, 2.0), _rosenbrock, 0.0),
    "ackley5": Function(_ranges(5, -32.768, 20.0), _ackley, 0.0),
    "levy3": Function(_ranges(3, -10.0, 10.0), _levy, 0.0),
    "michalewicz2": Function(_ranges(2, 0.0, math.pi), _michalewicz, -1.8013034),
    "rate and decay": Function({"rate": _RATE, "decay": _RATE}, _rate_and_decay, 0.1000329912),
    "integers": Function(
        {
            "a": {"low": 1, "high": 100},
            "b": {"low": 1, "high": 16},
            "c": {"low": 0.0, "high": 1.0, "step": 0.05},
        },
        _steps,
        0.0,
    ),
}
FUNCTIONS = CHOSEN_ON | JUDGED_ON


def study_of(function: Function, name: str, seed: int, trials: int) -> StudySpec:
    """Return a study of a function, without a pruner."""
    return StudySpec(
        name="function",
        objective="function:train",
        root=Path(),
        source=Path(),
        metrics=(Metric(name="loss", direction="minimize"),),
        space=SearchSpace.parse(function.ranges),
        sampler=Component(name=name),
        pruner=Component(name="none"),
        budget=Budget(trials=trials),
        seed=seed,
    )


def search(function: Function, name: str, seed: int, trials: int) -> Iterator[tuple[int, float, float]]:
    """Yield the number of trials, the regret, and the seconds of the last ask, after each trial."""
    spec = study_of(function, name, seed, trials)
    study = optuna.create_study(sampler=make_sampler(spec, 0))
    rng, least = random.Random(f"{seed} noise"), math.inf
    for number in range(1, trials + 1):
        began = time.perf_counter()
        trial = study.ask()
        values = list(spec.space.suggest(trial).values())
        seconds = time.perf_counter() - began
        value = function.value(values)
        least = min(least, value)
        study.tell(trial, value + rng.gauss(0.0, function.noise))
        yield number, least - function.minimum, seconds


def run(options: argparse.Namespace) -> None:
    """Run the searches that the file does not hold yet."""
    found = itertools.product(range(options.seeds), options.samplers, options.functions)
    keys = [(title, name, seed, options.trials) for seed, name, title in found]
    fill(options.out, dict(zip(keys, keys, strict=True)), key_of, _searched, options.jobs)


def _searched(key: tuple[str, str, int, int]) -> dict[str, Any]:
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    title, name, seed, trials = key
    found = list(search(FUNCTIONS[title], name, seed, trials))
    regrets = {number: regret for number, regret, _ in found if number in BUDGETS}
    return {"key": key, "regrets": regrets, "seconds": sum(one for _, _, one in found)}


def table(options: argparse.Namespace) -> None:
    """Print the median regrets, and those of `auto` as multiples of GPSampler's."""
    found: dict[tuple[str, str, int], dict[int, float]] = {}
    for row in read(options.out):
        title, name, seed, _ = row["key"]
        for budget, regret in row["regrets"].items():
            found.setdefault((title, name, int(budget)), {})[seed] = regret
    for budget in BUDGETS:
        for heading, functions in (("chosen on", CHOSEN_ON), ("judged on", JUDGED_ON)):
            rows = [_row(found, title, budget) for title in functions]
            if any(rows):
                print(f"\n| {budget} trials, {heading} | {' | '.join(SAMPLERS)} | auto / gp |")
                print("\n".join(filter(None, rows)))


def _row(found: dict[tuple[str, str, int], dict[int, float]], title: str, budget: int) -> str:
    medians = {
        name: float(np.median(list(found[key].values())))
        for name in SAMPLERS
        if (key := (title, name, budget)) in found
    }
    if not medians:
        return ""
    cells = [
        f"{medians[name]:.3g} ({len(found[title, name, budget])})" if name in medians else "-" for name in SAMPLERS
    ]
    ratio = f"{medians['auto'] / medians['gp']:.2f}" if {"auto", "gp"} <= medians.keys() and medians["gp"] else "-"
    return f"| {title} | {' | '.join(cells)} | {ratio} |"


def timing(options: argparse.Namespace) -> None:
    """Print the seconds of an ask of GPSampler, and what it had found, after so many trials."""
    for title in options.functions:
        found = list(search(FUNCTIONS[title], "gp", 0, options.trials))
        for budget in BUDGETS:
            if budget <= len(found):
                last = float(np.median([seconds for _, _, seconds in found[budget - 10 : budget]]))
                print(f"{title}: {budget} trials, {last:.3f} s an ask, regret {found[budget - 1][1]:.3g}", flush=True)


def main() -> None:
    """Run the command line."""
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, do in (("run", run), ("time", timing)):
        command = commands.add_parser(name)
        command.add_argument("--functions", nargs="+", choices=FUNCTIONS, default=tuple(FUNCTIONS))
        command.add_argument("--trials", type=int, default=50)
        command.set_defaults(do=do)
        if name == "run":
            command.add_argument("--out", type=Path, required=True)
            command.add_argument("--samplers", nargs="+", choices=SAMPLERS, default=SAMPLERS)
            command.add_argument("--seeds", type=int, default=20)
            command.add_argument("--jobs", type=int, help="processes; left out: one a core")
    tables = commands.add_parser("table")
    tables.add_argument("out", type=Path)
    tables.set_defaults(do=table)
    options = parser.parse_args()
    options.do(options)


if __name__ == "__main__":
    main()
