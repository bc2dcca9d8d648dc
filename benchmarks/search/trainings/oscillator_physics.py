"""A damped oscillator, found from its differential equation: small residuals come long before small errors."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor, nn

from benchmarks.search.trainings.networks import OPTIMIZERS, mlp, optimizer_of, schedule_epochs, step, training_work
from benchmarks.search.trainings.training import Curve, Params, Training, Work

EPOCHS, STEPS, POINTS = 30, 15, 40
DAMPING, FREQUENCY = 1.5, 12.0


@cache
def data() -> tuple[Tensor, Tensor]:
    """Return times from 0 to 1, and where the oscillator is then; it starts at 1, at rest."""
    times = torch.linspace(0, 1, 200)[:, None]
    turning = math.sqrt(FREQUENCY**2 - DAMPING**2)
    swing = torch.cos(turning * times) + DAMPING / turning * torch.sin(turning * times)
    return times, torch.exp(-DAMPING * times) * swing


def jet(params: Params, layers: list[nn.Linear], times: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return place, speed and acceleration, which are carried from layer to layer.

    sine: after Sitzmann et al. 2020. exact: the start is built in (Lagaris et al. 1998).
    """
    scale = params.get("frequency", 1.0)
    value, first, second = scale * (2 * times - 1), torch.full_like(times, 2 * scale), torch.zeros_like(times)
    for depth, layer in enumerate(layers):
        if depth > 0:
            if params["activation"] == "sine":
                value, slope = torch.sin(value), torch.cos(value)
                bend = -value
            else:
                value = torch.tanh(value)
                slope, bend = 1 - value**2, -2 * value * (1 - value**2)
            first, second = slope * first, slope * second + bend * first**2
        value, first, second = layer(value), first @ layer.weight.T, second @ layer.weight.T
    if params["start"] == "penalty":
        return value, first, second
    square = times**2
    acceleration = 2 * value + 4 * times * first + square * second
    return 1 + square * value, 2 * times * value + square * first, acceleration


def loss_of(params: Params, layers: list[nn.Linear], times: Tensor) -> Tensor:
    """Raissi et al. 2019. causal: late times wait for the early ones (Wang et al. 2022)."""
    place, speed, acceleration = jet(params, layers, times)
    residuals = ((acceleration + 2 * DAMPING * speed) / FREQUENCY**2 + place)[1:, 0] ** 2
    if params["order"] == "causal":
        before = residuals.detach().cumsum(0) - residuals.detach()
        residuals = torch.exp(-params["tolerance"] * before) * residuals
    loss = residuals.mean()
    if params["start"] == "penalty":
        wrong = (place[0, 0] - 1) ** 2 + params["speed_weight"] * (speed[0, 0] / FREQUENCY) ** 2
        loss = params["residual_weight"] * loss + wrong
    return loss


def run(params: Params, seed: int) -> Curve:
    """Metric: the root mean squared error against the exact solution."""
    torch.manual_seed(seed)
    grid, exact = data()
    model = mlp([1, *[params["width"]] * params["layers"], 1])
    layers = [each for each in model if isinstance(each, nn.Linear)]
    optimizer = optimizer_of(model, params)
    for _ in schedule_epochs(optimizer, params, EPOCHS):
        for _ in range(STEPS):
            times = torch.cat([torch.zeros(1, 1), torch.rand(POINTS, 1).sort(0).values])
            step(optimizer, loss_of(params, layers, times))
        with torch.no_grad():
            error = float(((jet(params, layers, grid)[0] - exact) ** 2).mean().sqrt())
        if not math.isfinite(error):
            return
        yield (error,)


def work(params: Params) -> Work:
    # Three numbers are carried forward: value, first and second derivative.
    return training_work(STEPS * POINTS, POINTS, 3 * params["width"] * (2 + params["width"] * (params["layers"] - 1)))


WEIGHT = {"low": 1e-3, "high": 1e3, "log": True}
TRAINING = Training(
    data="a damped oscillator's differential equation, at times drawn anew for each update",
    model="physics-informed network of 1 to 3 hidden layers",
    space={
        "start": {
            "choices": {"penalty": {"residual_weight": WEIGHT, "speed_weight": WEIGHT}, "exact": {}},
            "structural": True,
        },
        "order": {"choices": {"all": {}, "causal": {"tolerance": {"low": 0.01, "high": 100.0, "log": True}}}},
        "activation": {"choices": {"tanh": {}, "sine": {"frequency": {"low": 1.0, "high": 30.0, "log": True}}}},
        "layers": {"low": 1, "high": 3},
        "width": {"low": 8, "high": 64, "log": True},
        "learning_rate": {"low": 1e-4, "high": 1.0, "log": True},
        "optimizer": OPTIMIZERS,
    },
    epochs=EPOCHS,
    metric="val_rmse",
    direction="minimize",
    configurations=320,
    run=run,
    work=work,
)
