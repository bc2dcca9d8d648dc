"""Families of problems: those on which choices may be made, and those on which they are judged.

A family of `DEVELOPMENT` may be looked at as often as one likes. One of `VALIDATION` is run once for each candidate of
a release, after everything is chosen, and nothing is chosen by it. README.md has the rule in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import tables
from problems import Problem
from recorded import recorded

from hpo.space.encoding import UnitCubeEncoder

# A delay of a curve, at most, in epochs; and its noise, in parts of what separates the median start from the best.
DELAY, NOISE = 7, 0.05


def cut(problem: Problem, seed: int) -> Problem:
    """Return a problem without the tenth of its configurations nearest to the best one, and 30 % of the others.

    So its best configuration lies elsewhere than that of the original.
    """
    encoder = UnitCubeEncoder(problem.space)
    points = np.array([encoder.point(params) for params in problem.configurations])
    best = np.nanmin(np.where(np.isfinite(problem.means), problem.means, np.inf), axis=1).argmin()
    apart = encoder.squared_distances(points[best][None], points)[0]
    kept = np.flatnonzero((apart > np.quantile(apart, 0.1)) & (np.random.default_rng(seed).random(len(points)) < 0.7))
    return replace(
        problem,
        family=f"{problem.family} cut",
        configurations=tuple(problem.configurations[index] for index in kept),
        curves=problem.curves[kept],
        seconds=problem.seconds[kept],
    )


def late(problem: Problem, seed: int) -> Problem:
    """Return a problem whose curves begin with a plateau of 0 to `DELAY` epochs, and have noise."""
    rng = np.random.default_rng(seed)
    curves = problem.curves[:, 0]
    epochs = curves.shape[1]
    delays = rng.integers(0, DELAY + 1, size=len(curves))
    shown = np.array([np.r_[np.full(by, curve[0]), curve][:epochs] for by, curve in zip(delays, curves, strict=True)])
    spread = abs(float(np.nanmedian(curves[:, 0]) - np.nanmin(curves)))
    shown = shown + rng.normal(0, NOISE * spread, shown.shape)
    return replace(problem, family=f"{problem.family} late", curves=shown[:, None])


def tabled(kind: str) -> list[Problem]:
    """Return the tables of a set that are there."""
    found, family = [], f"{kind} tables"
    for name in tables.SETS[kind]:
        if not (tables.FOLDER / f"{name}.npz").exists():
            continue
        table = tables.load(name)
        curves = table.curves.astype(float) * (-1.0 if table.direction == "maximize" else 1.0)
        found.append(
            Problem(
                f"{family}, finite" if table.finite else family,
                name,
                table.space,
                tuple(table.space.to_optuna(params) for params in table.configurations),
                curves,
                table.epoch_seconds.astype(float),
                again=table.finite,
            )
        )
    return found


DEVELOPMENT: dict[str, Callable[[Path], list[Problem]]] = {
    "taskset": lambda data: recorded(data, "taskset"),
    "lcbench": lambda data: recorded(data, "lcbench"),
    "taskset cut": lambda data: [cut(one, seed) for seed, one in enumerate(recorded(data, "taskset"))],
    "lcbench cut": lambda data: [cut(one, seed) for seed, one in enumerate(recorded(data, "lcbench"))],
    "taskset late": lambda data: [late(one, seed) for seed, one in enumerate(recorded(data, "taskset"))],
    "lcbench late": lambda data: [late(one, seed) for seed, one in enumerate(recorded(data, "lcbench"))],
    "development tables": lambda data: tabled("development"),
}
VALIDATION: dict[str, Callable[[Path], list[Problem]]] = {
    f"{kind} tables": lambda data, kind=kind: tabled(kind) for kind in tables.SETS if kind != "development"
}
FAMILIES = DEVELOPMENT | VALIDATION
