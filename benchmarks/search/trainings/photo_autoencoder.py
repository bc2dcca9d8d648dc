"""Patches of photographs through a narrow code: small error or small code."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import torch
from sklearn.datasets import load_sample_images
from torch import Tensor, nn

from benchmarks.search.trainings.networks import (
    SCHEDULES,
    batches,
    mlp_operations,
    optimizer_of,
    schedule_epochs,
    standardise,
    step,
    training_work,
)
from benchmarks.search.trainings.training import Curve, Params, Training

EPOCHS, SAMPLES, SIDE = 30, 500, 8
ACTIVATIONS: dict[str, type[nn.Module]] = {"none": nn.Identity, "relu": nn.ReLU, "elu": nn.ELU, "tanh": nn.Tanh}


@cache
def data() -> tuple[Tensor, Tensor]:
    """Training patches are of the temple, validation patches of the flower."""
    rng = np.random.default_rng(7)
    found = []
    for image, count in zip(load_sample_images().images, (SAMPLES, 200), strict=True):
        grey = image.mean(2)[::2, ::2] / 255
        corners = rng.integers(0, np.array(grey.shape) - SIDE, (count, 2))
        found.append(np.stack([grey[a : a + SIDE, b : b + SIDE].ravel() for a, b in corners]))
    train, validation = (torch.tensor(each, dtype=torch.float32) for each in found)
    train, validation = standardise(train, validation)
    return train, validation


def widths(params: Params) -> list[int]:
    hidden = [params["hidden"]] if params["depth"] == "deep" else []
    return [SIDE**2, *hidden, params["code"], *hidden, SIDE**2]


def run(params: Params, seed: int) -> Curve:
    torch.manual_seed(seed)
    x, val_x = data()
    sizes = widths(params)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes[:-1]):
        layers += [nn.Linear(inputs, outputs), ACTIVATIONS[params["activation"]]()]
    model = nn.Sequential(*layers, nn.Linear(*sizes[-2:]))
    optimizer = optimizer_of(model, params)
    for _ in schedule_epochs(optimizer, params, EPOCHS):
        for batch in batches(SAMPLES, params["batch_size"]):
            clean = x[batch]
            noisy = clean + params["noise"] * torch.randn_like(clean)
            step(optimizer, ((model(noisy) - clean) ** 2).mean())
        with torch.no_grad():
            yield float(((model(val_x) - val_x) ** 2).mean()), float(params["code"])


TRAINING = Training(
    data="8x8 patches of scikit-learn's two photographs: 500 of one for training, 200 of the other for validation",
    model="autoencoder",
    space={
        "depth": {"choices": {"shallow": {}, "deep": {"hidden": {"low": 16, "high": 96, "log": True}}}},
        "code": {"low": 2, "high": 32, "log": True},
        "activation": {"choices": ["none", "relu", "elu", "tanh"]},
        "optimizer": {
            "choices": {
                "sgd": {"momentum": {"low": 0.0, "high": 0.99}},
                "adam": {"beta2": {"low": 0.8, "high": 0.999}},
            }
        },
        "learning_rate": {"low": 1e-4, "high": 10.0, "log": True},
        "schedule": SCHEDULES,
        "noise": {"low": 0.0, "high": 1.0},
        "batch_size": {"choices": [16, 32, 64]},
    },
    epochs=EPOCHS,
    metric="val_mse",
    direction="minimize",
    second_metric="code_size",
    second_direction="minimize",
    run=run,
    work=lambda params: training_work(SAMPLES, params["batch_size"], mlp_operations(widths(params))),
)
