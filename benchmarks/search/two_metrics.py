"""Dominated hypervolume of samplers on problems of two metrics: which one `sampler: auto` takes there.

    python benchmarks/search/two_metrics.py run --out two_metrics.jsonl --samplers tpe nsga2 --seeds 20 --trials 200
    python benchmarks/search/two_metrics.py table two_metrics.jsonl

A sampler was chosen on the problems of CHOSEN_ON. Those of JUDGED_ON were run once, after that choice. Both metrics are
minimized. The hypervolume is that between the front and a reference point, as a share of the box from the point of the
least values that are possible, or a bound of them, to the reference point.

Four workers are simulated: four trials run at a time, each takes as long as chance says, and samplers see RUNNING ones.

Sources: ZDT1 to ZDT6: Zitzler, Deb, Thiele 2000, doi:10.1162/106365600568202; DTLZ2: Deb et al. 2002,
doi:10.1109/CEC.2002.1007032; Fonseca and Fleming 1995, doi:10.1162/evco.1995.3.1.1; Kursawe 1991,
doi:10.1007/BFb0029752; Poloni 1997. Those with choices are made up: error against cost of networks and forests.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import math
import random
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from rows import fill, key_of, read

from hpo.space.search_space import SearchSpace
from hpo.spec import algorithms

BUDGETS = (50, 100, 200)
SAMPLERS = ("tpe", "nsga2", "gp", "random")

Params = Mapping[str, Any]
Values = tuple[float, float]


@dataclass(frozen=True)
class Problem:
    """Two metrics over a search space, with the least values and the reference point of the hypervolume."""

    space: dict[str, Any]
    function: Callable[[Params, random.Random], Values]
    least: Values
    reference: Values


def _unit(n: int) -> dict[str, Any]:
    return {f"x{i}": {"low": 0.0, "high": 1.0} for i in range(n)}


def _list(params: Params) -> list[float]:
    return list(params.values())


def _zdt1(params: Params, _: random.Random) -> Values:
    first, *rest = _list(params)
    g = 1 + 9 * sum(rest) / len(rest)
    return first, g * (1 - math.sqrt(first / g))


def _zdt2(params: Params, _: random.Random) -> Values:
    first, *rest = _list(params)
    g = 1 + 9 * sum(rest) / len(rest)
    return first, g * (1 - (first / g) ** 2)


def _zdt3(params: Params, _: random.Random) -> Values:
    first, *rest = _list(params)
    g = 1 + 9 * sum(rest) / len(rest)
    return first, g * (1 - math.sqrt(first / g) - first / g * math.sin(10 * math.pi * first))


def _zdt4(params: Params, _: random.Random) -> Values:
    first, *rest = _list(params)
    g = 1 + 10 * len(rest) + sum(x * x - 10 * math.cos(4 * math.pi * x) for x in rest)
    return first, g * (1 - math.sqrt(first / g))


def _zdt6(params: Params, _: random.Random) -> Values:
    first, *rest = _list(params)
    f = 1 - math.exp(-4 * first) * math.sin(6 * math.pi * first) ** 6
    g = 1 + 9 * (sum(rest) / len(rest)) ** 0.25
    return f, g * (1 - (f / g) ** 2)


def _dtlz2(params: Params, _: random.Random) -> Values:
    first, *rest = _list(params)
    g = sum((x - 0.5) ** 2 for x in rest)
    return (1 + g) * math.cos(first * math.pi / 2), (1 + g) * math.sin(first * math.pi / 2)


def _fonseca(params: Params, _: random.Random) -> Values:
    values = _list(params)
    at = 1 / math.sqrt(len(values))
    return (
        1 - math.exp(-sum((x - at) ** 2 for x in values)),
        1 - math.exp(-sum((x + at) ** 2 for x in values)),
    )


def _kursawe(params: Params, _: random.Random) -> Values:
    values = _list(params)
    pairs = itertools.pairwise(values)
    return (
        sum(-10 * math.exp(-0.2 * math.hypot(a, b)) for a, b in pairs),
        sum(abs(x) ** 0.8 + 5 * math.sin(x**3) for x in values),
    )


def _poloni(params: Params, _: random.Random) -> Values:
    x, y = _list(params)
    a1 = 0.5 * math.sin(1) - 2 * math.cos(1) + math.sin(2) - 1.5 * math.cos(2)
    a2 = 1.5 * math.sin(1) - math.cos(1) + 2 * math.sin(2) - 0.5 * math.cos(2)
    b1 = 0.5 * math.sin(x) - 2 * math.cos(x) + math.sin(y) - 1.5 * math.cos(y)
    b2 = 1.5 * math.sin(x) - math.cos(x) + 2 * math.sin(y) - 0.5 * math.cos(y)
    return 1 + (a1 - b1) ** 2 + (a2 - b2) ** 2, (x + 3) ** 2 + (y + 1) ** 2


def _network(params: Params, _: random.Random) -> Values:
    """Return error and cost of a network: an architecture with parameters of its own, and an optimizer's."""
    rate = math.log10(params["learning_rate"])
    if params["architecture"] == "wide":
        size, floor, best = params["width"] / 256, 0.18, -2.5
    elif params["architecture"] == "deep":
        size, floor, best = params["depth"] / 16, 0.08, -3.5
    else:
        size, floor, best = 0.05 + 0.02 * params["heads"], 0.3, -2.0
    error = floor + 0.25 * math.exp(-4 * size) + 0.15 * abs(rate - best) ** 1.5
    error += 0.1 * (params["dropout"] - 0.5 * min(1.0, size)) ** 2 + 0.02 * (params["batch_size"] == 128)
    return error, 0.05 + size * (1.5 if params["architecture"] == "deep" else 1.0)


def _encoder(params: Params, _: random.Random) -> Values:
    """Return error and cost with choices that change both, and no conditional parameter."""
    kinds = {"a": (0.35, 0.1), "b": (0.25, 0.3), "c": (0.2, 0.55), "d": (0.4, 0.5)}
    floor, cost = kinds[params["encoder"]]
    loss = {"bce": 0.08, "dice": 0.0, "focal": 0.03}[params["loss"]]
    rate = math.log10(params["learning_rate"])
    size = params["resolution"] / 256
    error = floor + loss + 0.2 * math.exp(-3 * size) + 0.06 * (rate + 3 + (params["loss"] == "focal")) ** 2
    return error, cost + 0.4 * size


def _forest(params: Params, _: random.Random) -> Values:
    """Return error and cost of trees: bagged or boosted, each with parameters of its own."""
    trees, depth = params["trees"], params["depth"]
    if params["method"] == "boosted":
        rate = params["learning_rate"]
        steps = trees * rate
        error = 0.12 + 0.5 * math.exp(-steps / 4) + 0.02 * max(0.0, steps - 12) + 0.015 * abs(depth - 4)
    else:
        error = 0.2 + 0.5 / math.sqrt(trees) + 0.2 * math.exp(-depth / 3) + 0.1 * (params["features"] - 0.4) ** 2
    return error, math.log10(trees) / 3 * 0.6 + depth / 16 * 0.4


def _noisy(params: Params, rng: random.Random) -> Values:
    """Return a noisy error and the cost, with choices, some of which do nothing."""
    rate, decay = math.log10(params["learning_rate"]), math.log10(params["weight_decay"])
    blocks = params["blocks"]
    extra = {"none": 0.0, "flip": -0.03, "mixup": -0.05 + 0.02 * (blocks < 3)}[params["augmentation"]]
    error = 0.25 + extra + 0.04 * (rate + decay + 6) ** 2 + 0.03 * (rate + 2.5) ** 2 + 0.3 * math.exp(-blocks / 2)
    cost = 0.1 * blocks + (0.15 if params["augmentation"] == "mixup" else 0.0)
    return error + rng.gauss(0.0, 0.02), cost + abs(rng.gauss(0.0, 0.005))


_RATE = {"low": 1e-5, "high": 1e-1, "log": True}

CHOSEN_ON = {
    "zdt1": Problem(_unit(6), _zdt1, (0.0, 0.0), (1.0, 4.0)),
    "zdt2": Problem(_unit(6), _zdt2, (0.0, 0.0), (1.0, 4.0)),
    "zdt3": Problem(_unit(8), _zdt3, (0.0, -0.8), (1.0, 4.0)),
    "dtlz2": Problem(_unit(6), _dtlz2, (0.0, 0.0), (1.5, 1.5)),
    "network (conditional)": Problem(
        {
            "architecture": {
                "choices": {
                    "wide": {"width": {"low": 8, "high": 256, "log": True}},
                    "deep": {"depth": {"low": 1, "high": 16}},
                    "attention": {"heads": {"low": 1, "high": 8}},
                }
            },
            "learning_rate": _RATE,
            "dropout": {"low": 0.0, "high": 0.6},
            "batch_size": {"choices": [32, 64, 128]},
        },
        _network,
        (0.05, 0.05),
        (0.8, 1.2),
    ),
    "encoder (choices)": Problem(
        {
            "encoder": {"choices": ["a", "b", "c", "d"]},
            "loss": {"choices": ["bce", "dice", "focal"]},
            "learning_rate": _RATE,
            "resolution": {"low": 32, "high": 256, "step": 32},
        },
        _encoder,
        (0.2, 0.1),
        (0.8, 1.0),
    ),
}
JUDGED_ON = {
    "zdt4": Problem(
        {"x0": {"low": 0.0, "high": 1.0}, **{f"x{i}": {"low": -5.0, "high": 5.0} for i in range(1, 5)}},
        _zdt4,
        (0.0, 0.0),
        (1.0, 60.0),
    ),
    "zdt6": Problem(_unit(6), _zdt6, (0.28, 0.0), (1.0, 9.0)),
    "fonseca": Problem({f"x{i}": {"low": -4.0, "high": 4.0} for i in range(3)}, _fonseca, (0.0, 0.0), (1.0, 1.0)),
    "kursawe": Problem({f"x{i}": {"low": -5.0, "high": 5.0} for i in range(3)}, _kursawe, (-20.0, -12.0), (-4.0, 12.0)),
    "poloni": Problem(
        {"x": {"low": -3.1416, "high": 3.1416}, "y": {"low": -3.1416, "high": 3.1416}},
        _poloni,
        (1.0, 0.0),
        (30.0, 40.0),
    ),
    "forest (conditional)": Problem(
        {
            "method": {
                "choices": {
                    "boosted": {"learning_rate": {"low": 0.01, "high": 0.5, "log": True}},
                    "bagged": {"features": {"low": 0.1, "high": 1.0}},
                }
            },
            "trees": {"low": 5, "high": 1000, "log": True},
            "depth": {"low": 1, "high": 16},
        },
        _forest,
        (0.1, 0.15),
        (0.8, 1.0),
    ),
    "noisy (choices)": Problem(
        {
            "learning_rate": _RATE,
            "weight_decay": {"low": 1e-6, "high": 1e-1, "log": True},
            "blocks": {"low": 1, "high": 8},
            "augmentation": {"choices": ["none", "flip", "mixup"]},
            "activation": {"choices": ["relu", "gelu", "silu"]},
        },
        _noisy,
        (0.15, 0.1),
        (0.9, 1.0),
    ),
}
PROBLEMS = CHOSEN_ON | JUDGED_ON


def hypervolume(values: Sequence[Values], least: Values, reference: Values) -> float:
    """Return the share of the box from `least` to `reference` that the values dominate."""
    area, height = 0.0, reference[1]
    for one, other in sorted(values):
        if one < reference[0] and other < height:
            area += (reference[0] - max(one, least[0])) * (height - max(other, least[1]))
            height = max(other, least[1])
    return area / ((reference[0] - least[0]) * (reference[1] - least[1]))


def search(problem: Problem, name: str, seed: int, trials: int, workers: int) -> Iterator[tuple[int, float]]:
    """Yield the hypervolume after each budget that a search reaches."""
    space = SearchSpace.parse(problem.space)
    sampler = algorithms.build("sampler", name, {"seed": seed})
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
    rng = random.Random(f"{seed} noise and durations")
    running: list[tuple[float, int, optuna.Trial, Values]] = []
    found: list[Values] = []
    now = 0.0
    while len(found) < trials:
        while len(running) < workers and len(found) + len(running) < trials:
            trial = study.ask()
            params = space.suggest(trial)
            heapq.heappush(running, (now + rng.uniform(0.5, 1.5), trial.number, trial, problem.function(params, rng)))
        now, _, trial, values = heapq.heappop(running)
        study.tell(trial, values)
        found.append(values)
        if len(found) in BUDGETS:
            yield len(found), hypervolume(found, problem.least, problem.reference)


def run(options: argparse.Namespace) -> None:
    """Run the searches that the file does not hold yet."""
    found = itertools.product(range(options.seeds), (1, 4), options.samplers, options.problems)
    keys = [(problem, name, workers, seed, options.trials) for seed, workers, name, problem in found]
    fill(options.out, dict(zip(keys, keys, strict=True)), key_of, _searched, options.jobs)


def _searched(key: tuple[str, str, int, int, int]) -> dict[str, Any]:
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    problem, name, workers, seed, trials = key
    began = time.perf_counter()
    shares = dict(search(PROBLEMS[problem], name, seed, trials, workers))
    return {"key": key, "shares": shares, "seconds": time.perf_counter() - began}


def table(options: argparse.Namespace) -> None:
    """Print the means, and the paired differences from TPE with their standard errors."""
    found: dict[tuple[str, str, int, int], dict[int, float]] = {}
    for row in read(options.out):
        for budget, share in row["shares"].items():
            problem, name, workers, seed, _ = row["key"]
            found.setdefault((problem, name, workers, int(budget)), {})[seed] = share
    for title, problems in (("chosen on", CHOSEN_ON), ("judged on", JUDGED_ON)):
        for workers in (1, 4):
            for budget in BUDGETS:
                print(f"\n{title}, {workers} worker(s), {budget} trials: hypervolume in % of the box; minus tpe's")
                for problem in problems:
                    cells = [_cell(found, problem, name, workers, budget) for name in SAMPLERS]
                    print(f"| {problem:22s} | " + " | ".join(cells) + " |")


def _cell(
    found: Mapping[tuple[str, str, int, int], Mapping[int, float]], problem: str, name: str, workers: int, budget: int
) -> str:
    own, tpe = (found.get((problem, one, workers, budget), {}) for one in (name, "tpe"))
    paired = [100 * (own[seed] - tpe[seed]) for seed in own.keys() & tpe.keys()]
    if not paired or name == "tpe":
        return f"{name} {100 * np.mean(list(own.values())):.1f}" if own else "-"
    error = np.std(paired, ddof=1) / math.sqrt(len(paired)) if len(paired) > 1 else math.nan
    mean = 100 * np.mean(list(own.values()))
    return f"{name} {mean:.1f} ({np.mean(paired):+.1f} ± {error:.1f}, n {len(paired)})"


def main() -> None:
    """Run the command line."""
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    runs = commands.add_parser("run")
    runs.add_argument("--out", type=Path, required=True)
    runs.add_argument("--samplers", nargs="+", choices=SAMPLERS, default=SAMPLERS)
    runs.add_argument("--problems", nargs="+", choices=PROBLEMS, default=tuple(CHOSEN_ON))
    runs.add_argument("--seeds", type=int, default=20)
    runs.add_argument("--trials", type=int, default=200)
    runs.add_argument("--jobs", type=int, help="processes; left out: one a core")
    runs.set_defaults(do=run)
    tables = commands.add_parser("table")
    tables.add_argument("out", type=Path)
    tables.set_defaults(do=table)
    options = parser.parse_args()
    options.do(options)


if __name__ == "__main__":
    main()
