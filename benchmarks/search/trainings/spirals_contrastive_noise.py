"""An energy of points on spirals that is not normalised, learned by contrast with noise or from the slopes."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from benchmarks.search.trainings.networks import OPTIMIZERS, batches, mlp, optimizer_of, step, training_work
from benchmarks.search.trainings.training import Curve, Params, Training

EPOCHS, SAMPLES, VALIDATION, CELLS, REACH = 25, 800, 400, 40, 2.5
ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "silu": nn.SiLU}


@cache
def data() -> tuple[Tensor, Tensor, Tensor]:
    """Return 800 points of two spirals for training, the cells of 400 for validation, and the cells' centres.

    The cells are squares that fill the area from -REACH to REACH; their centres have the shape (CELLS**2, 2).
    """
    rng = np.random.default_rng(64)
    turned = np.sqrt(rng.uniform(0.02, 1, SAMPLES + VALIDATION))
    angles = 1.25 * 2 * math.pi * turned + math.pi * rng.integers(2, size=len(turned))
    points = 2.1 * turned[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
    x = torch.tensor(points + rng.normal(scale=0.08, size=points.shape), dtype=torch.float32)
    cells = ((x[SAMPLES:] + REACH) * CELLS / (2 * REACH)).long().clamp(0, CELLS - 1)
    centres = (torch.arange(CELLS) + 0.5) * 2 * REACH / CELLS - REACH
    return x[:SAMPLES], cells[:, 0] * CELLS + cells[:, 1], torch.cartesian_prod(centres, centres)


def contrast_loss(params: Params, model: nn.Module, x: Tensor) -> Tensor:
    """Return the loss of Gutmann and Hyvarinen (2010); noise_ratio: normal points for each one of the data."""
    ratio, scale = params["noise_ratio"], params["noise_scale"]
    points = torch.cat([x, scale * torch.randn(ratio * len(x), 2)])
    noise_density = -(points**2).sum(1) / (2 * scale**2) - math.log(2 * math.pi * scale**2)
    scores: Tensor = model(points)[:, 0] - noise_density - math.log(ratio)
    loss: Tensor = softplus(-scores[: len(x)]).mean() + ratio * softplus(scores[len(x) :]).mean()
    return loss


def matching_loss(params: Params, model: nn.Module, x: Tensor) -> Tensor:
    """Return the loss of Vincent (2011): the slope at a blurred point leads back; blur: the deviation of the noise."""
    noise = torch.randn_like(x)
    blurred = (x + params["blur"] * noise).requires_grad_()
    slopes = torch.autograd.grad(model(blurred).sum(), blurred, create_graph=True)[0]
    missed: Tensor = params["blur"] * slopes + noise
    return (missed**2).sum(1).mean()


def run(params: Params, seed: int) -> Curve:
    """The metric is of the density that is even inside each cell. first_scale: multiplies the first layer's weights."""
    torch.manual_seed(seed)
    x, val_cells, centres = data()
    model = mlp([2, *[params["width"]] * params["layers"], 1], ACTIVATIONS[params["activation"]])
    next(model.parameters()).data.mul_(params["first_scale"])
    loss_of, optimizer = LOSSES[params["method"]], optimizer_of(model, params)
    for _ in range(EPOCHS):
        for batch in batches(SAMPLES, params["batch_size"]):
            step(optimizer, loss_of(params, model, x[batch]))
        with torch.no_grad():
            densities = model(centres)[:, 0].log_softmax(0) - 2 * math.log(2 * REACH / CELLS)
        yield (-float(densities[val_cells].mean()),)


LOSSES = {"contrast": contrast_loss, "matching": matching_loss}
TRAINING = Training(
    data="generated: points of two spirals with noise, 800 for training, 400 for validation",
    model="unnormalised density by a network of one to three hidden layers",
    space={
        "method": {
            "choices": {
                "contrast": {
                    "noise_ratio": {"low": 1, "high": 20, "log": True},
                    "noise_scale": {"low": 0.3, "high": 10.0, "log": True},
                },
                "matching": {"blur": {"low": 0.01, "high": 1.0, "log": True}},
            }
        },
        "width": {"low": 8, "high": 64, "log": True},
        "layers": {"low": 1, "high": 3},
        "activation": {"choices": list(ACTIVATIONS)},
        "first_scale": {"low": 0.3, "high": 10.0, "log": True},
        "learning_rate": {"low": 3e-4, "high": 0.5, "log": True},
        "optimizer": OPTIMIZERS,
        "batch_size": {"choices": [20, 40, 100]},
    },
    epochs=EPOCHS,
    metric="val_negative_log_likelihood",
    direction="minimize",
    configurations=320,
    run=run,
    # The slopes of the matching loss double its work.
    work=lambda p: training_work(
        SAMPLES, p["batch_size"], (1 + p.get("noise_ratio", 1)) * p["width"] * (3 + (p["layers"] - 1) * p["width"])
    ),
)
