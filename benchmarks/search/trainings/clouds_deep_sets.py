"""Shapes of noisy clouds of points, by a network to which their order is nothing."""

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
from benchmarks.search.trainings.training import Curve, Params, Training, Work

EPOCHS, SAMPLES, POINTS = 25, 400, 24


@cache
def data() -> tuple[Tensor, Tensor, Tensor]:
    """Return points, which of them there are, and shapes: outlines of 3, 4 and 60 corners, and as many spokes."""
    rng = np.random.default_rng(42)
    kinds = rng.integers(6, size=(SAMPLES + 250, 1))
    corners, place = np.array([3, 4, 60])[kinds % 3], rng.random((len(kinds), POINTS))
    angle = 2 * np.pi / corners * rng.integers(corners, size=place.shape)
    other_end = np.where(kinds < 3, np.exp(1j * (angle + 2 * np.pi / corners)), 0)
    turned = np.exp(1j * rng.uniform(-0.3, 0.3, kinds.shape)) * (place * np.exp(1j * angle) + (1 - place) * other_end)
    points = np.stack([turned.real, turned.imag], 2) * rng.uniform(0.8, 1.25, (len(kinds), 1, 1))
    x = torch.tensor(points + rng.normal(scale=0.05, size=points.shape), dtype=torch.float32)
    there = np.arange(POINTS) < rng.integers(POINTS // 2, POINTS + 1, kinds.shape)
    return x, torch.tensor(there), torch.tensor(kinds[:, 0])


class DeepSets(nn.Module):
    """A network of each point, a pooling, and a network of the cloud (Zaheer et al. 2017)."""

    def __init__(self, params: Params) -> None:
        super().__init__()
        points, cloud = widths(params)
        self.points, self.cloud, self.pooling = mlp(points), mlp(cloud, dropout=params["dropout"]), params["pooling"]

    def forward(self, x: Tensor, there: Tensor) -> Tensor:
        each, there = self.points(x).relu(), there[..., None]
        pooled = (each * there).amax(1) if self.pooling == "max" else (each * there).sum(1)
        logits: Tensor = self.cloud(pooled / there.sum(1) if self.pooling == "mean" else pooled)
        return logits


def widths(params: Params) -> tuple[list[int], list[int]]:
    return [2, *[params["width"]] * params["layers"]], [params["width"], params["cloud_width"], 6]


def run(params: Params, seed: int) -> Curve:
    """turned: each cloud is turned by an angle of at most max_turn before each update."""
    torch.manual_seed(seed)
    x, there, y = data()
    model = DeepSets(params)
    optimizer = optimizer_of(model, params)
    for _ in schedule_epochs(optimizer, params, EPOCHS):
        model.train()
        for batch in batches(SAMPLES, params["batch_size"]):
            points = x[batch]
            if "max_turn" in params:
                angle = params["max_turn"] * (2 * torch.rand(len(batch)) - 1)
                points = points @ torch.stack([angle.cos(), angle.sin(), -angle.sin(), angle.cos()], 1).view(-1, 2, 2)
            step(optimizer, cross_entropy(model(points, there[batch]), y[batch]))
        model.eval()
        with torch.no_grad():
            logits = model(x[SAMPLES:], there[SAMPLES:])
        if not logits.isfinite().all():
            return
        yield (float((logits.argmax(1) == y[SAMPLES:]).float().mean()),)


def work(params: Params) -> Work:
    points, cloud = widths(params)
    return training_work(SAMPLES, params["batch_size"], POINTS * mlp_operations(points) + mlp_operations(cloud))


TRAINING = Training(
    data="generated: clouds of 12 to 24 points in the plane, of six shapes; 400 for training, 250 for validation",
    model="deep sets, with one of three poolings",
    space={
        "pooling": {"choices": ["sum", "mean", "max"], "structural": True},
        "layers": {"low": 1, "high": 3},
        "width": {"low": 8, "high": 64, "log": True},
        "cloud_width": {"low": 8, "high": 64, "log": True},
        "dropout": {"low": 0.0, "high": 0.5},
        "augmentation": {"choices": {"none": {}, "turned": {"max_turn": {"low": 0.05, "high": 3.0, "log": True}}}},
        "learning_rate": {"low": 3e-4, "high": 1.0, "log": True},
        "weight_decay": {"low": 1e-6, "high": 0.1, "log": True},
        "optimizer": OPTIMIZERS,
        "batch_size": {"choices": [10, 25, 50]},
    },
    epochs=EPOCHS,
    metric="val_accuracy",
    direction="maximize",
    configurations=320,
    run=run,
    work=work,
)
