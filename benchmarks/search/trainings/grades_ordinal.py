"""Ordinal grades of which the severe ones are rare: cross-entropy, cumulative links or regression with thresholds."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from sklearn.metrics import cohen_kappa_score
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, huber_loss

from benchmarks.search.trainings.networks import OPTIMIZERS, batches, optimizer_of, schedule_epochs, step, training_work
from benchmarks.search.trainings.training import Curve, Params, Training

EPOCHS, SAMPLES, COLUMNS, GRADES = 30, 800, 8, 5


@cache
def data() -> tuple[Tensor, Tensor]:
    """Return columns and grades 0 to 4, which 60, 22, 10, 5 and 3 % have; the last 1000 are for validation."""
    rng = np.random.default_rng(53)
    x = rng.normal(size=(SAMPLES + 1000, COLUMNS))
    severity = 1.2 * x[:, 0] * x[:, 1] + np.sin(2 * x[:, 2]) + 0.8 * np.maximum(x[:, 3], x[:, 4]) + 0.5 * abs(x[:, 5])
    severity += rng.normal(scale=0.4, size=len(x))
    grades = np.searchsorted(np.quantile(severity, [0.6, 0.82, 0.92, 0.97]), severity)
    return torch.tensor(x, dtype=torch.float32), torch.tensor(grades)


class Links(nn.Module):
    """Compares one score with the limits between the grades (CORAL, Cao et al. 2020); spread: of those at first."""

    def __init__(self, spread: float) -> None:
        super().__init__()
        self.limits = nn.Parameter(torch.linspace(-spread, spread, GRADES - 1))

    def forward(self, score: Tensor) -> Tensor:
        return score - self.limits


def network(params: Params) -> nn.Sequential:
    width, outputs = params["width"], GRADES if params["method"] == "cross_entropy" else 1
    hidden = [nn.Linear(COLUMNS, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()]
    ends = [Links(params["spread"])] if params["method"] == "links" else []
    return nn.Sequential(*hidden, nn.Linear(width, outputs), *ends)


def loss_of(params: Params, scores: Tensor, y: Tensor, weights: Tensor) -> Tensor:
    """Return the mean over a batch; weights: of each grade. delta: where the Huber loss turns linear, in grades."""
    if params["method"] == "cross_entropy":
        each = cross_entropy(scores, y, reduction="none", label_smoothing=params["label_smoothing"])
    elif params["method"] == "links":
        above = (y[:, None] > torch.arange(GRADES - 1)).float()
        each = binary_cross_entropy_with_logits(scores, above, reduction="none").mean(1)
    else:
        each = huber_loss(scores[:, 0], y.float(), reduction="none", delta=params["delta"])
    return (each * weights[y]).mean()


def grades_of(params: Params, scores: Tensor) -> Tensor:
    """shift: of the thresholds between grades, which are 0.5, 1.5, ... without it."""
    if params["method"] == "cross_entropy":
        return scores.argmax(1)
    if params["method"] == "links":
        return (scores > 0).sum(1)
    return scores[:, 0].sub(params["shift"]).round().clamp(0, GRADES - 1)


def run(params: Params, seed: int) -> Curve:
    """The weight of a grade is a power of its frequency: at a rebalancing of 1 all grades count the same."""
    torch.manual_seed(seed)
    x, y = data()
    weights = y[:SAMPLES].bincount() ** -params["rebalancing"]
    weights /= weights[y[:SAMPLES]].mean()
    optimizer = optimizer_of(model := network(params), params)
    for _ in schedule_epochs(optimizer, params, EPOCHS):
        for batch in batches(SAMPLES, params["batch_size"]):
            step(optimizer, loss_of(params, model(x[batch]), y[batch], weights))
        with torch.no_grad():
            scores = model(x[SAMPLES:])
        if not scores.isfinite().all():
            return
        yield (float(cohen_kappa_score(y[SAMPLES:], grades_of(params, scores), weights="quadratic", labels=range(5))),)


TRAINING = Training(
    data="generated: 8 columns and 5 ordinal grades, 60 to 3 % of the samples; 800 for training, 1000 for validation",
    model="network of two hidden layers",
    space={
        "method": {
            "choices": {
                "cross_entropy": {"label_smoothing": {"low": 0.0, "high": 0.5}},
                "links": {"spread": {"low": 0.01, "high": 10.0, "log": True}},
                "regression": {"delta": {"low": 0.05, "high": 5.0, "log": True}, "shift": {"low": -0.5, "high": 0.5}},
            }
        },
        "rebalancing": {"low": -0.5, "high": 1.5},
        "width": {"low": 4, "high": 64, "log": True},
        "weight_decay": {"low": 1e-5, "high": 1.0, "log": True},
        "learning_rate": {"low": 1e-4, "high": 1.0, "log": True},
        "optimizer": OPTIMIZERS,
        "batch_size": {"choices": [20, 50, 100]},
    },
    epochs=EPOCHS,
    metric="val_quadratic_kappa",
    direction="maximize",
    configurations=320,
    run=run,
    work=lambda p: training_work(SAMPLES, p["batch_size"], p["width"] * (COLUMNS + p["width"] + GRADES)),
)
