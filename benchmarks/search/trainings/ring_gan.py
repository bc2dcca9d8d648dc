"""Points on a ring of clusters, by a generator against a discriminator: it wavers, and it can collapse."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import softplus

from benchmarks.search.trainings.networks import mlp, mlp_operations, step
from benchmarks.search.trainings.training import Curve, Params, Training, Work

EPOCHS, STEPS, NOISE = 30, 8, 4


def ring(count: int) -> Tensor:
    """Return points of eight clusters."""
    angles = torch.randint(8, (count,)) * (math.pi / 4)
    return torch.stack([angles.cos(), angles.sin()], 1) + 0.05 * torch.randn(count, 2)


@cache
def reference() -> tuple[Tensor, Tensor]:
    """Return real points along each of 16 directions, sorted, and the directions."""
    with torch.random.fork_rng():
        torch.manual_seed(11)
        angles = torch.arange(16) * (math.pi / 16)
        directions = torch.stack([angles.cos(), angles.sin()])
        return (ring(256) @ directions).sort(0).values, directions


def distance(points: Tensor) -> float:
    """Return the sliced Wasserstein-1 distance of 256 points to real ones."""
    real, directions = reference()
    return float(((points @ directions).sort(0).values - real).abs().mean())


def losses(kind: str, real: Tensor, fake: Tensor) -> Tensor:
    """Return the discriminator's loss: hinge, logistic or least squares."""
    if kind == "hinge":
        return (1 - real).clamp(min=0).mean() + (1 + fake).clamp(min=0).mean()
    if kind == "logistic":
        return softplus(-real).mean() + softplus(fake).mean()
    return ((real - 1) ** 2).mean() + (fake**2).mean()


def generator_loss(kind: str, fake: Tensor) -> Tensor:
    if kind == "hinge":
        return -fake.mean()
    return softplus(-fake).mean() if kind == "logistic" else ((fake - 1) ** 2).mean()


def run(params: Params, seed: int) -> Curve:
    torch.manual_seed(seed)
    width, size, kind = params["width"], params["batch_size"], params["loss"]
    generator, discriminator = mlp([NOISE, width, width, 2]), mlp([2, width, width, 1])
    rates = params["learning_rate"], params["learning_rate"] * params["discriminator_factor"]
    optimizers = [
        torch.optim.Adam(model.parameters(), rate, (params["beta1"], 0.99), fused=True)
        for model, rate in zip((generator, discriminator), rates, strict=True)
    ]
    for _ in range(EPOCHS):
        for _ in range(STEPS):
            for _ in range(params["discriminator_steps"]):
                real, fake = ring(size), generator(torch.randn(size, NOISE)).detach()
                loss = losses(kind, discriminator(real), discriminator(fake))
                if params["penalty"] == "gradient":
                    real.requires_grad_()
                    (slope,) = torch.autograd.grad(discriminator(real).sum(), real, create_graph=True)
                    loss = loss + params["penalty_weight"] * (slope**2).sum(1).mean()
                step(optimizers[1], loss)
            step(optimizers[0], generator_loss(kind, discriminator(generator(torch.randn(size, NOISE)))))
        with torch.no_grad():
            yield (distance(generator(torch.randn(256, NOISE))),)


def work(params: Params) -> Work:
    width = params["width"]
    passes = mlp_operations([NOISE, width, width, 2]) + mlp_operations([2, width, width, 1])
    penalty = 2 if params["penalty"] == "gradient" else 1
    updates = STEPS * (1 + params["discriminator_steps"] * penalty)
    return Work(updates, updates * params["batch_size"] * 3 * passes)


TRAINING = Training(
    data="generated: eight clusters on a ring",
    model="generative adversarial network",
    space={
        "loss": {"choices": ["logistic", "hinge", "least_squares"]},
        "penalty": {"choices": {"none": {}, "gradient": {"penalty_weight": {"low": 1e-3, "high": 10.0, "log": True}}}},
        "learning_rate": {"low": 3e-4, "high": 0.1, "log": True},
        "discriminator_factor": {"low": 0.1, "high": 10.0, "log": True},
        "beta1": {"choices": [0.0, 0.5, 0.9]},
        "discriminator_steps": {"choices": [1, 2]},
        "width": {"low": 8, "high": 48, "log": True},
        "batch_size": {"choices": [16, 32, 64]},
    },
    epochs=EPOCHS,
    metric="sliced_wasserstein",
    direction="minimize",
    configurations=320,
    run=run,
    work=work,
)
