"""Irises by learning vector quantisation (LVQ), every cell."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_iris

from benchmarks.search.trainings.training import Curve, Params, Training, Work

EPOCHS, SAMPLES = 25, 60


@cache
def data() -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    """Three noisy columns are added, or every configuration would be right."""
    rng = np.random.default_rng(8)
    inputs, labels = load_iris(return_X_y=True)
    order = rng.permutation(len(inputs))
    x = np.hstack([inputs / inputs.std(0), rng.normal(size=(len(inputs), 3))])[order]
    x = (x + rng.normal(scale=0.5, size=x.shape)).astype(np.float32)
    return x[:SAMPLES], labels[order][:SAMPLES], x[SAMPLES:], labels[order][SAMPLES:]


def run(params: Params, seed: int) -> Curve:
    """LVQ1; `window` also pushes the nearest wrong prototype away where both are about as near (LVQ2.1)."""
    rng = np.random.default_rng(seed)
    x, y, val_x, val_y = data()
    count = params["prototypes"]
    owners = np.repeat(np.arange(3), count)
    prototypes = np.concatenate([x[y == c].mean(0) + rng.normal(size=(count, x.shape[1])) for c in range(3)])
    for epoch in range(EPOCHS):
        rate = params["learning_rate"] * (1 - epoch / EPOCHS if params["schedule"] == "linear" else 1)
        for k in rng.permutation(SAMPLES):
            distances = ((prototypes - x[k]) ** 2).sum(1)
            right = np.where(owners == y[k], distances, np.inf).argmin()
            wrong = np.where(owners != y[k], distances, np.inf).argmin()
            near = distances[right], distances[wrong]
            if params["rule"] == "lvq1":
                moved = [(right, rate)] if near[0] <= near[1] else [(wrong, -rate)]
            else:
                moved = [(right, rate), (wrong, -rate)] if min(near) > 0.5 * max(near) else []
            for each, size in moved:
                prototypes[each] += size * (x[k] - prototypes[each])
        found = owners[((val_x[:, None] - prototypes) ** 2).sum(2).argmin(1)]
        yield (float((found == val_y).mean()),)


TRAINING = Training(
    data="scikit-learn's iris with noise, 60 for training, 90 for validation",
    model="learning vector quantisation",
    space={
        "rule": {"choices": ["lvq1", "window"]},
        "prototypes": {"choices": [1, 2, 4, 8]},
        "learning_rate": {"choices": [0.003, 0.03, 0.3]},
        "schedule": {"choices": ["constant", "linear"]},
    },
    epochs=EPOCHS,
    metric="val_accuracy",
    direction="maximize",
    repeats=3,
    run=run,
    work=lambda params: Work(SAMPLES, SAMPLES * params["prototypes"] * 3 * 7),
)
