"""Thin branching vessels in noisy images, segmented by a U-Net under four losses for rare pixels."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d

from benchmarks.search.trainings import lesions_tversky
from benchmarks.search.trainings.networks import OPTIMIZERS, batches, optimizer_of, schedule_epochs, step, training_work
from benchmarks.search.trainings.shapes_unet import block
from benchmarks.search.trainings.training import Curve, Params, Training

EPOCHS, SAMPLES, SIDE = 25, 32, 20


def branch(rng: np.random.Generator, mask: NDArray[np.bool_], place: complex, angle: float, length: int) -> None:
    """Mark a curve of at most `length` pixels that bends at random; with a chance of 0.08 a pixel another leaves it."""
    for left in range(length, 0, -1):
        if min(place.real, place.imag) >= 0 and max(place.real, place.imag) < SIDE:
            mask[int(place.real), int(place.imag)] = True
        angle += rng.normal(scale=0.25)
        place += np.exp(1j * angle)
        if rng.random() < 0.08:
            branch(rng, mask, place, angle + rng.choice([-1.0, 1.0]), left // 2)


@cache
def data() -> Tensor:
    """Return images and masks, of shape (2, images, 1, SIDE, SIDE), the last 48 for validation."""
    rng = np.random.default_rng(51)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    pairs = []
    for _ in range(SAMPLES + 48):
        mask = np.zeros((SIDE, SIDE), bool)
        branch(rng, mask, complex(*rng.uniform(4, SIDE - 5, 2)), rng.uniform(0, 2 * np.pi), 26)
        bright = 1.2 * mask + 1.2 * (rng.random(mask.shape) < 0.03)  # lone pixels are no vessels
        tissue = np.sin(rows / 3 + rng.uniform(0, 6)) * np.sin(columns / 3 + rng.uniform(0, 6))
        pairs.append((bright + 0.5 * tissue + rng.normal(scale=0.4, size=mask.shape), mask))
    return torch.tensor(np.array(pairs), dtype=torch.float32).transpose(0, 1)[:, :, None]


class UNet(nn.Module):
    """Two levels (Ronneberger et al. 2015)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.stem, self.down = block(1, width), block(width, 2 * width)
        self.up = nn.Sequential(block(3 * width, width), nn.Conv2d(width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        skip = self.stem(x)
        found: Tensor = self.up(torch.cat([skip, interpolate(self.down(max_pool2d(skip, 2)), scale_factor=2)], 1))
        return found


def loss_of(params: Params, logits: Tensor, masks: Tensor) -> Tensor:
    """dice: Milletari et al. 2016, of the batch, with a smoothing in pixels; the others as for lesions."""
    if params["loss"] != "dice":
        return lesions_tversky.loss_of(params, logits, masks)
    chances, added = torch.sigmoid(logits), params["smoothing"]
    return 1 - (chances * masks).sum().mul(2).add(added).div((chances + masks).sum() + added)


def run(params: Params, seed: int) -> Curve:
    """The metric is the Dice score over all pixels of the validation images."""
    torch.manual_seed(seed)
    x, y = data()
    optimizer = optimizer_of(model := UNet(params["width"]), params)
    for _ in schedule_epochs(optimizer, params, EPOCHS):
        model.train()
        for batch in batches(SAMPLES, params["batch_size"]):
            step(optimizer, loss_of(params, model(x[batch]), y[batch]))
        model.eval()
        with torch.no_grad():
            logits = model(x[SAMPLES:])
        if not logits.isfinite().all():
            return
        yield (lesions_tversky.dice_score(logits, y[SAMPLES:]),)


TRAINING = Training(
    data="generated: 20x20 images with 4 % of the pixels in vessels; 32 for training, 48 for validation",
    model="U-Net of two levels",
    space={
        "loss": {
            "choices": {
                "cross_entropy": lesions_tversky.LOSSES["cross_entropy"],
                "focal": lesions_tversky.LOSSES["focal"],
                "dice": {"smoothing": {"low": 0.01, "high": 300.0, "log": True}},
                "tversky": lesions_tversky.LOSSES["tversky"],
            }
        },
        "width": {"low": 2, "high": 10, "log": True},
        "learning_rate": {"low": 3e-4, "high": 1.0, "log": True},
        "optimizer": OPTIMIZERS,
        "batch_size": {"choices": [4, 8, 16]},
    },
    epochs=EPOCHS,
    metric="val_dice",
    direction="maximize",
    configurations=320,
    run=run,
    work=lambda p: training_work(SAMPLES, p["batch_size"], SIDE**2 * p["width"] * (10 + 31.5 * p["width"])),
)
