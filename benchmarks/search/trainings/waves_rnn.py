"""Forecast of waves by a recurrent network that is fed its own forecasts: some runs explode."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

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

EPOCHS, SAMPLES, LENGTH, FORECAST = 30, 160, 20, 10
GATES = {"gru": 3, "lstm": 4, "relu": 1, "tanh": 1}


@cache
def data() -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(5)
    count, times = SAMPLES + 60, np.arange(LENGTH + FORECAST)
    period, phase = rng.uniform(5, 15, (2, count, 1)), rng.uniform(0, 6.3, (2, count, 1))
    waves = np.sin(6.28 * times / period + phase).sum(0) + rng.normal(scale=0.1, size=(count, len(times)))
    series = torch.tensor(waves, dtype=torch.float32)[..., None]
    return series[:SAMPLES], series[SAMPLES:]


class Forecaster(nn.Module):
    def __init__(self, cell: str, width: int) -> None:
        super().__init__()
        if cell in ("relu", "tanh"):
            self.cell: nn.Module = nn.RNN(1, width, batch_first=True, nonlinearity=cell)
        else:
            self.cell = {"gru": nn.GRU, "lstm": nn.LSTM}[cell](1, width, batch_first=True)
        self.head = nn.Linear(width, 1)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        hidden, state = self.cell(x, state)
        return self.head(hidden), state

    def forecast(self, seen: Tensor) -> Tensor:
        found, state = self(seen)
        values = [found[:, -1:]]
        for _ in range(FORECAST - 1):
            value, state = self(values[-1], state)
            values.append(value)
        return torch.cat(values, 1)


def run(params: Params, seed: int) -> Curve:
    torch.manual_seed(seed)
    series, val_series = data()
    model = Forecaster(params["cell"], params["width"])
    optimizer = optimizer_of(model, params)
    for _ in schedule_epochs(optimizer, params, EPOCHS):
        for batch in batches(SAMPLES, params["batch_size"]):
            found, _ = model(series[batch, :-1])
            step(optimizer, ((found - series[batch, 1:]) ** 2).mean(), params.get("max_norm"))
        with torch.no_grad():
            error = model.forecast(val_series[:, :LENGTH]) - val_series[:, LENGTH:]
        yield float((error**2).mean().sqrt()), operations(params)


def operations(params: Params) -> float:
    """Return the multiplications of a step of one series."""
    return float(GATES[params["cell"]] * params["width"] * (params["width"] + 1) + params["width"])


TRAINING = Training(
    data="generated: sums of two sines with noise, 160 series for training, 60 for validation, 10 values ahead",
    model="recurrent network",
    space={
        "cell": {"choices": ["gru", "lstm", "relu", "tanh"], "structural": True},
        "width": {"low": 4, "high": 40, "log": True},
        "learning_rate": {"low": 1e-3, "high": 3.0, "log": True},
        "optimizer": OPTIMIZERS,
        "schedule": SCHEDULES,
        "clip": {"choices": {"none": {}, "norm": {"max_norm": {"low": 0.05, "high": 5.0, "log": True}}}},
        "batch_size": {"choices": [16, 32, 80]},
    },
    epochs=EPOCHS,
    metric="val_forecast_rmse",
    direction="minimize",
    second_metric="step_operations",
    second_direction="minimize",
    configurations=300,
    run=run,
    work=lambda params: training_work(SAMPLES, params["batch_size"], (LENGTH + FORECAST - 1) * operations(params)),
)
