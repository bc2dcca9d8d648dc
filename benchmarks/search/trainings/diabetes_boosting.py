"""Progress of diabetes by boosted trees, on few patients: large rates are fast and then get worse."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_diabetes
from sklearn.ensemble import GradientBoostingRegressor

from benchmarks.search.trainings.training import Curve, Params, Training, Work

EPOCHS, ROUNDS, SAMPLES = 40, 4, 200


@cache
def data() -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float32], NDArray[np.float64]]:
    inputs, target = load_diabetes(return_X_y=True)
    order = np.random.default_rng(2).permutation(len(inputs))
    x, y = inputs[order].astype(np.float32), (target[order] - target.mean()) / target.std()
    return x[:SAMPLES], y[:SAMPLES], x[SAMPLES:], y[SAMPLES:]


def run(params: Params, seed: int) -> Curve:
    """An epoch is 4 rounds of boosting."""
    x, y, val_x, val_y = data()
    model = GradientBoostingRegressor(
        n_estimators=EPOCHS * ROUNDS, random_state=seed, **{k: v for k, v in params.items() if k != "rows"}
    ).fit(x, y)
    nodes = np.cumsum([tree.tree_.node_count for (tree,) in model.estimators_])
    for done, predicted in enumerate(model.staged_predict(val_x), start=1):
        if done % ROUNDS == 0:
            yield float(np.sqrt(np.mean((predicted - val_y) ** 2))), float(nodes[done - 1])


TRAINING = Training(
    data="scikit-learn's diabetes, 200 for training, 242 for validation",
    model="gradient boosting, 4 rounds an epoch",
    space={
        "learning_rate": {"low": 0.003, "high": 2.5, "log": True},
        "loss": {"choices": {"squared_error": {}, "huber": {"alpha": {"low": 0.5, "high": 0.99}}}},
        "max_depth": {"low": 1, "high": 7},
        "min_samples_leaf": {"low": 1, "high": 30, "log": True},
        "subsample": {"low": 0.2, "high": 1.0},
        "max_features": {"low": 1, "high": 10},
    },
    epochs=EPOCHS,
    metric="val_rmse",
    direction="minimize",
    second_metric="nodes",
    second_direction="minimize",
    run=run,
    work=lambda p: Work(ROUNDS, ROUNDS * SAMPLES * p["subsample"] * p["max_features"] * p["max_depth"] * 10),
)
