"""A restricted Boltzmann machine of binary digits, trained by contrastive divergence."""

from __future__ import annotations

from functools import cache

import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn.functional import softplus

from benchmarks.search.trainings.networks import batches, rate_factor
from benchmarks.search.trainings.training import Curve, Params, Training, Work

EPOCHS, SAMPLES, VALIDATION, PIXELS = 30, 500, 100, 64


@cache
def data() -> tuple[Tensor, Tensor]:
    """Return images of 0 and 1, of shape (images, PIXELS): 500 for training, 100 for validation."""
    generator = torch.Generator().manual_seed(63)
    images = torch.tensor(load_digits().data, dtype=torch.float32)
    x = (images[torch.randperm(len(images), generator=generator)] > 7.5).float()
    return x[:SAMPLES], x[SAMPLES : SAMPLES + VALIDATION]


class Machine:
    """weights: (PIXELS, hidden). visible and hidden: the biases of the units. visible_bias: as in Hinton 2012."""

    def __init__(self, params: Params, x: Tensor) -> None:
        self.weights = params["initial_scale"] * torch.randn(PIXELS, params["hidden"])
        self.visible, self.hidden = torch.zeros(PIXELS), torch.zeros(params["hidden"])
        if params["visible_bias"] == "means":
            self.visible = x.mean(0).clamp(0.01, 0.99).logit()
        self.speeds = [torch.zeros_like(each) for each in (self.weights, self.visible, self.hidden)]

    def chances(self, x: Tensor) -> Tensor:
        """Return those of the hidden units, of shape (images, hidden)."""
        return torch.sigmoid(x @ self.weights + self.hidden)

    def sampled(self, x: Tensor, rounds: int) -> Tensor:
        for _ in range(rounds):
            hidden = torch.bernoulli(self.chances(x))
            x = torch.bernoulli(torch.sigmoid(hidden @ self.weights.T + self.visible))
        return x

    def update(self, params: Params, x: Tensor, made: Tensor, rate: float) -> None:
        """Change the weights by the data x and the machine's own images; both of shape (images, PIXELS).

        sparsity: pulls the mean chance of each hidden unit to sparsity_target (Lee et al. 2008).
        """
        chances, own = self.chances(x), self.chances(made)
        sparsity = params["sparsity"] * (params["sparsity_target"] - chances.mean(0))
        slope = x.T @ chances / len(x) - made.T @ own / len(made) - params["weight_decay"] * self.weights
        slopes = slope, x.mean(0) - made.mean(0), chances.mean(0) - own.mean(0) + sparsity
        for each, speed, slope in zip((self.weights, self.visible, self.hidden), self.speeds, slopes, strict=True):
            each.add_(speed.mul_(params["momentum"]).add_(slope, alpha=rate))

    def pseudo_likelihood(self, x: Tensor) -> float:
        """Return the mean logarithm of a pixel's chance given all other pixels of its image (Besag 1975)."""
        inputs, signs = x @ self.weights + self.hidden, 1 - 2 * x
        flipped = softplus(inputs[:, None] + signs[:, :, None] * self.weights).sum(2)
        gained = flipped - softplus(inputs).sum(1, keepdim=True) + signs * self.visible
        return float(-softplus(gained).mean())


def run(params: Params, seed: int) -> Curve:
    """chains: of the machine's images begin at the data (Hinton 2002) or go on (Tieleman 2008)."""
    torch.manual_seed(seed)
    x, val_x = data()
    machine = Machine(params, x)
    made = torch.bernoulli(torch.full((params["batch_size"], PIXELS), 0.5))
    for epoch in range(EPOCHS):
        rate = params["learning_rate"] * rate_factor(params, epoch / EPOCHS)
        for batch in batches(SAMPLES, params["batch_size"]):
            made = machine.sampled(x[batch] if params["chains"] == "data" else made, params["gibbs_rounds"])
            if not machine.weights.isfinite().all():
                return
            machine.update(params, x[batch], made, rate)
        yield (machine.pseudo_likelihood(val_x),)


TRAINING = Training(
    data="scikit-learn's digits in black and white, 500 for training, 100 for validation",
    model="restricted Boltzmann machine of 8 to 96 hidden units",
    space={
        "hidden": {"low": 8, "high": 96, "log": True},
        "chains": {"choices": ["data", "persistent"]},
        "gibbs_rounds": {"low": 1, "high": 8, "log": True},
        "learning_rate": {"low": 1e-3, "high": 3.0, "log": True},
        "schedule": {"choices": ["constant", "cosine"]},
        "momentum": {"low": 0.0, "high": 0.98},
        "weight_decay": {"low": 1e-6, "high": 0.1, "log": True},
        "sparsity": {"low": 1e-3, "high": 10.0, "log": True},
        "sparsity_target": {"low": 0.01, "high": 0.5, "log": True},
        "initial_scale": {"low": 1e-3, "high": 3.0, "log": True},
        "visible_bias": {"choices": ["zero", "means"]},
        "batch_size": {"choices": [10, 25, 50, 100]},
    },
    epochs=EPOCHS,
    metric="val_pseudo_likelihood",
    direction="maximize",
    configurations=320,
    run=run,
    # The Gibbs rounds, two passes for the chances and two for the slopes; then the flips of the validation images.
    work=lambda p: Work(
        SAMPLES / p["batch_size"], (SAMPLES * (2 * p["gibbs_rounds"] + 4) + VALIDATION) * PIXELS * p["hidden"]
    ),
)
