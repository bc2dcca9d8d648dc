"""Wines among many columns of noise: softmax regression that is to be sure and right with few weights. Every cell."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_wine

from benchmarks.search.trainings.networks import training_work
from benchmarks.search.trainings.training import Curve, Params, Training

EPOCHS, SAMPLES, NOISE_COLUMNS = 30, 90, 20


@cache
def data() -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(1)
    inputs, labels = load_wine(return_X_y=True)
    order = rng.permutation(len(inputs))
    x = np.hstack([inputs, rng.normal(size=(len(inputs), NOISE_COLUMNS))])[order]
    x = ((x - x[:SAMPLES].mean(0)) / x[:SAMPLES].std(0)).astype(np.float32)
    # Each column is blurred, or every configuration would be right.
    x += rng.normal(scale=1.5, size=x.shape).astype(np.float32)
    y = labels[order]
    return x[:SAMPLES], y[:SAMPLES], x[SAMPLES:], y[SAMPLES:]


def softmax(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def run(params: Params, seed: int) -> Curve:
    """Proximal steps: L1 sets weights to exactly 0."""
    rng = np.random.default_rng(seed)
    x, y, val_x, val_y = data()
    weights, bias = np.zeros((x.shape[1], 3), np.float32), np.zeros(3, np.float32)
    rate, penalty, strength = params["learning_rate"], params["penalty"], params.get("strength", 0.0)
    for _ in range(EPOCHS):
        order = rng.permutation(SAMPLES)
        for start in range(0, SAMPLES, params["batch_size"]):
            batch = order[start : start + params["batch_size"]]
            error = softmax(x[batch] @ weights + bias)
            error[np.arange(len(batch)), y[batch]] -= 1
            weights -= rate * (x[batch].T @ error / len(batch) + (strength * weights if penalty == "l2" else 0))
            bias -= rate * error.mean(0)
            if penalty == "l1":
                weights = np.sign(weights) * np.maximum(np.abs(weights) - rate * strength, 0)
        probabilities = softmax(val_x @ weights + bias)
        right = np.maximum(probabilities[np.arange(len(val_y)), val_y], 1e-12)
        yield float(-np.log(right).mean()), float(np.count_nonzero(weights))


TRAINING = Training(
    data="scikit-learn's wine with 20 columns of noise, 90 for training, 88 for validation",
    model="softmax regression",
    space={
        "penalty": {
            "choices": {
                "none": {},
                "l1": {"strength": {"choices": [0.03, 0.1, 0.2]}},
                "l2": {"strength": {"choices": [0.01, 0.1]}},
            }
        },
        "learning_rate": {"choices": [0.003, 0.03, 0.3]},
        "batch_size": {"choices": [4, 15, 90]},
    },
    epochs=EPOCHS,
    metric="val_log_loss",
    direction="minimize",
    second_metric="nonzero_weights",
    second_direction="minimize",
    repeats=3,
    run=run,
    work=lambda params: training_work(SAMPLES, params["batch_size"], 3 * 33),
)
