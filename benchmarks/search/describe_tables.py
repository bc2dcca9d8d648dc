"""Print what the recorded tables hold, measured from the recordings: the tables of README.md.

python benchmarks/search/describe_tables.py"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from benchmarks.search.tables import FOLDER, SETS, Table, load
from benchmarks.search.trainings.training import training

HEADER = (
    "table",
    "data",
    "model",
    "parameters (conditional)",
    "configurations x epochs",
    "metric",
    "second metric: front",
    "diverged",
    "rank correlation of epoch 1 / of a quarter",
    "noise",
    "best epoch",
    "falls back",
)


def losses(table: Table) -> NDArray[np.float64]:
    """Return (trainings, epochs), smaller is better; infinite from where a training diverged."""
    signed = table.curves if table.direction == "minimize" else -table.curves
    flat = signed.reshape(-1, table.epochs).astype(float)
    return np.where(np.isfinite(flat), flat, np.inf)


def gap(loss: NDArray[np.float64]) -> float:
    """Return what separates the median training's best value from the best of all."""
    best = loss.min(1)
    return float(np.median(best) - best.min())


def diverged(loss: NDArray[np.float64]) -> float:
    return float(np.isinf(loss[:, -1]).mean())


def early_agreement(loss: NDArray[np.float64], epoch: int) -> float:
    """Return the Spearman correlation of the best value until an epoch with the best of all epochs."""
    return float(spearmanr(loss[:, :epoch].min(1), loss.min(1)).statistic)


def noise(loss: NDArray[np.float64]) -> float:
    """Return the median training's standard deviation between epochs of its second half, in percent of the gap.

    From second differences, so that a trend does not count: their variance is 6 times that of independent noise.
    """
    half = loss[np.isfinite(loss[:, -1]), loss.shape[1] // 2 :]
    return float(100 * np.median(np.sqrt((np.diff(half, 2, axis=1) ** 2).mean(1) / 6)) / gap(loss))


def best_epochs(loss: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return when the best value comes, in percent of the epochs: the quartiles of the better half of the trainings."""
    best = loss.min(1)
    better = loss[best <= np.median(best)]
    return np.quantile(100 * (better.argmin(1) + 1) / loss.shape[1], [0.25, 0.5, 0.75])


def falls_back(loss: NDArray[np.float64]) -> float:
    """Return the share of trainings that end worse than their best by more than a quarter of the gap, or diverge."""
    return float((loss[:, -1] > loss.min(1) + 0.25 * gap(loss)).mean() + np.isinf(loss[:, 0]).mean())


def front_size(table: Table) -> int:
    """Return how many configurations' final values (means over repeats) no other one's dominate."""
    if table.second is None:
        return 0
    signs = [1 if d == "minimize" else -1 for d in (table.direction, table.second_direction)]
    ends = np.stack([table.curves[:, :, -1].mean(1), table.second[:, :, -1].mean(1)], 1) * signs
    ends = np.unique(ends[np.isfinite(ends).all(1)], axis=0)
    return sum(not ((ends <= end).all(1) & (ends < end).any(1)).any() for end in ends)


def row(table: Table) -> tuple[str, ...]:
    made, loss = training(table.name), losses(table)
    parameters = list(table.space.walk())
    conditional = len(parameters) - len(table.space.parameters)
    repeats = table.curves.shape[1]
    size = f"{len(table.configurations)} x {table.epochs}" + (f", all cells, {repeats} seeds" if repeats > 1 else "")
    quarter = table.epochs // 4
    low, middle, high = best_epochs(loss)
    return (
        f"`{table.name}`",
        made.data,
        made.model,
        f"{len(parameters)} ({conditional})",
        size,
        f"{table.metric}, {table.direction}",
        f"{table.second_metric}: {front_size(table)}" if table.second_metric else "",
        f"{diverged(loss):.0%}",
        f"{early_agreement(loss, 1):.2f} / {early_agreement(loss, quarter):.2f}",
        f"{noise(loss):.1f}",
        f"{middle:.0f} ({low:.0f} to {high:.0f})",
        f"{falls_back(loss):.0%}",
    )


def markdown(names: tuple[str, ...]) -> str:
    rows = [row(load(name)) for name in names if (FOLDER / f"{name}.npz").exists()]
    lines = [HEADER, ("---",) * len(HEADER), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    for kind, names in SETS.items():
        print(f"### {kind.capitalize()}\n\n{markdown(names)}\n")
