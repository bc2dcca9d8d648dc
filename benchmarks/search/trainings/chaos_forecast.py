"""Forecast of a chaotic series several steps ahead, at once or step by step, by three kinds of network."""

from __future__ import annotations

from functools import cache, reduce

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.search.trainings.networks import OPTIMIZERS, batches, optimizer_of, schedule_epochs, step, training_work
from benchmarks.search.trainings.training import Curve, Params, Training

EPOCHS, SAMPLES, WINDOW, AHEAD, DELAY = 30, 300, 24, 8, 17
CONVOLUTION = {"layers": {"low": 1, "high": 4}, "kernel": {"low": 2, "high": 4}}
GATED, RESIDUAL = {"chunk": {"choices": [3, 4, 6]}}, {"blocks": {"low": 0, "high": 3}}


@cache
def data() -> Tensor:
    """Return windows with the values after them, shape (windows, WINDOW + AHEAD); the last 300 are for validation.

    The series of Mackey and Glass (1977) with a delay of 17, by Euler's method with steps of 0.1, one value every 3.
    """
    history, first = [1.2] * (10 * DELAY), 10 * DELAY + 1500
    for _ in range(30 * (SAMPLES + 300 + 2 * (WINDOW + AHEAD)) + 1500):
        delayed = history[-10 * DELAY]
        history.append(history[-1] + 0.1 * (0.2 * delayed / (1 + delayed**10) - 0.1 * history[-1]))
    series = np.array(history[first::30])
    series = (series - series.mean()) / series.std() + np.random.default_rng(54).normal(scale=0.02, size=len(series))
    cut = torch.tensor(series, dtype=torch.float32).unfold(0, WINDOW + AHEAD, 1)
    return torch.cat([cut[:SAMPLES], cut[SAMPLES + WINDOW + AHEAD :][:300]])


class Added(nn.Sequential):
    """Adds to its input what its layers make of it."""

    def forward(self, x: Tensor) -> Tensor:
        return x + reduce(lambda state, layer: layer(state), self, x)


class Forecaster(nn.Module):
    """Finds the values after windows. convolution: dilated and causal, with residuals (Bai et al. 2018)."""

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.kind, width, chunk = params["network"], params["width"], params.get("chunk", 1)
        self.shape = {"convolution": (1, WINDOW), "gru": (WINDOW // chunk, chunk), "residual": (WINDOW,)}[self.kind]
        if self.kind == "gru":
            self.body: nn.Module = nn.GRU(chunk, width, batch_first=True)
        elif self.kind == "residual":
            sums = [Added(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)) for _ in range(params["blocks"])]
            self.body = nn.Sequential(nn.Linear(WINDOW, width), *sums)
        else:
            self.body = nn.Sequential(nn.Conv1d(1, width, 1))
            for gap in (2**layer for layer in range(params["layers"])):
                convolution = nn.Conv1d(width, width, params["kernel"], dilation=gap)
                before = nn.ConstantPad1d(((params["kernel"] - 1) * gap, 0), 0)
                self.body.append(Added(before, convolution, nn.ReLU()))
        self.head = nn.Linear(width, params["outputs"])

    def forward(self, x: Tensor) -> Tensor:
        state = self.body(x.reshape(len(x), *self.shape))
        last = state if self.kind == "residual" else state[0][:, -1] if self.kind == "gru" else state[..., -1]
        return torch.as_tensor(self.head(last))


def run(params: Params, seed: int) -> Curve:
    """outputs: values found at once; they are appended to the window until there are AHEAD. noise: on each update's."""
    torch.manual_seed(seed)
    x, y = data().tensor_split([WINDOW], 1)
    optimizer = optimizer_of(model := Forecaster(params), params)
    for _ in schedule_epochs(optimizer, params, EPOCHS):
        for batch in batches(SAMPLES, params["batch_size"]):
            found = model(x[batch] + params["noise"] * torch.randn(len(batch), WINDOW))
            step(optimizer, ((found - y[batch, : found.shape[1]]) ** 2).mean())
        window = x[SAMPLES:]
        with torch.no_grad():
            while window.shape[1] < WINDOW + AHEAD:
                window = torch.cat([window, model(window[:, -WINDOW:])], 1)
        yield (float((window[:, WINDOW:] - y[SAMPLES:]).square().mean().sqrt()),)


def operations(params: Params) -> float:
    """Return the multiplications of a window."""
    width = params["width"]
    gated = 3 * WINDOW * (width / params["chunk"] + 1) if params["network"] == "gru" else 0
    layers = WINDOW * params.get("layers", 0) * params.get("kernel", 0) + 2 * params.get("blocks", 0)
    return float(width * (WINDOW + layers * width + gated + params["outputs"]))


TRAINING = Training(
    data="generated: the series of Mackey and Glass with noise; 300 windows for training, 300 for validation",
    model="temporal convolutional, gated recurrent or residual network",
    space={
        "network": {"choices": {"convolution": CONVOLUTION, "gru": GATED, "residual": RESIDUAL}},
        "width": {"low": 4, "high": 32, "log": True},
        "outputs": {"choices": [1, 2, 4, 8]},
        "noise": {"low": 1e-3, "high": 1.0, "log": True},
        "learning_rate": {"low": 1e-4, "high": 1.0, "log": True},
        "optimizer": OPTIMIZERS,
        "batch_size": {"choices": [20, 30, 75]},
    },
    epochs=EPOCHS,
    metric="val_forecast_rmse",
    direction="minimize",
    configurations=320,
    run=run,
    work=lambda params: training_work(SAMPLES, params["batch_size"], operations(params)),
)
