"""Tones and chirps in noise by convolutions along time."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

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

EPOCHS, SAMPLES, LENGTH, WIDTH, CLASSES = 20, 150, 64, 8, 5
# Of one signal, by architecture.
OPERATIONS = {"wide": 64 * 15 * WIDTH * (1 + WIDTH), "dilated": 64 * 5 * WIDTH * (1 + 2 * WIDTH), "pooled": 64 * 5 * 32}


@cache
def data() -> tuple[Tensor, Tensor]:
    """Return signals and classes: a tone, a chirp up or down, two tones, noise; the last 100 are for validation."""
    rng = np.random.default_rng(22)
    times = np.arange(LENGTH) / LENGTH
    signals, labels = [], rng.integers(0, CLASSES, SAMPLES + 100)
    for label in labels:
        (f, g), (p, q) = rng.uniform(4, 14, 2), rng.uniform(0, 6.3, 2)
        rate = rng.uniform(4, 8) * (0, 1, -1, 0, 0)[label]
        tone = np.sin(6.28 * (f + rate * times) * times + p)
        other = np.sin(6.28 * g * times + q) if label == 3 else 0.0
        signals.append((tone + other) * (label != 4) + rng.normal(scale=0.8, size=LENGTH))
    return torch.tensor(np.array(signals), dtype=torch.float32)[:, None], torch.tensor(labels)


def layer(inputs: int, kernel: int, dilation: int = 1) -> nn.Sequential:
    convolution = nn.Conv1d(inputs, WIDTH, kernel, dilation=dilation, padding=dilation * (kernel // 2))
    return nn.Sequential(convolution, nn.BatchNorm1d(WIDTH), nn.ReLU())


def network(architecture: str) -> nn.Sequential:
    if architecture == "wide":
        body = [layer(1, 15), layer(WIDTH, 15)]
    elif architecture == "dilated":
        body = [layer(1, 5), layer(WIDTH, 5, 2), layer(WIDTH, 5, 4)]
    else:
        pools = nn.MaxPool1d(4), nn.MaxPool1d(2)
        body = [layer(1, 5).append(pools[0]), layer(WIDTH, 5).append(pools[1]), layer(WIDTH, 5)]
    return nn.Sequential(*body, nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(WIDTH, CLASSES))


def run(params: Params, seed: int) -> Curve:
    torch.manual_seed(seed)
    x, y = data()
    model = network(params["architecture"])
    optimizer = optimizer_of(model, params)
    for _ in schedule_epochs(optimizer, params, EPOCHS):
        model.train()
        for batch in batches(SAMPLES, params["batch_size"]):
            step(optimizer, cross_entropy(model(x[batch]), y[batch]))
        model.eval()
        with torch.no_grad():
            scores = model(x[SAMPLES:])
        if not scores.isfinite().all():
            return
        yield (float((scores.argmax(1) == y[SAMPLES:]).float().mean()),)


TRAINING = Training(
    data="generated: signals of 64 samples, of five kinds, in noise; 150 for training, 100 for validation",
    model="convolutional network along time, one of three",
    space={
        "architecture": {"choices": ["wide", "dilated", "pooled"], "structural": True},
        "learning_rate": {"low": 1e-4, "high": 1.0, "log": True},
        "weight_decay": {"low": 1e-5, "high": 1.0, "log": True},
        "warmup": {"low": 0.0, "high": 0.3},
        "optimizer": OPTIMIZERS,
        "schedule": SCHEDULES,
        "batch_size": {"choices": [6, 15, 50]},
    },
    epochs=EPOCHS,
    metric="val_accuracy",
    direction="maximize",
    configurations=320,
    run=run,
    work=lambda params: training_work(SAMPLES, params["batch_size"], OPERATIONS[params["architecture"]]),
)
