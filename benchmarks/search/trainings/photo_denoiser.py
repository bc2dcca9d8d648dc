"""Noise taken from patches of a photograph by small convolutional networks."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from sklearn.datasets import load_sample_image
from torch import Tensor, nn
from torch.nn.functional import huber_loss, l1_loss, mse_loss

from benchmarks.search.trainings.networks import (
    OPTIMIZERS,
    SCHEDULES,
    batches,
    optimizer_of,
    schedule_epochs,
    step,
    training_work,
)
from benchmarks.search.trainings.training import Curve, Params, Training, Work

EPOCHS, SAMPLES, SIDE, WIDTH = 20, 96, 12, 8
ARCHITECTURES = ["shallow", "deep", "residual shallow", "residual deep"]


def patches(photo: str, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Return patches under noise and clean ones, of shape (count, 1, SIDE, SIDE); a tenth of the pixels is lost."""
    grey = load_sample_image(photo).mean(2) / 255
    corners = rng.integers(0, np.array(grey.shape) - SIDE, (count, 2))
    clean = np.stack([grey[a : a + SIDE, b : b + SIDE] for a, b in corners])
    noisy = clean + rng.normal(scale=0.15, size=clean.shape)
    noisy[rng.random(clean.shape) < 0.1] = 0
    first, second = (torch.tensor(each, dtype=torch.float32)[:, None] for each in (noisy, clean))
    return first, second


@cache
def data() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rng = np.random.default_rng(25)
    return *patches("china.jpg", SAMPLES, rng), *patches("flower.jpg", 60, rng)


def network(architecture: str) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(1, WIDTH, 3, padding=1), nn.ReLU()]
    if "deep" in architecture:
        layers += [nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.BatchNorm2d(WIDTH), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(WIDTH, 1, 3, padding=1))


def loss_of(params: Params, found: Tensor, clean: Tensor) -> Tensor:
    if params["loss"] == "huber":
        return huber_loss(found, clean, delta=params["delta"])
    return {"squared": mse_loss, "absolute": l1_loss}[params["loss"]](found, clean)


def run(params: Params, seed: int) -> Curve:
    """A residual network says the noise; the metric is the peak signal-to-noise ratio in dB."""
    torch.manual_seed(seed)
    noisy, clean, val_noisy, val_clean = data()
    model, minus = network(params["architecture"]), params["architecture"].startswith("residual")
    optimizer = optimizer_of(model, params)
    for _ in schedule_epochs(optimizer, params, EPOCHS):
        model.train()
        for batch in batches(SAMPLES, params["batch_size"]):
            found = model(noisy[batch])
            step(optimizer, loss_of(params, noisy[batch] - found if minus else found, clean[batch]))
        model.eval()
        with torch.no_grad():
            found = model(val_noisy)
        error = mse_loss(val_noisy - found if minus else found, val_clean)
        yield (float(-10 * torch.log10(error)),)


def work(params: Params) -> Work:
    operations = SIDE**2 * 9 * WIDTH * (2 + WIDTH * ("deep" in params["architecture"]))
    return training_work(SAMPLES, params["batch_size"], operations)


TRAINING = Training(
    data="12x12 patches of scikit-learn's two photographs under noise: 96 of one for training, 60 of the other",
    model="convolutional network, one of four",
    space={
        "architecture": {"choices": ARCHITECTURES, "structural": True},
        "loss": {
            "choices": {"squared": {}, "absolute": {}, "huber": {"delta": {"low": 0.01, "high": 1.0, "log": True}}}
        },
        "learning_rate": {"low": 1e-4, "high": 1.0, "log": True},
        "weight_decay": {"low": 1e-6, "high": 0.1, "log": True},
        "optimizer": OPTIMIZERS,
        "schedule": SCHEDULES,
        "batch_size": {"choices": [4, 8, 16, 32]},
    },
    epochs=EPOCHS,
    metric="val_psnr",
    direction="maximize",
    configurations=320,
    run=run,
    work=work,
)
