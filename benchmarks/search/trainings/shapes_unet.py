"""Discs among squares, segmented by three small U-Nets: architecture, learning rate and batch size, every cell."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate, max_pool2d

from benchmarks.search.trainings.networks import batches, optimizer_of, schedule_epochs, step, training_work
from benchmarks.search.trainings.training import Curve, Params, Training

EPOCHS, SAMPLES, SIDE, WIDTH = 20, 48, 16, 6


@cache
def data() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A disc is to be found, a square as bright is not; both under noise."""
    rng = np.random.default_rng(13)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    images, masks = [], []
    for _ in range(SAMPLES + 24):
        (a, b), (c, d) = rng.integers(3, SIDE - 3, (2, 2))
        disc = (rows - a) ** 2 + (columns - b) ** 2 <= rng.uniform(4, 12)
        square = (abs(rows - c) <= 2) & (abs(columns - d) <= 2)
        images.append(np.where(disc | square, 1.0, 0.0) + rng.normal(scale=0.4, size=disc.shape))
        masks.append(disc)
    x = torch.tensor(np.array(images), dtype=torch.float32)[:, None]
    y = torch.tensor(np.array(masks), dtype=torch.float32)[:, None]
    return x[:SAMPLES], y[:SAMPLES], x[SAMPLES:], y[SAMPLES:]


def block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())


class UNet(nn.Module):
    """Two levels. attention: a gate on the skip. residual: each block adds to its input."""

    def __init__(self, architecture: str) -> None:
        super().__init__()
        self.stem, self.down, self.up = block(1, WIDTH), block(WIDTH, 2 * WIDTH), block(3 * WIDTH, WIDTH)
        self.deep, self.head = block(2 * WIDTH, 2 * WIDTH), nn.Conv2d(WIDTH, 1, 1)
        self.gate = nn.Conv2d(3 * WIDTH, WIDTH, 1) if architecture == "attention" else None
        self.residual = architecture == "residual"

    def forward(self, x: Tensor) -> Tensor:
        skip = self.stem(x)
        low = self.down(max_pool2d(skip, 2))
        low = low + self.deep(low) if self.residual else self.deep(low)
        high = interpolate(low, scale_factor=2)
        if self.gate is not None:
            skip = skip * torch.sigmoid(self.gate(torch.cat([skip, high], 1)))
        found: Tensor = self.head(self.up(torch.cat([skip, high], 1)))
        return found


def run(params: Params, seed: int) -> Curve:
    torch.manual_seed(seed)
    x, y, val_x, val_y = data()
    model = UNet(params["architecture"])
    optimizer = optimizer_of(model, params)
    for _ in schedule_epochs(optimizer, params, EPOCHS):
        model.train()
        for batch in batches(SAMPLES, params["batch_size"]):
            step(optimizer, binary_cross_entropy_with_logits(model(x[batch]), y[batch]))
        model.eval()
        with torch.no_grad():
            found = model(val_x) > 0
        yield (float((found * val_y).sum() / ((found + val_y) > 0).sum()),)


TRAINING = Training(
    data="generated: 16x16 images of discs and squares; 48 for training, 24 for validation",
    model="U-Net of two levels, one of three",
    space={
        "architecture": {"choices": ["unet", "attention", "residual"], "structural": True},
        "learning_rate": {"choices": [1e-3, 5e-3, 2e-2, 1e-1]},
        "batch_size": {"choices": [4, 8, 16]},
    },
    epochs=EPOCHS,
    metric="val_jaccard",
    direction="maximize",
    repeats=3,
    run=run,
    work=lambda p: training_work(SAMPLES, p["batch_size"], 256 * 9 * WIDTH * (1 + 6 * WIDTH)),
)
