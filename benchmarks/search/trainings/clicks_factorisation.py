"""Rare clicks on advertisements, by a factorisation machine: what counts is which categories meet."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from benchmarks.search.trainings.networks import OPTIMIZERS, optimizer_of, step
from benchmarks.search.trainings.training import Curve, Params, Training, Work

EPOCHS, SAMPLES, ALL, RARE = 25, 5000, 9000, 0.04
# How many categories there are of users, pages, advertisements, places, hours and devices.
FIELDS = (150, 60, 40, 20, 12, 5)
CATEGORIES = sum(FIELDS)


@cache
def data() -> tuple[Tensor, Tensor]:
    """Return each sample's categories, counted through all fields and some of them rare, and whether it has a click."""
    rng = np.random.default_rng(32)
    shares = [rng.permutation(1 / np.arange(3, size + 3)) for size in FIELDS]
    columns = [rng.choice(len(each), ALL, p=each / each.sum()) for each in shares]
    rows = np.stack(columns, 1) + np.cumsum(FIELDS) - FIELDS
    tastes = rng.normal(size=(CATEGORIES, 3))[rows] * np.array([1.0, 0.8, 1.0, 0.5, 0.3, 0.5])[:, None]
    pairs = (tastes.sum(1) ** 2 - (tastes**2).sum(1)).sum(1) / 2
    scores = rng.normal(scale=0.5, size=CATEGORIES)[rows].sum(1) + pairs + rng.logistic(size=ALL)
    return torch.tensor(rows), torch.tensor(scores > np.quantile(scores, 1 - RARE)).float()


class Machine(nn.Module):
    """Rendle 2010, equations 1 and 5: a bias, a weight of each category, and products of their factors."""

    def __init__(self, factors: int, init_scale: float) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor(math.log(RARE)))
        self.weights = nn.Parameter(torch.zeros(CATEGORIES))
        self.factors = nn.Parameter(init_scale * torch.randn(CATEGORIES, factors))

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return scores, and of each sample the squares of its weights and of its factors, summed."""
        weights, factors = self.weights[rows], self.factors[rows]
        squares = (factors**2).sum((1, 2))
        pairs = ((factors.sum(1) ** 2).sum(1) - squares) / 2
        return self.bias + weights.sum(1) + pairs, (weights**2).sum(1), squares


def run(params: Params, seed: int) -> Curve:
    """Only what is in a batch has penalties (Rendle 2012). adagrad: Duchi et al. 2011."""
    torch.manual_seed(seed)
    rows, clicks = data()
    model = Machine(params["factors"], params["init_scale"])
    rate, first = params["learning_rate"], params.get("first_sum", 0.0)
    adagrad = torch.optim.Adagrad(model.parameters(), rate, initial_accumulator_value=first)
    optimizer = adagrad if params["optimizer"] == "adagrad" else optimizer_of(model, params)
    positive_weight = torch.tensor(params.get("positive_weight", 1.0))
    for _ in range(EPOCHS):
        # Drawn anew in each epoch, so that all negatives are seen at some time.
        kept = torch.randperm(SAMPLES)
        kept = kept[(clicks[kept] > 0) | (torch.rand(SAMPLES) < params.get("negatives_kept", 1.0))]
        for batch in torch.split(kept, params["batch_size"]):
            scores, weights, factors = model(rows[batch])
            penalties = params["weight_penalty"] * weights + params["factor_penalty"] * factors
            loss = binary_cross_entropy_with_logits(scores, clicks[batch], pos_weight=positive_weight)
            step(optimizer, loss + penalties.mean())
        with torch.no_grad():
            scores = model(rows[SAMPLES:])[0]
        if not scores.isfinite().all():
            return
        yield (float(average_precision_score(clicks[SAMPLES:], scores)),)


def work(params: Params) -> Work:
    """Each update is of all factors, not only of those in the batch."""
    samples = SAMPLES * (RARE + (1 - RARE) * params.get("negatives_kept", 1.0))
    steps, each = math.ceil(samples / params["batch_size"]), params["factors"] + 1
    return Work(steps, (3 * samples * len(FIELDS) + 4 * steps * CATEGORIES) * each)


KEPT, WEIGHT = {"low": 0.03, "high": 1.0, "log": True}, {"low": 1.0, "high": 50.0, "log": True}
FIRST_SUM, PENALTY = {"low": 1e-6, "high": 1.0, "log": True}, {"low": 1e-6, "high": 1.0, "log": True}
TRAINING = Training(
    data="generated: 6 fields of 5 to 150 categories, 4 % clicks; 5,000 for training, 4,000 for validation",
    model="factorisation machine",
    space={
        "imbalance": {
            "choices": {"none": {}, "weighted": {"positive_weight": WEIGHT}, "subsampled": {"negatives_kept": KEPT}},
        },
        "factors": {"low": 1, "high": 32, "log": True},
        "init_scale": {"low": 1e-3, "high": 1.0, "log": True},
        "weight_penalty": PENALTY,
        "factor_penalty": PENALTY,
        "learning_rate": {"low": 3e-4, "high": 3.0, "log": True},
        "optimizer": {"choices": {**OPTIMIZERS["choices"], "adagrad": {"first_sum": FIRST_SUM}}},
        "batch_size": {"choices": [100, 200, 500]},
    },
    epochs=EPOCHS,
    metric="val_average_precision",
    direction="maximize",
    configurations=320,
    run=run,
    work=work,
)
