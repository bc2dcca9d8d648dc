"""Wines embedded so that like lies with like, by three losses."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from sklearn.datasets import load_wine
from torch import Tensor
from torch.nn.functional import cross_entropy, relu

from benchmarks.search.trainings.networks import (
    OPTIMIZERS,
    SCHEDULES,
    batches,
    mlp,
    mlp_operations,
    optimizer_of,
    schedule_epochs,
    standardise,
    step,
    training_work,
)
from benchmarks.search.trainings.training import Curve, Params, Training

EPOCHS, SAMPLES, COLUMNS = 25, 90, 25


@cache
def data() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Twelve columns of noise are added, and noise to the others, or every configuration would be right."""
    rng = np.random.default_rng(26)
    inputs, labels = load_wine(return_X_y=True)
    order = rng.permutation(len(inputs))
    noisy = np.hstack([inputs / inputs.std(0), rng.normal(size=(len(inputs), COLUMNS - 13))])[order]
    x = torch.tensor(noisy + rng.normal(scale=0.9, size=noisy.shape), dtype=torch.float32)
    y = torch.tensor(labels[order])
    train, validation = standardise(x[:SAMPLES], x[SAMPLES:])
    return train, validation, y[:SAMPLES], y[SAMPLES:]


def distances(first: Tensor, second: Tensor) -> Tensor:
    """Return (first, second); with a slope where two are the same, which `torch.cdist` has not."""
    return (((first[:, None] - second) ** 2).sum(2) + 1e-8).sqrt()


def loss_of(params: Params, found: Tensor, labels: Tensor) -> Tensor:
    """contrastive: Hadsell et al. 2006. triplet: Schroff et al. 2015. prototypes: Snell et al. 2017, of the batch."""
    margin = params["margin"]
    if params["loss"] == "prototypes":
        owners = labels.unique()
        centres = torch.stack([found[labels == owner].mean(0) for owner in owners])
        scores = -(distances(found, centres) ** 2) / margin
        return cross_entropy(scores, (labels[:, None] == owners).float().argmax(1))
    apart, same = distances(found, found), labels[:, None] == labels
    if params["loss"] == "contrastive":
        return torch.where(same, apart**2, relu(margin - apart) ** 2).mean()
    # Of each anchor its farthest like and its nearest unlike.
    far, near = torch.where(same, apart, 0.0).max(1).values, torch.where(same, 1e3, apart).min(1).values
    return relu(far - near + margin).mean()


def widths(params: Params) -> tuple[int, ...]:
    return COLUMNS, params.get("width", 16), params["dimensions"]


def run(params: Params, seed: int) -> Curve:
    """The metric is the accuracy of the nearest training sample's class."""
    torch.manual_seed(seed)
    x, val_x, y, val_y = data()
    model = mlp(widths(params))
    optimizer = optimizer_of(model, params)
    for _ in schedule_epochs(optimizer, params, EPOCHS):
        for batch in batches(SAMPLES, params.get("batch_size", 15)):
            step(optimizer, loss_of(params, model(x[batch]), y[batch]))
        with torch.no_grad():
            apart = distances(model(val_x), model(x))
        if not apart.isfinite().all():
            return
        yield (float((y[apart.argmin(1)] == val_y).float().mean()),)


TRAINING = Training(
    data="scikit-learn's wine with noise, 90 for training, 88 for validation",
    model="embedding by a network of one hidden layer",
    space={
        "loss": {"choices": ["contrastive", "triplet", "prototypes"]},
        "margin": {"low": 0.03, "high": 30.0, "log": True},
        "dimensions": {"low": 1, "high": 16, "log": True},
        "width": {"low": 4, "high": 64, "log": True},
        "learning_rate": {"low": 1e-4, "high": 1.0, "log": True},
        "weight_decay": {"low": 1e-5, "high": 1.0, "log": True},
        "optimizer": OPTIMIZERS,
        "schedule": SCHEDULES,
        "batch_size": {"choices": [9, 15, 45]},
    },
    epochs=EPOCHS,
    metric="val_accuracy",
    direction="maximize",
    run=run,
    work=lambda params: training_work(SAMPLES, params.get("batch_size", 15), mlp_operations(widths(params))),
)
