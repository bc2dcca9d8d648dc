"""Regrets of searches by task and seed, and differences of two searches, paired by these.

The tasks of a family share configurations and seeds, so that both are drawn for an interval."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t

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

    Tasks and seeds are both taken as drawn: crossed random effects of tasks, of seeds, and of what is left. The
    variance of the mean is estimated by their mean squares (Searle, Casella and McCulloch, "Variance Components",
    1992), no component as negative; the degrees of freedom are Satterthwaite's (Biometrics Bulletin 2, 1946). A
    bootstrap that draws tasks and seeds counts three times what is left, which is the most here (Owen, "The pigeonhole
    bootstrap", Annals of Applied Statistics 1, 2007).
    """
    names = sorted({task for task, _ in ours})
    # Those of which all tasks were run: a file may be unfinished.
    both = [{seed for task, seed in ours.keys() & theirs.keys() if task == name} for name in names]
    seeds = sorted(set.intersection(*both))
    apart = np.array(
        [[np.subtract(ours[task, seed], theirs[task, seed]) for seed in seeds] for task in names]
    )  # (tasks, seeds, moments)
    count, times = len(names), len(seeds)
    mean, by_task, by_seed = apart.mean(axis=(0, 1)), apart.mean(axis=1), apart.mean(axis=0)
    free = np.maximum([count - 1, times - 1, (count - 1) * (times - 1)], 1)[:, None]
    left = apart - by_task[:, None] - by_seed + mean
    sums = [times * ((by_task - mean) ** 2).sum(0), count * ((by_seed - mean) ** 2).sum(0), (left**2).sum((0, 1))]
    squares = np.array(sums) / free
    squares[:2] = np.maximum(squares[:2], squares[2])
    variance = squares[0] + squares[1] - squares[2]  # of the mean, times the number of pairs
    degrees = variance**2 / np.maximum((squares**2 / free).sum(0), np.finfo(float).tiny)
    half = student_t.ppf(0.975, np.maximum(degrees, 1)) * np.sqrt(variance / (count * times))
    return mean, np.array([mean - half, mean + half])


def differences(ours: Figures, theirs: Figures) -> list[str]:
    """Return the difference at each moment with its interval: -1.2 (-3.4 to +1.0)."""
    means, (lows, highs) = difference(ours, theirs)
    return [f"{mean:+.1f} ({low:+.1f} to {high:+.1f})" for mean, low, high in zip(means, lows, highs, strict=True)]
