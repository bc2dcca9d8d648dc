"""Problems from the learning curves that others recorded: taskset.npz and lcbench.npz of a folder DATA."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from problems import Problem

from hpo.space.search_space import SearchSpace

INTEGERS = {"batch_size", "num_layers", "max_units"}
# As they were drawn for LCBench; TaskSet's file says it of its own.
LOG = {"batch_size", "learning_rate", "max_units"}
FAMILIES = {"taskset": "valid", "lcbench": "valid_error"}


def recorded(data: Path, family: str) -> list[Problem]:
    """Return the problems of a family.

    Args:
        data: the folder of the files.
        family: a key of `FAMILIES`.
    """
    with np.load(data / f"{family}.npz") as file:
        configurations, names = file["X"].astype(float), [str(name) for name in file["names"]]
        log = dict(zip(names, file["log"].tolist(), strict=True)) if "log" in file else {n: n in LOG for n in names}
        curves = file[FAMILIES[family]].astype(float)
        shape = curves.shape[:2]
        seconds = file["epoch_seconds"].astype(float) if "epoch_seconds" in file else np.ones(shape)
        titles = [str(title) for title in file["tasks"]]
    params = tuple(
        {n: int(v) if n in INTEGERS else float(v) for n, v in zip(names, row, strict=True)} for row in configurations
    )
    declared: dict[str, Any] = {}
    for name in names:
        values = [one[name] for one in params]
        declared[name] = {"low": min(values), "high": max(values), **({"log": True} if log[name] else {})}
    space = SearchSpace.parse(declared)
    return [
        Problem(family, title, space, params, diverged(curves[t])[:, None], seconds[t])
        for t, title in enumerate(titles)
    ]


def diverged(curves: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return curves with NaN from the first value on that is not finite. The last axis holds the epochs."""
    return np.where(np.logical_and.accumulate(np.isfinite(curves), axis=-1), curves, np.nan)
