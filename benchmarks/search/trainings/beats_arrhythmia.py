"""Rare abnormal beats under baseline wander, found by a 1-D convolutional network: weights, focal or oversampling."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from sklearn.metrics import average_precision_score
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

EPOCHS, SAMPLES, LENGTH = 25, 700, 48


@cache
def data() -> tuple[Tensor, Tensor]:
    """Return signals, of shape (beats, 1, LENGTH), and labels (1 for abnormal); the last 1000 are for validation.

    A beat has a P wave, a QRS complex and a T wave. Of the 5 % abnormal beats a half have no P wave, the others a T
    wave upside down and a wider QRS complex.
    """
    rng = np.random.default_rng(52)
    count, time = SAMPLES + 1000, np.arange(LENGTH)
    kinds = np.where(rng.random(count) < 0.05, rng.integers(1, 3, count), 0)
    centre, breadth = rng.normal(20, 1.5, count), rng.uniform(0.8, 1.25, count)
    signals = rng.normal(scale=0.1, size=(count, LENGTH))
    # Of each wave: samples after the QRS complex, width in samples, height for each kind.
    waves = [(-10, 2.0, (0.5, 0, 0.5)), (0, 1.2, (1.5, 1.5, 1.5)), (2.5, 1.2, (-0.5, -0.5, 0.2))]
    for after, width, heights in [*waves, (13, 3.0, (0.5, 0.5, -0.4))]:
        place, size = centre + after * breadth, rng.normal(1, 0.15, count) * np.array(heights)[kinds]
        signals += size[:, None] * np.exp(-((time - place[:, None]) ** 2) / (2 * (width * breadth[:, None]) ** 2))
    phase, cycles = rng.uniform(0, 2 * np.pi, (count, 1)), rng.uniform(0.3, 1.5, (count, 1))
    signals += rng.uniform(0, 0.8, (count, 1)) * np.sin(phase + 2 * np.pi * cycles * time / LENGTH)
    return torch.tensor(signals, dtype=torch.float32)[:, None], torch.tensor(kinds > 0, dtype=torch.float32)


def network(params: Params) -> nn.Sequential:
    """Return two convolutions with a stride of 2 and a linear layer."""
    width, kernel = params["width"], params["kernel"]
    places = ((LENGTH - kernel) // 2 + 1 - kernel) // 2 + 1
    layers = [nn.Conv1d(1, width, kernel, 2), nn.LeakyReLU(0.1), nn.Conv1d(width, width, kernel, 2), nn.LeakyReLU(0.1)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(places * width, 1), nn.Flatten(0))


def loss_of(params: Params, logits: Tensor, y: Tensor, counts: Tensor) -> Tensor:
    """balanced: Cui et al. 2019, from the counts of both classes."""
    if params["method"] == "focal":
        return focal_loss(params, logits, y).mean()
    each = binary_cross_entropy_with_logits(logits, y, reduction="none")
    if params["method"] == "balanced":
        weights = 1 / (1 - (1 - params["one_less_beta"]) ** counts)
        each = each * (2 * weights / weights.sum())[y.long()]
    return each.mean()


def run(params: Params, seed: int) -> Curve:
    """An epoch draws as many beats as there are; oversampling: the share of abnormal ones among them."""
    torch.manual_seed(seed)
    x, y = data()
    model, counts = network(params), y[:SAMPLES].long().bincount()
    optimizer = optimizer_of(model, params)
    for _ in schedule_epochs(optimizer, params, EPOCHS):
        drawn = torch.arange(SAMPLES)
        if params["method"] == "oversampling":
            share = params["abnormal_share"]
            drawn = torch.where(y[:SAMPLES] > 0, share / counts[1], (1 - share) / counts[0]).multinomial(SAMPLES, True)
        for batch in batches(SAMPLES, params["batch_size"]):
            signals, labels = x[drawn[batch]], y[drawn[batch]]
            noisy = signals + params["noise"] * torch.randn_like(signals)
            step(optimizer, loss_of(params, model(noisy), labels, counts))
        with torch.no_grad():
            logits = model(x[SAMPLES:])
        if not logits.isfinite().all():
            return
        yield (float(average_precision_score(y[SAMPLES:], logits)),)


TRAINING = Training(
    data="generated: heart beats of 48 samples, 5 % abnormal of two kinds; 700 for training, 1000 for validation",
    model="1-D convolutional network of two layers",
    space={
        "method": {
            "choices": {
                "balanced": {"one_less_beta": {"low": 1e-4, "high": 1.0, "log": True}},
                "focal": FOCAL,
                "oversampling": {"abnormal_share": {"low": 0.02, "high": 0.8}},
            }
        },
        "kernel": {"choices": [3, 5, 9], "structural": True},
        "width": {"low": 3, "high": 16, "log": True},
        "noise": {"low": 0.01, "high": 1.0, "log": True},
        "learning_rate": {"low": 1e-4, "high": 1.0, "log": True},
        "optimizer": OPTIMIZERS,
        "batch_size": {"choices": [25, 50, 100]},
    },
    epochs=EPOCHS,
    metric="val_average_precision",
    direction="maximize",
    configurations=320,
    run=run,
    work=lambda p: training_work(SAMPLES, p["batch_size"], p["kernel"] * p["width"] * (23 + 10 * p["width"])),
)
