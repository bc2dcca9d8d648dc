"""Quantiles of an hourly load, a day ahead, by a linear model, a network or convolutions along time."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from scipy.signal import lfilter
from torch import Tensor, nn

from benchmarks.search.trainings.networks import OPTIMIZERS, batches, optimizer_of, schedule_epochs, step, training_work
from benchmarks.search.trainings.training import Curve, Params, Training

EPOCHS, SAMPLES, HISTORY, AHEAD, CALENDAR = 20, 800, 168, 24, 5
QUANTILES = torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95])


@cache
def data() -> tuple[Tensor, Tensor]:
    """Return a week of loads with the calendar of the hour that is asked for, and its load.

    The last 500 hours are for validation. Working days and weekends differ; noise is heavy-tailed, most in the evening.
    """
    rng = np.random.default_rng(43)
    hours = np.arange(HISTORY + AHEAD - 1 + SAMPLES + 500)
    day, weekend = 2 * np.pi * hours / 24, hours // 24 % 7 >= 5
    season = (np.sin(day - 2) + 0.5 * np.sin(2 * day - 1)) * np.where(weekend, 0.5, 1.0) - 0.7 * weekend
    shocks = lfilter([1], [1, -0.5], rng.standard_t(3, len(hours)) * 0.12 * np.exp(np.sin(day + 2.5)))
    weather = lfilter([1], [1, -0.98], rng.normal(scale=0.08, size=len(hours)))
    load = season * (1 + 0.3 * weather) + weather + shocks
    load = (load - load[:SAMPLES].mean()) / load[:SAMPLES].std()
    calendar = np.stack([np.sin(day), np.cos(day), np.sin(2 * day), np.cos(2 * day), weekend], 1)
    windows = np.lib.stride_tricks.sliding_window_view(load, HISTORY)[:-AHEAD]
    inputs = np.hstack([windows, calendar[HISTORY + AHEAD - 1 :]])
    return torch.tensor(inputs, dtype=torch.float32), torch.tensor(load[HISTORY + AHEAD - 1 :], dtype=torch.float32)


class Convolutions(nn.Module):
    """Dilated, of the loads (after van den Oord et al. 2016); the calendar is added at the last hour that is seen."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.reach = 31 * (kernel - 1) + 1
        layers = [nn.Conv1d(1 if d == 1 else channels, channels, kernel, dilation=d) for d in (1, 6, 24)]
        self.body = nn.Sequential(*(part for layer in layers for part in (layer, nn.ReLU())))
        self.head = nn.Linear(channels + CALENDAR, len(QUANTILES))

    def forward(self, x: Tensor) -> Tensor:
        features = self.body(x[:, None, HISTORY - self.reach : HISTORY])[..., 0]
        found: Tensor = self.head(torch.cat([features, x[:, HISTORY:]], 1))
        return found


def network(params: Params) -> nn.Module:
    if params["model"] == "convolution":
        return Convolutions(params["channels"], params["kernel"])
    if params["model"] == "linear":
        return nn.Linear(HISTORY + CALENDAR, len(QUANTILES))
    first, last = nn.Linear(HISTORY + CALENDAR, params["width"]), nn.Linear(params["width"], len(QUANTILES))
    return nn.Sequential(first, nn.ReLU(), nn.Dropout(params["dropout"]), last)


def run(params: Params, seed: int) -> Curve:
    """Loss and metric: Koenker and Bassett 1978, the mean of five quantiles."""
    torch.manual_seed(seed)
    x, load = data()
    model = network(params)
    optimizer = optimizer_of(model, params)
    for _ in schedule_epochs(optimizer, params, EPOCHS):
        model.train()
        for batch in batches(SAMPLES, params["batch_size"]):
            above = load[batch, None] - model(x[batch])
            step(optimizer, torch.maximum(QUANTILES * above, (QUANTILES - 1) * above).mean())
        model.eval()
        with torch.no_grad():
            above = load[SAMPLES:, None] - model(x[SAMPLES:])
        error = torch.maximum(QUANTILES * above, (QUANTILES - 1) * above).mean()
        if not error.isfinite():
            return
        yield (float(error),)


def multiplications(params: Params) -> float:
    if params["model"] != "convolution":
        return float((HISTORY + CALENDAR + len(QUANTILES)) * params.get("width", len(QUANTILES)))
    channels, kernel = params["channels"], params["kernel"]
    return float(kernel * channels * (30 * (kernel - 1) + 1 + channels * (24 * (kernel - 1) + 2)))


NETWORK = {"width": {"low": 4, "high": 128, "log": True}, "dropout": {"low": 0.0, "high": 0.5}}
CONVOLUTION = {"channels": {"low": 2, "high": 16, "log": True}, "kernel": {"low": 2, "high": 6}}
TRAINING = Training(
    data="generated: hourly loads with daily and weekly seasons; 800 hours for training, 500 for validation",
    model="linear model, network of one hidden layer, or convolutions along time",
    space={
        "model": {"choices": {"linear": {}, "network": NETWORK, "convolution": CONVOLUTION}, "structural": True},
        "learning_rate": {"low": 1e-4, "high": 1.0, "log": True},
        "weight_decay": {"low": 1e-6, "high": 1.0, "log": True},
        "optimizer": OPTIMIZERS,
        "schedule": {"choices": ["constant", "cosine"]},
        "batch_size": {"choices": [20, 50, 200]},
    },
    epochs=EPOCHS,
    metric="val_pinball",
    direction="minimize",
    configurations=320,
    run=run,
    work=lambda params: training_work(SAMPLES, params["batch_size"], multiplications(params)),
)
