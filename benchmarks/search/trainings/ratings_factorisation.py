"""Ratings by factors of users and items: large ranks overfit, large rates diverge."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from benchmarks.search.trainings.training import Curve, Params, Training, Work

EPOCHS, SAMPLES, USERS, ITEMS = 30, 1800, 120, 60


@cache
def data() -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    rng = np.random.default_rng(6)
    tastes = rng.normal(size=(USERS, 4)) @ rng.normal(size=(4, ITEMS)) / 2
    ratings = tastes + rng.normal(scale=0.5, size=(USERS, 1)) + rng.normal(scale=0.5, size=ITEMS)
    ratings = (ratings + rng.normal(scale=0.5, size=ratings.shape)).astype(np.float32)
    places = rng.permutation(USERS * ITEMS)[: SAMPLES + 400]
    pairs, values = np.stack(np.divmod(places, ITEMS), 1), ratings.ravel()[places]
    return pairs[:SAMPLES], values[:SAMPLES], pairs[SAMPLES:], values[SAMPLES:]


def run(params: Params, seed: int) -> Curve:
    rng = np.random.default_rng(seed)
    pairs, values, val_pairs, val_values = data()
    rank, biased = params["rank"], params["biases"]
    # The last two columns are the biases of user and item; the other side's column stays 1.
    user = np.pad(rng.normal(scale=params["init_scale"], size=(USERS, rank)), ((0, 0), (0, 2)))
    item = np.pad(rng.normal(scale=params["init_scale"], size=(ITEMS, rank)), ((0, 0), (0, 2)))
    user[:, -1] = item[:, -2] = float(biased)
    user_free, item_free = np.ones(rank + 2), np.ones(rank + 2)
    user_free[-2:], item_free[-2:] = (biased, 0), (0, biased)
    squares = np.full((USERS, 1), 1e-2), np.full((ITEMS, 1), 1e-2)
    for epoch in range(EPOCHS):
        rate = params["learning_rate"] * params.get("decay", 1.0) ** epoch
        for batch in np.array_split(rng.permutation(SAMPLES), SAMPLES // params["batch_size"]):
            u, i = pairs[batch].T
            error = ((user[u] * item[i]).sum(1) - values[batch])[:, None]
            steps = error * item[i] + params["l2"] * user[u], error * user[u] + params["l2"] * item[i]
            for matrix, free, rows, gradient, square in zip(
                (user, item), (user_free, item_free), (u, i), steps, squares, strict=True
            ):
                scale = 1.0
                if params["optimizer"] == "adagrad":
                    np.add.at(square, rows, (gradient**2).mean(1, keepdims=True))
                    scale = 1 / np.sqrt(square[rows])
                np.add.at(matrix, rows, -rate * scale * gradient * free)
        found = (user[val_pairs[:, 0]] * item[val_pairs[:, 1]]).sum(1)
        yield (float(np.sqrt(np.mean((found - val_values) ** 2))),)


TRAINING = Training(
    data="generated: 120 users, 60 items, 1,800 ratings for training, 400 for validation",
    model="matrix factorisation",
    space={
        "optimizer": {"choices": {"sgd": {"decay": {"low": 0.8, "high": 1.0}}, "adagrad": {}}},
        "learning_rate": {"low": 0.01, "high": 1.0, "log": True},
        "rank": {"low": 1, "high": 24, "log": True},
        "l2": {"low": 1e-4, "high": 0.5, "log": True},
        "init_scale": {"low": 0.01, "high": 1.0, "log": True},
        "biases": {"choices": [True, False]},
        "batch_size": {"choices": [10, 30, 100]},
    },
    epochs=EPOCHS,
    metric="val_rmse",
    direction="minimize",
    run=run,
    work=lambda p: Work(SAMPLES // p["batch_size"], SAMPLES * p["rank"] * 6),
)
