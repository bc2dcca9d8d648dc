"""A ring of Gaussians by a generator and its critic: noisy, and modes are lost."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import relu, softplus

from benchmarks.search.trainings.networks import mlp, mlp_operations, step
from benchmarks.search.trainings.training import Curve, Params, Training, Work

EPOCHS, STEPS, SAMPLES = 25, 12, 500


@cache
def data() -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(41)
    angle = 2 * np.pi / 8 * rng.integers(0, 8, SAMPLES + 500)
    centres = 2 * np.stack([np.cos(angle), np.sin(angle)], 1)
    points = torch.tensor(centres + rng.normal(scale=0.15, size=centres.shape), dtype=torch.float32)
    return points[:SAMPLES], points[SAMPLES:]


def distance(first: Tensor, second: Tensor) -> float:
    return float(torch.cdist(first, second, compute_mode="donot_use_mm_for_euclid_dist").double().mean())


def critic_loss(params: Params, critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """non_saturating: Goodfellow et al. 2014, smoothing: Salimans et al. 2016. hinge: Lim and Ye 2017.

    clipped: Arjovsky et al. 2017. penalised: Gulrajani et al. 2017, the slopes between pairs of real and made points.
    """
    true, false = critic(torch.cat([real, fake])).chunk(2)
    if params["loss"] == "non_saturating":
        loss: Tensor = softplus(-true) + params["smoothing"] * true + softplus(false)
    else:
        loss = relu(1 - true) + relu(1 + false) if params["loss"] == "hinge" else false - true
    if "penalty" in params:
        between = real.lerp(fake, torch.rand(len(real), 1)).requires_grad_()
        (slopes,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
        loss = loss + params["penalty"] * (slopes.norm(dim=1, keepdim=True) - 1) ** 2
    return loss.mean()


def run(params: Params, seed: int) -> Curve:
    """The metric is the energy distance (Szekely and Rizzo 2013), its root, of 500 points made after each epoch."""
    torch.manual_seed(seed)
    points, val_points = data()
    generator, critic = (mlp(each, nn.LeakyReLU) for each in widths(params))
    makers = torch.optim.Adam(generator.parameters(), params["generator_rate"], (params["beta1"], 0.99), fused=True)
    critics = torch.optim.Adam(critic.parameters(), params["critic_rate"], (params["beta1"], 0.99), fused=True)
    for _ in range(EPOCHS):
        for _ in range(STEPS):
            for _ in range(params["critic_steps"]):
                real = points[torch.randint(SAMPLES, (params["batch_size"],))]
                fake = generator(torch.randn(len(real), params["latent"])).detach()
                step(critics, critic_loss(params, critic, real, fake))
                for weight in critic.parameters() if "clip" in params else ():
                    weight.data.clamp_(-params["clip"], params["clip"])
            scores = critic(generator(torch.randn(params["batch_size"], params["latent"])))
            step(makers, (softplus(-scores) if params["loss"] == "non_saturating" else -scores).mean())
        with torch.no_grad():
            made = generator(torch.randn(len(val_points), params["latent"]))
        if not made.isfinite().all():
            return
        within = distance(made, made) + distance(val_points, val_points)
        yield (math.sqrt(max(2 * distance(made, val_points) - within, 0.0)),)


def widths(params: Params) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return (params["latent"], params["width"], params["width"], 2), (2, params["width"], params["width"], 1)


def work(params: Params) -> Work:
    """A penalty costs as much as another four passes."""
    (generator, critic), steps = (mlp_operations(each) for each in widths(params)), params["critic_steps"]
    sample = 3 * (generator + critic) + steps * (generator + (10 if "penalty" in params else 6) * critic)
    return Work(STEPS * (steps + 1), STEPS * params["batch_size"] * sample)


LOSSES = {
    "non_saturating": {"smoothing": {"low": 0.0, "high": 0.3}},
    "wasserstein_clipped": {"clip": {"low": 0.003, "high": 1.0, "log": True}},
    "wasserstein_penalised": {"penalty": {"low": 0.01, "high": 100.0, "log": True}},
    "hinge": {},
}
TRAINING = Training(
    data="generated: eight Gaussians on a ring, 500 points for training, 500 for validation",
    model="generative adversarial network",
    space={
        "loss": {"choices": LOSSES},
        "generator_rate": {"low": 3e-4, "high": 0.3, "log": True},
        "critic_rate": {"low": 3e-4, "high": 0.3, "log": True},
        "beta1": {"low": 0.0, "high": 0.95},
        "critic_steps": {"low": 1, "high": 3},
        "latent": {"low": 1, "high": 16, "log": True},
        "width": {"low": 8, "high": 64, "log": True},
        "batch_size": {"choices": [16, 48, 128]},
    },
    epochs=EPOCHS,
    metric="val_energy_distance",
    direction="minimize",
    configurations=320,
    run=run,
    work=work,
)
