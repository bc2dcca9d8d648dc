"""Two spirals with wrong labels among them: a long plateau, and then learning."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

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

EPOCHS, SAMPLES = 50, 300
ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "silu": nn.SiLU}


@cache
def data() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 2, SAMPLES + 200)
    radius = np.sqrt(rng.uniform(0.02, 1, len(labels)))
    angle = radius * 3 * np.pi + labels * np.pi
    points = (radius * [np.cos(angle), np.sin(angle)]).T + rng.normal(scale=0.03, size=(len(labels), 2))
    wrong = rng.random(SAMPLES) < 0.05
    labels[:SAMPLES][wrong] = 1 - labels[:SAMPLES][wrong]
    x, y = torch.tensor(points, dtype=torch.float32), torch.tensor(labels)
    return x[:SAMPLES], y[:SAMPLES], x[SAMPLES:], y[SAMPLES:]


def widths(params: Params) -> list[int]:
    return [2, *[params["width"]] * params["layers"], 2]


def run(params: Params, seed: int) -> Curve:
    torch.manual_seed(seed)
    x, y, val_x, val_y = data()
    model = mlp(widths(params), ACTIVATIONS[params["activation"]])
    with torch.no_grad():
        model[0].weight.mul_(params["first_layer_scale"])
    optimizer = optimizer_of(model, params)
    for _ in schedule_epochs(optimizer, params, EPOCHS):
        for batch in batches(SAMPLES, params["batch_size"]):
            step(optimizer, cross_entropy(model(x[batch]), y[batch]))
        with torch.no_grad():
            scores = model(val_x)
        if not scores.isfinite().all():
            return
        yield (float((scores.argmax(1) == val_y).float().mean()),)


TRAINING = Training(
    data="generated: two spirals of 1.5 turns, 300 for training with 5 % wrong labels, 200 for validation",
    model="network of 1 to 4 hidden layers",
    space={
        "learning_rate": {"low": 1e-3, "high": 1.0, "log": True},
        "optimizer": OPTIMIZERS,
        "warmup": {"low": 0.0, "high": 0.4},
        "activation": {"choices": ["relu", "tanh", "silu"]},
        "first_layer_scale": {"low": 0.3, "high": 10.0, "log": True},
        "width": {"low": 8, "high": 64, "log": True},
        "layers": {"low": 1, "high": 4},
        "batch_size": {"choices": [16, 30, 75]},
    },
    epochs=EPOCHS,
    metric="val_accuracy",
    direction="maximize",
    run=run,
    work=lambda params: training_work(SAMPLES, params["batch_size"], mlp_operations(widths(params))),
)
