"""Digits with a fifth of the training labels wrong; a network that is to be good and small."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn.functional import cross_entropy

from benchmarks.search.trainings.networks import (
    OPTIMIZERS,
    SCHEDULES,
    batches,
    mlp,
    mlp_operations,
    optimizer_of,
    schedule_epochs,
    step,
    training_work,
)
from benchmarks.search.trainings.training import Curve, Params, Training

EPOCHS, SAMPLES = 30, 500


@cache
def data() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rng = np.random.default_rng(0)
    inputs, labels = load_digits(return_X_y=True)
    order = rng.permutation(len(inputs))[: SAMPLES + 300]
    x, y = torch.tensor(inputs[order] / 8 - 1, dtype=torch.float32), torch.tensor(labels[order])
    wrong = torch.from_numpy(rng.random(SAMPLES) < 0.2)
    y[:SAMPLES][wrong] = torch.from_numpy(rng.integers(0, 10, int(wrong.sum())))
    return x[:SAMPLES], y[:SAMPLES], x[SAMPLES:], y[SAMPLES:]


def widths(params: Params) -> list[int]:
    return [64, *[params["width"]] * params["layers"], 10]


def run(params: Params, seed: int) -> Curve:
    torch.manual_seed(seed)
    x, y, val_x, val_y = data()
    model = mlp(widths(params), dropout=params["dropout"])
    optimizer = optimizer_of(model, params)
    for _ in schedule_epochs(optimizer, params, EPOCHS):
        model.train()
        for batch in batches(SAMPLES, params["batch_size"]):
            step(optimizer, cross_entropy(model(x[batch]), y[batch]))
        model.eval()
        with torch.no_grad():
            scores = model(val_x)
        if not scores.isfinite().all():
            return
        yield float((scores.argmax(1) == val_y).float().mean()), float(mlp_operations(widths(params)))


TRAINING = Training(
    data="scikit-learn's digits, 500 for training with 20 % of the labels drawn anew, 300 for validation",
    model="network of 1 to 3 hidden layers",
    space={
        "learning_rate": {"low": 3e-4, "high": 1.0, "log": True},
        "optimizer": OPTIMIZERS,
        "schedule": SCHEDULES,
        "batch_size": {"choices": [16, 32, 64, 128]},
        "width": {"low": 8, "high": 128, "log": True},
        "layers": {"low": 1, "high": 3},
        "dropout": {"low": 0.0, "high": 0.6},
    },
    epochs=EPOCHS,
    metric="val_accuracy",
    direction="maximize",
    second_metric="inference_operations",
    second_direction="minimize",
    run=run,
    work=lambda params: training_work(SAMPLES, params["batch_size"], mlp_operations(widths(params))),
)
