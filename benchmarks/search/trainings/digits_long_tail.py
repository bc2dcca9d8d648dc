"""Digits of which each is rarer than the one before: logit adjustment, margins, deferred re-weighting."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import f1_score
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from benchmarks.search.trainings.networks import OPTIMIZERS, batches, optimizer_of, schedule_epochs, step, training_work
from benchmarks.search.trainings.training import Curve, Params, Training

EPOCHS, MOST, FEWEST = 30, 110, 5
COUNTS = np.geomspace(MOST, FEWEST, 10).round().astype(int)
SAMPLES = int(COUNTS.sum())


@cache
def data() -> tuple[Tensor, Tensor]:
    """Return images under noise and digits: 110 zeros to 5 nines first, and at the end 60 of each for validation."""
    rng = np.random.default_rng(54)
    inputs, labels = load_digits(return_X_y=True)
    found = [rng.permutation(np.flatnonzero(labels == digit)) for digit in range(10)]
    train = [rows[:count] for rows, count in zip(found, COUNTS, strict=True)]
    kept = np.concatenate(train + [rows[-60:] for rows in found])
    x = inputs[kept] / 8 - 1 + rng.normal(scale=0.5, size=(len(kept), 64))
    return torch.tensor(x, dtype=torch.float32), torch.tensor(labels[kept])


def loss_of(params: Params, scores: Tensor, y: Tensor, late: bool) -> Tensor:
    """logit_adjustment: Menon et al. 2021. margins: LDAM (Cao et al. 2019), on scores that are not normalised.

    In a late epoch a digit's weight is divided by its count to the power `rebalancing`; the weights of the samples have
    a mean of 1.
    """
    counts = torch.tensor(COUNTS, dtype=torch.float32)
    if params["method"] == "logit_adjustment":
        scores = scores + params["tau"] * (counts / SAMPLES).log()
    elif params["method"] == "margins":
        margins = params["largest_margin"] * (FEWEST / counts) ** 0.25
        scores = params["scale"] * (scores - one_hot(y, 10) * margins)
    weights = counts ** -(params["rebalancing"] if late else 0.0)
    weights = weights * SAMPLES / (weights * counts).sum()
    return (cross_entropy(scores, y, reduction="none") * weights[y]).mean()


def run(params: Params, seed: int) -> Curve:
    """Re-weighting is deferred to a share of the epochs (Cao et al. 2019)."""
    torch.manual_seed(seed)
    x, y = data()
    width = params["width"]
    model = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Dropout(params["dropout"]), nn.Linear(width, 10))
    optimizer = optimizer_of(model, params)
    for epoch in schedule_epochs(optimizer, params, EPOCHS):
        model.train()
        for batch in batches(SAMPLES, params["batch_size"]):
            step(optimizer, loss_of(params, model(x[batch]), y[batch], epoch >= params["deferred"] * EPOCHS))
        model.eval()
        with torch.no_grad():
            scores = model(x[SAMPLES:])
        if not scores.isfinite().all():
            return
        yield (float(f1_score(y[SAMPLES:], scores.argmax(1), average="macro")),)


TRAINING = Training(
    data=f"scikit-learn's digits with noise; {SAMPLES} for training, 110 zeros to 5 nines, 600 balanced for validation",
    model="network of one hidden layer",
    space={
        "method": {
            "choices": {
                "plain": {},
                "logit_adjustment": {"tau": {"low": 0.0, "high": 4.0}},
                "margins": {
                    "largest_margin": {"low": 0.01, "high": 10.0, "log": True},
                    "scale": {"low": 0.1, "high": 30.0, "log": True},
                },
            }
        },
        "rebalancing": {"low": 0.0, "high": 2.0},
        "deferred": {"low": 0.0, "high": 1.0},
        "dropout": {"low": 0.0, "high": 0.8},
        "width": {"low": 8, "high": 128, "log": True},
        "learning_rate": {"low": 1e-4, "high": 1.0, "log": True},
        "optimizer": OPTIMIZERS,
        "batch_size": {"choices": [16, 32, 64]},
    },
    epochs=EPOCHS,
    metric="val_macro_f1",
    direction="maximize",
    configurations=320,
    run=run,
    work=lambda p: training_work(SAMPLES, p["batch_size"], 74 * p["width"]),
)
