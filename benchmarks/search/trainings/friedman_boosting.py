"""Friedman's regression with heavy noise, by boosted trees of which some may be dropped in each round."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import make_friedman1
from sklearn.tree import DecisionTreeRegressor

from benchmarks.search.trainings.training import Curve, Params, Training, Work

Array = NDArray[np.float64]
EPOCHS, ROUNDS, SAMPLES, COLUMNS = 25, 4, 300, 12


@cache
def data() -> tuple[NDArray[np.float32], Array]:
    """Return 12 columns, of which 5 matter (Friedman 1991), and targets; the last 700 rows are for validation.

    The targets for training have noise of Student's t distribution with 2 degrees of freedom; those for validation
    have none. Their unit is the standard deviation of the targets without noise.
    """
    rng = np.random.default_rng(61)
    inputs, target = make_friedman1(SAMPLES + 700, COLUMNS, random_state=61)
    y = (target - target.mean()) / target.std()
    y[:SAMPLES] += 0.7 * rng.standard_t(2, SAMPLES)
    return inputs.astype(np.float32), y


def slopes(params: Params, residuals: Array) -> Array:
    """Return the negative gradient of the loss at each sample (Friedman 2001)."""
    match params["loss"]:
        case "huber":
            bound = np.quantile(np.abs(residuals), params["huber_quantile"])
            return np.clip(residuals, -bound, bound)
        case "absolute":
            return np.sign(residuals)
    return residuals


def tree_outputs(params: Params, rng: np.random.Generator, x: NDArray[np.float32], target: Array) -> Array:
    """Return the outputs at all rows of a tree fitted to some rows and columns.

    leaf_penalty: factor of the squared leaf values (Chen and Guestrin 2016).
    """
    rows = rng.permutation(SAMPLES)[: max(2, round(params["rows"] * SAMPLES))]
    columns = rng.permutation(COLUMNS)[: params["columns"]]
    tree = DecisionTreeRegressor(
        max_depth=params.get("depth"),
        max_leaf_nodes=params.get("leaves"),
        min_samples_leaf=params["min_leaf"],
        random_state=0,
    ).fit(x[np.ix_(rows, columns)], target[rows])
    leaves = tree.apply(x[:, columns])
    sums = np.bincount(leaves[rows], target[rows], tree.tree_.node_count)
    counts = np.bincount(leaves[rows], minlength=tree.tree_.node_count)
    values: Array = (sums / (counts + params["leaf_penalty"]))[leaves]
    return values


def run(params: Params, seed: int) -> Curve:
    """An epoch is 4 trees. dart: Rashmi and Gilad-Bachrach 2015, with the two ways that XGBoost has to rescale."""
    rng = np.random.default_rng(seed)
    x, y = data()
    rate, start = params["learning_rate"], np.median(y[:SAMPLES])
    outputs, weights = np.zeros((EPOCHS * ROUNDS, len(x))), np.zeros(EPOCHS * ROUNDS)
    for done in range(EPOCHS * ROUNDS):
        dropped = (rng.random(len(weights)) < params.get("drop", 0.0)) & (np.arange(len(weights)) < done)
        kept = np.where(dropped, 0.0, weights) @ outputs[:, :SAMPLES]
        outputs[done] = tree_outputs(params, rng, x, slopes(params, y[:SAMPLES] - start - kept))
        weights[done] = rate
        if dropped.any():
            share = dropped.sum() if params["rescale"] == "tree" else 1
            weights[dropped] *= share / (share + rate)
            weights[done] = rate / (share + rate)
        if (done + 1) % ROUNDS == 0:
            yield (float(np.abs(start + weights @ outputs[:, SAMPLES:] - y[SAMPLES:]).mean()),)


DEPTHS = {"low": 1, "high": 8}
TRAINING = Training(
    data="generated: Friedman's first regression with heavy noise, 300 rows for training, 700 for validation",
    model="gradient boosting with dropped trees or without, 4 trees an epoch",
    space={
        "loss": {"choices": {"squared": {}, "huber": {"huber_quantile": {"low": 0.3, "high": 0.99}}, "absolute": {}}},
        "method": {
            "choices": {
                "plain": {},
                "dart": {"drop": {"low": 0.003, "high": 0.7, "log": True}, "rescale": {"choices": ["tree", "forest"]}},
            }
        },
        "learning_rate": {"low": 0.003, "high": 2.0, "log": True},
        "rows": {"low": 0.1, "high": 1.0},
        "columns": {"low": 1, "high": COLUMNS},
        "growth": {"choices": {"depth": {"depth": DEPTHS}, "leaves": {"leaves": {"low": 2, "high": 64, "log": True}}}},
        "min_leaf": {"low": 1, "high": 50, "log": True},
        "leaf_penalty": {"low": 0.01, "high": 100.0, "log": True},
    },
    epochs=EPOCHS,
    metric="val_mae",
    direction="minimize",
    configurations=320,
    run=run,
    work=lambda p: Work(ROUNDS, ROUNDS * SAMPLES * p["rows"] * p["columns"] * 10 * p.get("depth", 5)),
)
