"""Parity of the pulses in generated sequences, by a layer of diagonal linear state-space systems."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.search.trainings.networks import OPTIMIZERS, batches, optimizer_of, schedule_epochs, step, training_work
from benchmarks.search.trainings.training import Curve, Params, Training

EPOCHS, SAMPLES, LENGTH, PULSES = 30, 400, 32, 3


@cache
def data() -> tuple[Tensor, Tensor]:
    """Return sequences, shape (sequences, LENGTH), and classes; the last 500 are for validation.

    A sequence is noise and 0 to PULSES pulses of height 1 at random times; the class is the parity of their number.
    """
    rng = np.random.default_rng(51)
    counts = rng.integers(PULSES + 1, size=SAMPLES + 500)
    places = rng.random((len(counts), LENGTH)).argsort(1)
    series = (places < counts[:, None]) + rng.normal(scale=0.04, size=places.shape)
    return torch.tensor(series, dtype=torch.float32), torch.tensor(counts % 2)


class StateSpace(nn.Module):
    """One system of diagonal complex states for each channel (S4D of Gu et al. 2022).

    timescale: geometric mean of the channels' time steps, which are a factor of 10 apart at most.
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        width, states = params["width"], params["states"]
        order = torch.arange(states).float().repeat(width, 1)
        match params["eigenvalues"]:
            case "linear":
                rate, frequency = torch.full_like(order, 0.5), math.pi * order
            case "inverse":
                rate, frequency = torch.full_like(order, 0.5), states / math.pi * (2 * states / (2 * order + 1) - 1)
            case _:
                rate, frequency = order + 1, torch.zeros_like(order)
        spread = 10 ** (torch.rand(width, 1) - 0.5)
        self.log_step = nn.Parameter((params["timescale"] * spread).log())
        self.log_rate, self.frequency = nn.Parameter(rate.log()), nn.Parameter(frequency)
        self.output = nn.Parameter(torch.randn(2, width, states))

    def kernels(self) -> Tensor:
        """Return the responses to a pulse, shape (width, LENGTH)."""
        steps = self.log_step.exp()[..., None] * torch.arange(LENGTH)
        decays, angles = (-self.log_rate.exp()[..., None] * steps).exp(), self.frequency[..., None] * steps
        cosines, sines = self.output[..., None]
        return torch.sum(decays * (cosines * angles.cos() + sines * angles.sin()), 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the systems' outputs after the last value, shape (sequences, width)."""
        return x.flip(1) @ self.kernels().T


def run(params: Params, seed: int) -> Curve:
    """state_rate: learning rate of the state-space parameters, as a share of that of the rest; they have no decay."""
    torch.manual_seed(seed)
    x, y = data()
    width, hidden, dropout = params["width"], params["hidden"], nn.Dropout(params["dropout"])
    systems = StateSpace(params)
    head = nn.Sequential(nn.BatchNorm1d(width), nn.Linear(width, hidden), nn.GELU(), dropout, nn.Linear(hidden, 2))
    model = nn.Sequential(systems, head)
    optimizer = optimizer_of(head, params)
    optimizer.add_param_group({"params": list(systems.parameters()), "weight_decay": 0.0})
    for _ in schedule_epochs(optimizer, params, EPOCHS):
        optimizer.param_groups[1]["lr"] *= params["state_rate"]
        model.train()
        for batch in batches(SAMPLES, params["batch_size"]):
            step(optimizer, cross_entropy(model(x[batch]), y[batch]))
        with torch.no_grad():
            yield (float(cross_entropy(model.eval()(x[SAMPLES:]), y[SAMPLES:])),)


TRAINING = Training(
    data="generated: 32 values with noise and 0 to 3 pulses, 400 sequences for training, 500 for validation",
    model="diagonal linear state spaces and a network of one hidden layer",
    space={
        "eigenvalues": {"choices": ["linear", "inverse", "real"]},
        "states": {"low": 2, "high": 16, "log": True},
        "timescale": {"low": 1e-3, "high": 1.0, "log": True},
        "width": {"low": 4, "high": 32, "log": True},
        "hidden": {"low": 4, "high": 64, "log": True},
        "dropout": {"low": 0.0, "high": 0.6},
        "learning_rate": {"low": 1e-4, "high": 1.0, "log": True},
        "state_rate": {"low": 1e-3, "high": 1.0, "log": True},
        "weight_decay": {"low": 1e-5, "high": 1.0, "log": True},
        "optimizer": OPTIMIZERS,
        "batch_size": {"choices": [20, 50, 150]},
    },
    epochs=EPOCHS,
    metric="val_cross_entropy",
    direction="minimize",
    configurations=320,
    run=run,
    # The kernels are computed for each batch, the rest for each sequence.
    work=lambda p: training_work(
        SAMPLES, p["batch_size"], p["width"] * (LENGTH * (1 + 5 * p["states"] / p["batch_size"]) + p["hidden"])
    ),
)
