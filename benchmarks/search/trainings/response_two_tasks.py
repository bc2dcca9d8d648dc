"""Evoked responses: whether there is one, and when, by one network with two losses."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from benchmarks.search.trainings.networks import (
    OPTIMIZERS,
    SCHEDULES,
    batches,
    optimizer_of,
    schedule_epochs,
    step,
    training_work,
)
from benchmarks.search.trainings.training import Curve, Params, Training

EPOCHS, SAMPLES, LENGTH, WIDTH, HIDDEN = 25, 240, 50, 6, 16


@cache
def data() -> tuple[Tensor, Tensor, Tensor]:
    """Return signals, whether a response is in them, and its latency from 0 to 1; the last 160 are for validation."""
    rng = np.random.default_rng(27)
    count, times = SAMPLES + 160, np.arange(LENGTH)
    present, latency = (rng.random(count) < 0.4).astype(float), rng.uniform(0, 1, count)
    peak = 10 + 25 * latency[:, None]
    response = np.exp(-(((times - peak) / 2.5) ** 2)) - 0.7 * np.exp(-(((times - peak - 6) / 3) ** 2))
    noise = rng.normal(size=(count, LENGTH + 4))
    smooth = np.stack([noise[:, k : k + LENGTH] for k in range(5)]).mean(0)
    x = torch.tensor(present[:, None] * response + smooth, dtype=torch.float32)[:, None]
    return x, torch.tensor(present, dtype=torch.float32), torch.tensor(latency, dtype=torch.float32)


class Network(nn.Module):
    """Two convolutions and two heads. shared: both heads have one hidden layer in common."""

    def __init__(self, heads: str) -> None:
        super().__init__()
        first = nn.Conv1d(1, WIDTH, 9, padding=4), nn.ReLU(), nn.MaxPool1d(2)
        self.body = nn.Sequential(*first, nn.Conv1d(WIDTH, WIDTH, 5, padding=2), nn.ReLU(), nn.Flatten())
        layers = 1 if heads == "shared" else 2
        self.hidden = nn.ModuleList(nn.Linear(WIDTH * LENGTH // 2, HIDDEN) for _ in range(layers))
        self.heads = nn.ModuleList(nn.Linear(HIDDEN, 1) for _ in range(2))
        self.doubts = nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        body = self.body(x)
        first, last = self.hidden[0](body).relu(), self.hidden[-1](body).relu()
        return self.heads[0](first)[:, 0], self.heads[1](last)[:, 0]


def run(params: Params, seed: int) -> Curve:
    """Losses with a weight, or with learnt ones (Kendall et al. 2018).

    The metric is the area under the ROC curve minus the error of the latency, where there is a response.
    """
    torch.manual_seed(seed)
    x, present, latency = data()
    model = Network(params["heads"])
    optimizer = optimizer_of(model, params)
    for _ in schedule_epochs(optimizer, params, EPOCHS):
        for batch in batches(SAMPLES, params["batch_size"]):
            logits, found = model(x[batch])
            told = binary_cross_entropy_with_logits(logits, present[batch])
            timed = (present[batch] * (found - latency[batch]) ** 2).mean()
            if "latency_weight" in params:
                loss = told + params["latency_weight"] * timed
            else:
                loss = (torch.exp(-model.doubts) * torch.stack([told, timed]) + model.doubts).sum()
            step(optimizer, loss)
        with torch.no_grad():
            logits, found = model(x[SAMPLES:])
        if not (logits + found).isfinite().all():
            return
        there = present[SAMPLES:] > 0
        error = (found - latency[SAMPLES:])[there].abs().mean()
        yield (float(roc_auc_score(present[SAMPLES:], logits) - error),)


TRAINING = Training(
    data="generated: signals of 50 samples, 40 % with a response of some latency; 240 for training, 160 for validation",
    model="convolutional network with two heads",
    space={
        "weighting": {
            "choices": {"fixed": {"latency_weight": {"low": 0.01, "high": 100.0, "log": True}}, "learnt": {}},
        },
        "heads": {"choices": ["shared", "separate"], "structural": True},
        "learning_rate": {"low": 1e-4, "high": 1.0, "log": True},
        "weight_decay": {"low": 1e-6, "high": 1.0, "log": True},
        "warmup": {"low": 0.0, "high": 0.3},
        "optimizer": OPTIMIZERS,
        "schedule": SCHEDULES,
        "batch_size": {"choices": [12, 30, 60]},
    },
    epochs=EPOCHS,
    metric="val_auc_minus_error",
    direction="maximize",
    configurations=320,
    run=run,
    work=lambda params: training_work(SAMPLES, params["batch_size"], LENGTH * WIDTH * 9 + 25 * 5 * WIDTH**2 + 2400),
)
