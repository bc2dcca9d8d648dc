"""Rare positives: does a focal or a weighted loss find them, and what does it cost in calibration?"""

from __future__ import annotations

from functools import cache

import torch
from sklearn.datasets import make_classification
from sklearn.metrics import average_precision_score
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

from benchmarks.search.trainings.networks import (
    OPTIMIZERS,
    batches,
    mlp,
    mlp_operations,
    optimizer_of,
    schedule_epochs,
    step,
    training_work,
)
from benchmarks.search.trainings.training import Curve, Params, Training

EPOCHS, SAMPLES, COLUMNS = 25, 1500, 20


@cache
def data() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    inputs, labels = make_classification(
        2300, COLUMNS, n_informative=8, n_clusters_per_class=4, weights=[0.95], flip_y=0.02, random_state=3
    )
    x, y = torch.tensor(inputs / 2, dtype=torch.float32), torch.tensor(labels, dtype=torch.float32)
    return x[:SAMPLES], y[:SAMPLES], x[SAMPLES:], y[SAMPLES:]


def loss_of(params: Params, scores: Tensor, y: Tensor) -> Tensor:
    if params["loss"] == "focal":
        sign, alpha = 2 * y - 1, params["alpha"]
        log_right = logsigmoid(sign * scores)
        return -((alpha * y + (1 - alpha) * (1 - y)) * (1 - log_right.exp()) ** params["gamma"] * log_right).mean()
    weight = torch.tensor(params.get("positive_weight", 1.0))
    return binary_cross_entropy_with_logits(scores, y, pos_weight=weight)


def run(params: Params, seed: int) -> Curve:
    torch.manual_seed(seed)
    x, y, val_x, val_y = data()
    model: nn.Module = mlp([COLUMNS, params["width"], 1], dropout=params["dropout"])
    optimizer = optimizer_of(model, params)
    for _ in schedule_epochs(optimizer, params, EPOCHS):
        model.train()
        for batch in batches(SAMPLES, params["batch_size"]):
            step(optimizer, loss_of(params, model(x[batch])[:, 0], y[batch]))
        model.eval()
        with torch.no_grad():
            scores = torch.sigmoid(model(val_x)[:, 0])
        if not scores.isfinite().all():
            return
        yield float(average_precision_score(val_y, scores)), float(((scores - val_y) ** 2).mean())


TRAINING = Training(
    data="generated: 20 columns, 5 % positives in four clusters; 1,500 for training, 800 for validation (40 positives)",
    model="network of one hidden layer",
    space={
        "loss": {
            "choices": {
                "bce": {},
                "weighted_bce": {"positive_weight": {"low": 1.0, "high": 50.0, "log": True}},
                "focal": {"gamma": {"low": 0.0, "high": 5.0}, "alpha": {"low": 0.05, "high": 0.95}},
            }
        },
        "learning_rate": {"low": 1e-4, "high": 0.3, "log": True},
        "optimizer": OPTIMIZERS,
        "batch_size": {"choices": [32, 64, 128]},
        "width": {"low": 4, "high": 64, "log": True},
        "dropout": {"low": 0.0, "high": 0.5},
    },
    epochs=EPOCHS,
    metric="val_average_precision",
    direction="maximize",
    second_metric="val_brier",
    second_direction="minimize",
    configurations=320,
    run=run,
    work=lambda p: training_work(SAMPLES, p["batch_size"], mlp_operations([COLUMNS, p["width"], 1])),
)
