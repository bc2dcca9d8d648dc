"""Regrets of searches by task and seed, and differences of two searches, paired by these.

The tasks of a family share configurations and seeds, so that both are drawn for an interval."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

SAMPLES = 4000

# By task and seed, the figures at some moments.
Figures = Mapping[tuple[str, int], Sequence[float]]


def figures_of(rows: Iterable[Mapping[str, Any]], policy: str, family: str) -> dict[tuple[str, int], list[float]]:
    """Return the regrets of a policy in a family, by task and seed."""
    return {
        (row["task"], row["seed"]): row["regret"] for row in rows if (row["policy"], row["family"]) == (policy, family)
    }


def task_means(figures: Figures) -> dict[str, NDArray[np.float64]]:
    """Return the means over the seeds of each task, of shape (moments,)."""
    return {
        task: np.mean([values for (of, _), values in figures.items() if of == task], axis=0)
        for task in dict.fromkeys(task for task, _ in figures)
    }


def difference(ours: Figures, theirs: Figures) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean of the paired differences at each moment, and its 95 % interval of shape (2, moments).

    Of each bootstrap sample tasks and seeds are drawn, and each pair of them counts.
    """
    names = sorted({task for task, _ in ours})
    # Those of which all tasks were run: a file may be unfinished.
    both = [{seed for task, seed in ours.keys() & theirs.keys() if task == name} for name in names]
    seeds = sorted(set.intersection(*both))
    apart = np.array(
        [[np.subtract(ours[task, seed], theirs[task, seed]) for seed in seeds] for task in names]
    )  # (tasks, seeds, moments)
    rng = np.random.default_rng(0)
    means = np.empty((SAMPLES, apart.shape[2]))
    for sample in range(SAMPLES):
        drawn = rng.integers(len(names), size=len(names)), rng.integers(len(seeds), size=len(seeds))
        means[sample] = apart[np.ix_(*drawn)].mean(axis=(0, 1))
    return apart.mean(axis=(0, 1)), np.percentile(means, [2.5, 97.5], axis=0)


def differences(ours: Figures, theirs: Figures) -> list[str]:
    """Return the difference at each moment with its interval: -1.2 (-3.4 to +1.0)."""
    means, (lows, highs) = difference(ours, theirs)
    return [f"{mean:+.1f} ({low:+.1f} to {high:+.1f})" for mean, low, high in zip(means, lows, highs, strict=True)]
