"""The density of two moons by a normalising flow of affine couplings."""

from __future__ import annotations

import math
from functools import cache

import torch
from sklearn.datasets import make_moons
from torch import Tensor, nn

from benchmarks.search.trainings.networks import (
    OPTIMIZERS,
    SCHEDULES,
    batches,
    mlp,
    mlp_operations,
    optimizer_of,
    schedule_epochs,
    standardise,
    step,
    training_work,
)
from benchmarks.search.trainings.training import Curve, Params, Training

EPOCHS, SAMPLES = 25, 400


@cache
def data() -> tuple[Tensor, Tensor]:
    """Return 400 points for training and 400 for validation."""
    points, _ = make_moons(SAMPLES + 400, noise=0.08, random_state=43)
    x = torch.tensor(points, dtype=torch.float32)
    train, validation = standardise(x[:SAMPLES], x[SAMPLES:])
    return train, validation


class Flow(nn.Module):
    """Affine couplings by turns of the one and the other column (Dinh et al. 2017).

    bound: of the logarithm of a coupling's scale, by a tanh. All couplings change nothing at first.
    """

    def __init__(self, couplings: int, width: int, bound: float | None) -> None:
        super().__init__()
        self.networks = nn.ModuleList(mlp(hidden_widths(width)) for _ in range(couplings))
        self.bound = bound
        with torch.no_grad():
            for network in self.networks:
                for last in list(network.parameters())[-2:]:
                    last.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Return the logarithm of the density at each point; that of the base is a standard normal one."""
        kept, changed = x[:, :1], x[:, 1:]
        volume = torch.zeros(len(x))
        for network in self.networks:
            scale, shift = network(kept).chunk(2, 1)
            if self.bound is not None:
                scale = self.bound * torch.tanh(scale / self.bound)
            kept, changed = changed * scale.exp() + shift, kept
            volume = volume + scale[:, 0]
        return volume - (kept**2 + changed**2)[:, 0] / 2 - math.log(2 * math.pi)


def hidden_widths(width: int) -> tuple[int, ...]:
    return 1, width, width, 2


def run(params: Params, seed: int) -> Curve:
    """noise: added to the points of each update."""
    torch.manual_seed(seed)
    x, val_x = data()
    model = Flow(params["couplings"], params["width"], params.get("bound"))
    optimizer = optimizer_of(model, params)
    for _ in schedule_epochs(optimizer, params, EPOCHS):
        for batch in batches(SAMPLES, params["batch_size"]):
            points = x[batch]
            step(optimizer, -model(points + params["noise"] * torch.randn_like(points)).mean())
        with torch.no_grad():
            yield (float(-model(val_x).mean()),)


TRAINING = Training(
    data="generated: two moons with noise, 400 points for training, 400 for validation",
    model="normalising flow of 2 to 8 affine couplings",
    space={
        "couplings": {"low": 2, "high": 8},
        "width": {"low": 4, "high": 64, "log": True},
        "scale": {"choices": {"free": {}, "bounded": {"bound": {"low": 0.1, "high": 10.0, "log": True}}}},
        "noise": {"low": 0.001, "high": 0.5, "log": True},
        "learning_rate": {"low": 1e-4, "high": 1.0, "log": True},
        "optimizer": OPTIMIZERS,
        "schedule": SCHEDULES,
        "batch_size": {"choices": [16, 40, 100]},
    },
    epochs=EPOCHS,
    metric="val_negative_log_likelihood",
    direction="minimize",
    configurations=320,
    run=run,
    work=lambda p: training_work(SAMPLES, p["batch_size"], p["couplings"] * mlp_operations(hidden_widths(p["width"]))),
)
