"""Rare labels of generated bags of words, under losses that weigh what is present against what is absent."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

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

EPOCHS, SAMPLES, WORDS, LABELS = 30, 600, 150, 12


@cache
def data() -> tuple[Tensor, Tensor]:
    """Return the logarithms of word counts and the labels, one row a document; the last 600 are for validation.

    A label is a topic of words, and so are eight subjects without a label; the frequencies of the labels go from 0.3
    down to 0.02. One label in ten was not given.
    """
    rng = np.random.default_rng(51)
    documents = SAMPLES + 600
    present = rng.random((documents, LABELS)) < np.geomspace(0.3, 0.02, LABELS)
    subjects = rng.random((documents, 8)) < 0.3
    topics = rng.dirichlet(np.full(WORDS, 0.08), LABELS + 8)
    weights = np.concatenate([present, subjects], 1) * rng.gamma(1.0, 1.0, (documents, LABELS + 8))
    rates = 60 * (weights @ topics / (1 + weights.sum(1, keepdims=True)) + 1 / WORDS)
    given = present & (rng.random(present.shape) < 0.9)
    counts = np.log1p(rng.poisson(rates))
    return torch.tensor(counts, dtype=torch.float32), torch.tensor(given, dtype=torch.float32)


def loss_of(params: Params, shares: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean over documents and labels; shares: of the documents that have each label.

    asymmetric: Ridnik et al. 2021; margin: what is taken from the chances of absent labels. weighted: cross-entropy
    that multiplies a label's positive terms by a power of how much rarer they are than the negative ones.
    """
    chances = torch.sigmoid(logits)
    if params["loss"] == "weighted":
        positive = labels * ((1 - shares) / shares).pow(params["rarity_power"])
        return -(positive * chances.clamp(min=1e-6).log() + (1 - labels) * (1 - chances).clamp(min=1e-6).log()).mean()
    shifted = (chances - params["margin"]).clamp(min=1e-6)  # at 0 a power below 1 has no slope
    missed = (1 - chances).clamp(min=1e-6) ** params["gamma_positive"] * chances.clamp(min=1e-6).log()
    false = shifted ** params["gamma_negative"] * (1 - shifted).clamp(min=1e-6).log()
    return -torch.where(labels > 0, missed, false).mean()


def mean_average_precision(scores: Tensor, labels: Tensor) -> float:
    """Return the mean over the labels of the average precision over the documents."""
    ranked = labels.gather(0, scores.argsort(dim=0, descending=True, stable=True))
    precision = ranked.cumsum(0) / torch.arange(1, len(ranked) + 1)[:, None]
    return float(((precision * ranked).sum(0) / ranked.sum(0)).mean())


def run(params: Params, seed: int) -> Curve:
    torch.manual_seed(seed)
    x, y = data()
    shares = y[:SAMPLES].mean(0)
    model = mlp([WORDS, params["width"], LABELS], dropout=params["dropout"])
    optimizer = optimizer_of(model, params)
    for _ in schedule_epochs(optimizer, params, EPOCHS):
        model.train()
        for batch in batches(SAMPLES, params["batch_size"]):
            step(optimizer, loss_of(params, shares, model(x[batch]), y[batch]))
        with torch.no_grad():
            scores = model.eval()(x[SAMPLES:])
        if not scores.isfinite().all():
            return
        yield (mean_average_precision(scores, y[SAMPLES:]),)


ASYMMETRIC = {
    "gamma_negative": {"low": 0.0, "high": 8.0},
    "gamma_positive": {"low": 0.0, "high": 4.0},
    "margin": {"low": 0.0, "high": 0.3},
}
TRAINING = Training(
    data="generated: bags of words with 12 labels, most of them rare; 600 for training, 600 for validation",
    model="network of one hidden layer under an asymmetric or a weighted loss",
    space={
        "loss": {"choices": {"asymmetric": ASYMMETRIC, "weighted": {"rarity_power": {"low": 0.0, "high": 1.5}}}},
        "width": {"low": 4, "high": 128, "log": True},
        "dropout": {"low": 0.0, "high": 0.7},
        "learning_rate": {"low": 1e-4, "high": 1.0, "log": True},
        "optimizer": OPTIMIZERS,
        "weight_decay": {"low": 1e-5, "high": 1.0, "log": True},
        "batch_size": {"choices": [20, 50, 150]},
    },
    epochs=EPOCHS,
    metric="val_mean_average_precision",
    direction="maximize",
    configurations=320,
    run=run,
    work=lambda p: training_work(SAMPLES, p["batch_size"], mlp_operations((WORDS, p["width"], LABELS))),
)
