"""The density of two rings by denoising diffusion, with few levels of noise."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from benchmarks.search.trainings.networks import batches, mlp, optimizer_of, step, training_work
from benchmarks.search.trainings.training import Curve, Params, Training

EPOCHS, SAMPLES, DRAWN, BOUND, WINDOW = 30, 400, 300, 2.5, 0.15


@cache
def data() -> tuple[Tensor, Tensor]:
    """Return 400 points for training and 300 for validation, of deviation about 1; the rings are oval."""
    rng = np.random.default_rng(61)
    angle, radius = rng.uniform(0, 2 * math.pi, SAMPLES + DRAWN), rng.normal(0.7, 0.06, SAMPLES + DRAWN)
    first = rng.choice([-1.0, 1.0], SAMPLES + DRAWN) + radius * np.cos(angle)
    x = torch.tensor(np.stack([first, 2 * radius * np.sin(angle)], 1), dtype=torch.float32)
    return x[:SAMPLES], x[SAMPLES:]


def kept_signal(params: Params) -> Tensor:
    """Return the share of the variance that is signal, at each level; linear: Ho et al. 2020, cosine: Nichol 2021."""
    times = torch.linspace(0, 1, params["levels"] + 1)
    if params["noise_schedule"] == "linear":
        return torch.exp(math.log(params["last_signal"]) * times.cumsum(0) / times.sum())[1:]
    cosines = torch.cos((times + params["offset"]) / (1 + params["offset"]) * math.pi / 2)
    return cosines[1:].div(cosines[0]).square().clamp(min=1e-4)


def embedded(params: Params, level: Tensor) -> Tensor:
    """Return the level, from 0 to 1, and waves of it, of shape (points, 1 + 2 * frequencies)."""
    time = (level / params["levels"])[:, None]
    waves = math.pi * time * 2 ** torch.arange(params["frequencies"])
    return torch.cat([time, waves.sin(), waves.cos()], 1)


def loss_weights(params: Params, kept: Tensor) -> Tensor:
    """Return a level's weight in the loss of the target; bounded: by the signal to noise ratio (Hang et al. 2023)."""
    if params["weighting"] == "uniform":
        return torch.ones_like(kept)
    ratio = kept / (1 - kept)
    return ratio.clamp(max=params["ratio_bound"]) / (ratio if params["target"] == "noise" else 1.0)


def samples(params: Params, network: nn.Module, kept: Tensor, noise: Tensor) -> Tensor:
    """Return points by ancestral sampling; noise: (1 + levels, points, 2)."""
    x = noise[-1]
    for level in reversed(range(len(kept))):
        now, before = kept[level], kept[level - 1] if level else torch.ones(())
        said = network(torch.cat([x, embedded(params, torch.full((len(x),), level))], 1))
        clean = (x - (1 - now).sqrt() * said) / now.sqrt() if params["target"] == "noise" else said
        clean, one = clean.clamp(-BOUND, BOUND), now / before
        mean = (before.sqrt() * (1 - one) * clean + one.sqrt() * (1 - before) * x) / (1 - now)
        x = mean + ((1 - before) / (1 - now) * (1 - one)).sqrt() * noise[level]
    return x


def run(params: Params, seed: int) -> Curve:
    """The metric is of normal windows about the points drawn (Parzen 1962), with the averaged weights if there are."""
    torch.manual_seed(seed)
    (x, val_x), of_noise = data(), params["target"] == "noise"
    kept, drawn_from = kept_signal(params), torch.randn(1 + params["levels"], DRAWN, 2)
    network = mlp([3 + 2 * params["frequencies"], *[params["width"]] * 2, 2], nn.SiLU)
    weights, optimizer = loss_weights(params, kept), optimizer_of(network, params)
    averaged = AveragedModel(network, avg_fn=lambda mean, each, _: mean.lerp(each, params.get("average_rate", 1.0)))
    for _ in range(EPOCHS):
        for batch in batches(SAMPLES, params["batch_size"]):
            level, noise = torch.randint(params["levels"], (len(batch),)), torch.randn(len(batch), 2)
            noisy = kept[level, None].sqrt() * x[batch] + (1 - kept[level, None]).sqrt() * noise
            missed = network(torch.cat([noisy, embedded(params, level)], 1)) - (noise if of_noise else x[batch])
            step(optimizer, (weights[level, None] * missed**2).mean())
            averaged.update_parameters(network)
        with torch.no_grad():
            drawn = samples(params, averaged, kept, drawn_from)
        exponents = -(torch.cdist(val_x, drawn) ** 2) / (2 * WINDOW**2)
        yield (math.log(DRAWN * 2 * math.pi * WINDOW**2) - float(exponents.logsumexp(1).mean()),)


SIGNAL, OFFSET = {"low": 1e-4, "high": 0.5, "log": True}, {"low": 1e-3, "high": 0.3, "log": True}
TRAINING = Training(
    data="generated: points of two rings with noise, 400 for training, 300 for validation",
    model="denoising diffusion of 3 to 40 levels, with a network of two hidden layers",
    space={
        "levels": {"low": 3, "high": 40, "log": True},
        "noise_schedule": {"choices": {"linear": {"last_signal": SIGNAL}, "cosine": {"offset": OFFSET}}},
        "target": {"choices": ["noise", "data"]},
        "weighting": {"choices": {"uniform": {}, "bounded": {"ratio_bound": {"low": 0.1, "high": 100.0, "log": True}}}},
        "frequencies": {"low": 0, "high": 6},
        "average": {"choices": {"none": {}, "exponential": {"average_rate": {"low": 0.003, "high": 0.5, "log": True}}}},
        "width": {"low": 8, "high": 96, "log": True},
        "learning_rate": {"low": 1e-4, "high": 0.3, "log": True},
        "batch_size": {"choices": [20, 50, 100]},
    },
    epochs=EPOCHS,
    metric="val_negative_log_likelihood",
    direction="minimize",
    configurations=320,
    run=run,
    work=lambda p: training_work(
        SAMPLES, p["batch_size"], (1 + p["levels"] / 4) * p["width"] * (5 + 2 * p["frequencies"] + p["width"])
    ),
)
