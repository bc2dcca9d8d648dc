"""A rare class on a ring, under four losses for imbalanced data."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

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

EPOCHS, SAMPLES, RARE = 25, 1000, 0.06


@cache
def data() -> tuple[Tensor, Tensor]:
    """Return inputs of two useful columns and two of noise, and labels; the last 800 are for validation.

    A fiftieth of the negatives lies on the ring too.
    """
    rng = np.random.default_rng(23)
    labels = (rng.random(SAMPLES + 800) < RARE).astype(float)
    on_ring = (labels > 0) | (rng.random(len(labels)) < 0.02)
    angle, radius = rng.uniform(0, 6.3, len(labels)), rng.normal(2.6, 0.2, len(labels))
    ring = np.stack([np.cos(angle), np.sin(angle)], 1) * radius[:, None]
    plane = np.where(on_ring[:, None], ring, rng.normal(size=ring.shape))
    inputs = np.hstack([plane, rng.normal(size=ring.shape)])
    return torch.tensor(inputs, dtype=torch.float32), torch.tensor(labels, dtype=torch.float32)


def weights(params: Params, logits: Tensor, labels: Tensor) -> Tensor:
    """Return the weight of each sample.

    focal: Lin et al. 2017. ghm: Li et al. 2019, one over the density of the gradients' lengths.
    """
    wrong = (torch.sigmoid(logits) - labels).abs()
    match params["loss"]:
        case "balanced":
            return torch.where(labels > 0, params.get("positive_weight", (1 - RARE) / RARE), 1.0)
        case "focal":
            return wrong ** params.get("gamma", 2.0)
        case "ghm":
            count = params.get("bins", 10)
            bins = (wrong * count).long().clamp(max=count - 1)
            counts = torch.bincount(bins, minlength=count)
            return len(labels) / (counts[bins] * (counts > 0).sum())
    return torch.ones_like(labels)


def run(params: Params, seed: int) -> Curve:
    torch.manual_seed(seed)
    x, y = data()
    model = mlp(widths(params))
    optimizer = optimizer_of(model, params)
    for _ in schedule_epochs(optimizer, params, EPOCHS):
        for batch in batches(SAMPLES, params["batch_size"]):
            logits = model(x[batch])[:, 0]
            each = binary_cross_entropy_with_logits(logits, y[batch], reduction="none")
            step(optimizer, (weights(params, logits.detach(), y[batch]) * each).mean())
        with torch.no_grad():
            scores = model(x[SAMPLES:])[:, 0]
        if not scores.isfinite().all():
            return
        yield (float(average_precision_score(y[SAMPLES:], scores)),)


def widths(params: Params) -> tuple[int, ...]:
    return 4, *[params.get("width", 24)] * params.get("layers", 1), 1


TRAINING = Training(
    data="generated: 4 columns, 6 % positives on a ring; 1,000 for training, 800 for validation",
    model="network of 1 or 2 hidden layers",
    space={
        "loss": {
            "choices": {
                "plain": {},
                "balanced": {"positive_weight": {"low": 1.0, "high": 60.0, "log": True}},
                "focal": {"gamma": {"low": 0.2, "high": 6.0}},
                "ghm": {"bins": {"choices": [5, 10, 30]}},
            }
        },
        "learning_rate": {"low": 3e-4, "high": 1.0, "log": True},
        "layers": {"choices": [1, 2]},
        "width": {"low": 4, "high": 64, "log": True},
        "optimizer": OPTIMIZERS,
        "schedule": SCHEDULES,
        "batch_size": {"choices": [20, 50, 200]},
    },
    epochs=EPOCHS,
    metric="val_average_precision",
    direction="maximize",
    configurations=320,
    run=run,
    work=lambda params: training_work(SAMPLES, params["batch_size"], mlp_operations(widths(params))),
)
