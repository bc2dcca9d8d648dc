"""Rare malignant cells ranked above benign ones, with pairs weighted by gradient density or not."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn.functional import softplus

from benchmarks.search.trainings.networks import (
    OPTIMIZERS,
    mlp,
    mlp_operations,
    optimizer_of,
    schedule_epochs,
    standardise,
    step,
    training_work,
)
from benchmarks.search.trainings.training import Curve, Params, Training

EPOCHS, STEPS, COLUMNS = 30, 15, 40


@cache
def data() -> tuple[Tensor, Tensor, Tensor, np.ndarray]:
    """Return positives and negatives for training, inputs and labels for validation (20 positives of 170)."""
    rng = np.random.default_rng(9)
    inputs, benign = load_breast_cancer(return_X_y=True)
    order = rng.permutation(len(inputs))
    bad, good = order[benign[order] == 0], order[benign[order] == 1]
    train, rows = np.r_[bad[:20], good[:150]], np.r_[bad[20:40], good[150:300]]
    x, val_x = (torch.tensor(inputs[each], dtype=torch.float32) for each in (train, rows))
    # Noise on all columns and ten columns of noise alone, or every configuration would be right.
    blurred = [
        torch.cat([each, torch.zeros(len(each), 10)], 1)
        + 2.5 * torch.tensor(rng.normal(size=(len(each), COLUMNS)), dtype=torch.float32)
        for each in standardise(x, val_x)
    ]
    return blurred[0][:20], blurred[0][20:], blurred[1], 1 - benign[rows]


def pair_loss(params: Params, margins: Tensor) -> Tensor:
    """margins: how much higher the positive of each pair scores."""
    if params["loss"] == "logistic":
        return softplus(-margins / params["temperature"]).mean()
    hinge = (params["margin"] - margins).clamp(min=0)
    if params["loss"] == "hinge":
        return hinge.mean()
    norms = torch.sigmoid(params["margin"] - margins.detach())
    bins = (norms.nan_to_num() * params["bins"]).long().clamp(max=params["bins"] - 1)
    weights = torch.bincount(bins, minlength=params["bins"])[bins].float() ** -params["density_power"]
    return (weights / weights.mean() * hinge).mean()


def run(params: Params, seed: int) -> Curve:
    torch.manual_seed(seed)
    positives, negatives, val_x, val_y = data()
    model: nn.Module = mlp([COLUMNS, *[params["width"]] * params["layers"], 1])
    optimizer = optimizer_of(model, params)
    for _ in schedule_epochs(optimizer, params, EPOCHS):
        for _ in range(STEPS):
            pairs = [torch.randint(len(each), (params["pairs"],)) for each in (positives, negatives)]
            scores = model(torch.cat([positives[pairs[0]], negatives[pairs[1]]]))[:, 0]
            step(optimizer, pair_loss(params, scores[: params["pairs"]] - scores[params["pairs"] :]))
        with torch.no_grad():
            found = model(val_x)[:, 0].numpy()
        if not np.isfinite(found).all():
            return
        yield (float(roc_auc_score(val_y, found, max_fpr=0.3)),)


BINS = {"choices": [5, 10, 30]}
MARGIN = {"low": 0.1, "high": 10.0, "log": True}
TRAINING = Training(
    data="scikit-learn's breast cancer with noise, 20 malignant of 170 for training and for validation",
    model="ranking of pairs by a network of 0 to 3 hidden layers",
    space={
        "loss": {
            "choices": {
                "hinge": {"margin": MARGIN},
                "logistic": {"temperature": {"low": 0.1, "high": 10.0, "log": True}},
                "ghm": {"margin": MARGIN, "bins": BINS, "density_power": {"low": 0.0, "high": 1.0}},
            }
        },
        "learning_rate": {"low": 1e-4, "high": 10.0, "log": True},
        "optimizer": OPTIMIZERS,
        "weight_decay": {"low": 1e-4, "high": 1.0, "log": True},
        "layers": {"low": 0, "high": 3},
        "width": {"low": 4, "high": 48, "log": True},
        "pairs": {"choices": [8, 16, 64]},
    },
    epochs=EPOCHS,
    metric="val_partial_auc",
    direction="maximize",
    run=run,
    work=lambda p: training_work(
        STEPS * p["pairs"] * 2, p["pairs"] * 2, mlp_operations([COLUMNS, *[p["width"]] * p["layers"], 1])
    ),
)
