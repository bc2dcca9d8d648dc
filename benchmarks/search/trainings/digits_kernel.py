"""Digits by softmax regression on random Fourier features of a Gaussian kernel."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from benchmarks.search.trainings.training import Curve, Params, Training, Work

EPOCHS, SAMPLES = 25, 300


@cache
def data() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return images under noise and digits, a tenth of those for training wrong; the last 300 are for validation."""
    rng = np.random.default_rng(24)
    inputs, labels = load_digits(return_X_y=True)
    kept = rng.permutation(len(inputs))[: SAMPLES + 300]
    x = (inputs[kept] + rng.normal(scale=4, size=(len(kept), 64))) / 16
    y = labels[kept]
    wrong = (rng.random(len(y)) < 0.1) & (np.arange(len(y)) < SAMPLES)
    return x, np.where(wrong, rng.integers(0, 10, len(y)), y)


def run(params: Params, seed: int) -> Curve:
    """Rahimi and Recht 2007; the features are drawn anew with each seed."""
    rng = np.random.default_rng(seed)
    x, y = data()
    count, momentum = params.get("features", 120), params.get("momentum", 0.9)
    directions = rng.normal(scale=params["kernel_width"], size=(64, count))
    features = np.cos(x @ directions + rng.uniform(0, 2 * np.pi, count)) * np.sqrt(2 / count)
    weights, moment = np.zeros((count, 10)), np.zeros((count, 10))
    for _ in range(EPOCHS):
        for batch in np.array_split(rng.permutation(SAMPLES), SAMPLES // params.get("batch_size", 10)):
            scores = features[batch] @ weights
            error = np.exp(scores - scores.max(1, keepdims=True))
            error /= error.sum(1, keepdims=True)
            error[np.arange(len(batch)), y[batch]] -= 1
            moment = momentum * moment + features[batch].T @ error / len(batch) + params["l2"] * weights
            weights = weights - params["learning_rate"] * moment
        scores = features[SAMPLES:] @ weights
        if not np.isfinite(scores).all():
            return
        yield (float((scores.argmax(1) == y[SAMPLES:]).mean()),)


TRAINING = Training(
    data="scikit-learn's digits with noise, 300 for training with 10 % of the labels drawn anew, 300 for validation",
    model="softmax regression on random features of a kernel",
    space={
        "kernel_width": {"low": 0.02, "high": 3.0, "log": True},
        "features": {"choices": [40, 120, 360]},
        "learning_rate": {"low": 0.01, "high": 100.0, "log": True},
        "momentum": {"low": 0.0, "high": 0.99},
        "l2": {"low": 1e-7, "high": 1.0, "log": True},
        "batch_size": {"choices": [5, 10, 30]},
    },
    epochs=EPOCHS,
    metric="val_accuracy",
    direction="maximize",
    run=run,
    work=lambda p: Work(SAMPLES / p.get("batch_size", 10), SAMPLES * p.get("features", 120) * 30),
)
