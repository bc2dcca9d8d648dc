"""Digits by a variational autoencoder, whose code may collapse to the prior."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

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

EPOCHS, SAMPLES, PIXELS = 30, 600, 64


@cache
def data() -> tuple[Tensor, Tensor]:
    """Return images of zeros and ones, drawn once with the greys as probabilities."""
    rng = np.random.default_rng(31)
    greys = load_digits().data / 16
    kept = rng.permutation(len(greys))[: SAMPLES + 500]
    x = torch.tensor(rng.random((len(kept), PIXELS)) < greys[kept], dtype=torch.float32)
    return x[:SAMPLES], x[SAMPLES:]


def widths(params: Params) -> tuple[list[int], list[int]]:
    """Return those of the encoder, which ends in means and log variances, and of the decoder."""
    return [PIXELS, params["width"], 2 * params["code"]], [params["code"], params["width"], PIXELS]


class Autoencoder(nn.Module):
    def __init__(self, params: Params) -> None:
        super().__init__()
        self.encoder, self.decoder = (mlp(each) for each in widths(params))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the nats of each image given a drawn code, and the divergence from the prior of each of its parts."""
        means, logs = self.encoder(x).chunk(2, 1)
        logits = self.decoder(means + (0.5 * logs).exp() * torch.randn_like(means))
        nats = binary_cross_entropy_with_logits(logits, x, reduction="none").sum(1)
        return nats, 0.5 * (means**2 + logs.exp() - logs - 1)


def penalty(params: Params, divergence: Tensor, done: float) -> Tensor:
    """warmup: Bowman et al. 2016. free_bits: Kingma et al. 2016. weighted: Higgins et al. 2017."""
    if params["divergence"] == "free_bits":
        return divergence.mean(0).clamp(min=params["free_nats"]).sum()
    factor = min(1.0, done / params["beta_rise"]) if params["divergence"] == "warmup" else params.get("beta", 1.0)
    return divergence.sum(1).mean() * factor


def run(params: Params, seed: int) -> Curve:
    """Kingma and Welling 2014. The metric is the negative evidence lower bound in nats, whatever was trained."""
    torch.manual_seed(seed)
    x, val_x = data()
    model = Autoencoder(params)
    optimizer = optimizer_of(model, params)
    for epoch in schedule_epochs(optimizer, params, EPOCHS):
        for batch in batches(SAMPLES, params["batch_size"]):
            nats, divergence = model(x[batch])
            step(optimizer, nats.mean() + penalty(params, divergence, epoch / EPOCHS))
        with torch.no_grad():
            nats, divergence = model(val_x)
        bound = float((nats + divergence.sum(1)).mean())
        if not np.isfinite(bound):
            return
        yield (bound,)


TRAINING = Training(
    data="scikit-learn's digits made black and white, 600 for training, 500 for validation",
    model="variational autoencoder with one hidden layer on either side",
    space={
        "divergence": {
            "choices": {
                "plain": {},
                "warmup": {"beta_rise": {"low": 0.05, "high": 1.0}},
                "free_bits": {"free_nats": {"low": 0.01, "high": 2.0, "log": True}},
                "weighted": {"beta": {"low": 0.1, "high": 4.0, "log": True}},
            }
        },
        "code": {"low": 1, "high": 32, "log": True},
        "width": {"low": 8, "high": 128, "log": True},
        "learning_rate": {"low": 3e-5, "high": 0.3, "log": True},
        "optimizer": OPTIMIZERS,
        "schedule": {"choices": ["constant", "cosine"]},
        "batch_size": {"choices": [20, 50, 150]},
    },
    epochs=EPOCHS,
    metric="val_negative_elbo",
    direction="minimize",
    configurations=320,
    run=run,
    work=lambda params: training_work(SAMPLES, params["batch_size"], sum(map(mlp_operations, widths(params)))),
)
