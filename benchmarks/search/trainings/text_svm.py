"""Short texts by linear models of hinge and other losses, a fifth of the labels wrong. Every cell."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from benchmarks.search.trainings.training import Curve, Params, Training, Work

EPOCHS, SAMPLES, WORDS, LENGTH = 25, 400, 300, 15


@cache
def data() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return counts of words and labels of -1 and 1; the last 150 texts are for validation."""
    rng = np.random.default_rng(12)
    usual = rng.dirichlet(np.full(WORDS, 0.3))
    topics = [0.75 * usual + 0.25 * rng.dirichlet(np.full(WORDS, 0.1)) for _ in range(2)]
    labels = rng.integers(0, 2, SAMPLES + 150)
    counts = np.stack([rng.multinomial(LENGTH, topics[label]) for label in labels]).astype(float)
    wrong = (rng.random(len(labels)) < 0.2) & (np.arange(len(labels)) < SAMPLES)
    return counts, np.where(wrong, 1 - labels, labels) * 2.0 - 1


def slope(loss: str, margin: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the derivative of the loss by the margin."""
    if loss == "hinge":
        return -(margin < 1).astype(float)
    if loss == "logistic":
        return -1 / (1 + np.exp(np.clip(margin, -30, 30)))
    return -2 * (1 - margin) * (margin < 1) if loss == "squared_hinge" else -2 * (1 - margin)


def run(params: Params, seed: int) -> Curve:
    rng = np.random.default_rng(seed)
    x, y = data()
    weights, mean = np.zeros(WORDS), np.zeros(WORDS)
    for epoch in range(EPOCHS):
        for batch in np.array_split(rng.permutation(SAMPLES), 40):
            error = slope(params["loss"], y[batch] * (x[batch] @ weights)) * y[batch]
            weights -= params["learning_rate"] * (x[batch].T @ error / len(batch) + params["l2"] * weights)
        mean += (weights - mean) / (epoch + 1)
        scores = x[SAMPLES:] @ (mean if params["averaging"] == "all_epochs" else weights)
        if not np.isfinite(scores).all():
            return
        yield (float((np.sign(scores) != y[SAMPLES:]).mean()),)


TRAINING = Training(
    data="generated: texts of two topics, 300 words; 400 for training with 20 % wrong labels, 150 for validation",
    model="linear model",
    space={
        "loss": {"choices": ["hinge", "squared_hinge", "logistic", "squared"]},
        "learning_rate": {"choices": [0.003, 0.03, 0.3]},
        "l2": {"choices": [0.001, 0.1]},
        "averaging": {"choices": ["last", "all_epochs"]},
    },
    epochs=EPOCHS,
    metric="val_error",
    direction="minimize",
    repeats=3,
    run=run,
    work=lambda params: Work(40, SAMPLES * WORDS * 3),
)
