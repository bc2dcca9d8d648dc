"""Small rare lesions in noisy images, segmented under three losses for rare pixels."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from benchmarks.search.trainings.networks import (
    FOCAL,
    OPTIMIZERS,
    batches,
    focal_loss,
    optimizer_of,
    schedule_epochs,
    step,
    training_work,
)
from benchmarks.search.trainings.training import Curve, Params, Training

EPOCHS, SAMPLES, SIDE, WIDTH = 30, 60, 16, 6
LOSSES = {
    "tversky": {"tversky_alpha": {"low": 0.05, "high": 1.0}, "tversky_beta": {"low": 0.05, "high": 1.0}},
    "focal": FOCAL,
    "cross_entropy": {"positive_weight": {"low": 1.0, "high": 100.0, "log": True}},
}


@cache
def data() -> tuple[Tensor, Tensor]:
    """Return images and masks, of shape (images, 1, SIDE, SIDE); the last 80 are for validation.

    A lesion is a bright disc, a vessel a line as bright; two per cent of the pixels are of lesions.
    """
    rng = np.random.default_rng(31)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    images, masks = [], []
    for _ in range(SAMPLES + 80):
        mask = np.zeros((SIDE, SIDE), bool)
        for a, b in rng.uniform(1, SIDE - 2, (rng.poisson(1.0), 2)):
            mask |= (rows - a) ** 2 + (columns - b) ** 2 <= rng.uniform(0.8, 2.4)
        slope, offset = rng.uniform(-1, 1), rng.uniform(0, SIDE)
        vessel = abs(rows - offset - slope * (columns - SIDE / 2)) < 0.7
        tissue = np.sin(rows / 4 + rng.uniform(0, 6)) * np.sin(columns / 4 + rng.uniform(0, 6))
        images.append(1.5 * (mask | vessel) + 0.5 * tissue + rng.normal(scale=0.45, size=mask.shape))
        masks.append(mask)
    first, second = (torch.tensor(np.array(each), dtype=torch.float32)[:, None] for each in (images, masks))
    return first, second


class Network(nn.Module):
    """dilation: of the second convolution. prior: the share of lesions said at the start (Lin et al. 2017)."""

    def __init__(self, dilation: int, prior: float) -> None:
        super().__init__()
        self.first, self.head = nn.Conv2d(1, WIDTH, 3, padding=1), nn.Conv2d(2 * WIDTH, 1, 3, padding=1)
        self.second = nn.Conv2d(WIDTH, WIDTH, 3, padding=dilation, dilation=dilation)
        nn.init.constant_(self.head.bias, math.log(prior / (1 - prior)))  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        near = self.first(x).relu()
        found: Tensor = self.head(torch.cat([near, self.second(near).relu()], 1))
        return found


def loss_of(params: Params, logits: Tensor, masks: Tensor) -> Tensor:
    """tversky: Salehi et al. 2017, of the batch."""
    if params["loss"] == "tversky":
        chances, alpha, beta = torch.sigmoid(logits), params["tversky_alpha"], params["tversky_beta"]
        hits, false, missed = (chances * masks).sum(), (chances * (1 - masks)).sum(), ((1 - chances) * masks).sum()
        return 1 - hits.div(hits + alpha * false + beta * missed + 1e-6)
    if params["loss"] == "focal":
        return focal_loss(params, logits, masks).mean()
    each = binary_cross_entropy_with_logits(logits, masks, reduction="none")
    return (each * torch.where(masks > 0, params["positive_weight"], 1.0)).mean()


def dice_score(logits: Tensor, masks: Tensor) -> float:
    """Return the score over all pixels."""
    found = logits > 0
    return float(2 * (found * masks).sum() / (found + masks).sum())


def run(params: Params, seed: int) -> Curve:
    """The metric is the Dice score over all pixels of the validation images."""
    torch.manual_seed(seed)
    x, y = data()
    model = Network(params["dilation"], params["prior"])
    optimizer = optimizer_of(model, params)
    for _ in schedule_epochs(optimizer, params, EPOCHS):
        for batch in batches(SAMPLES, params["batch_size"]):
            step(optimizer, loss_of(params, model(x[batch]), y[batch]))
        with torch.no_grad():
            logits = model(x[SAMPLES:])
        if not logits.isfinite().all():
            return
        yield (dice_score(logits, y[SAMPLES:]),)


TRAINING = Training(
    data="generated: 16x16 images with 2 % of the pixels in lesions; 60 for training, 80 for validation",
    model="fully convolutional network of three layers",
    space={
        "loss": {"choices": LOSSES},
        "dilation": {"choices": [1, 2, 4], "structural": True},
        "prior": {"low": 0.001, "high": 0.5, "log": True},
        "learning_rate": {"low": 3e-4, "high": 1.0, "log": True},
        "optimizer": OPTIMIZERS,
        "batch_size": {"choices": [4, 10, 20]},
    },
    epochs=EPOCHS,
    metric="val_dice",
    direction="maximize",
    configurations=320,
    run=run,
    work=lambda params: training_work(SAMPLES, params["batch_size"], SIDE**2 * 9 * WIDTH * (3 + WIDTH)),
)
