"""Readings of generated sensors, by a sparse variational Gaussian process."""

from __future__ import annotations

import math
from contextlib import suppress
from functools import cache

import torch
from torch import Tensor, nn
from torch.linalg import LinAlgError, cholesky  # type: ignore[attr-defined]

from benchmarks.search.trainings.networks import batches, optimizer_of, step, training_work
from benchmarks.search.trainings.training import Curve, Params, Training

EPOCHS, SAMPLES, COLUMNS = 25, 300, 4


@cache
def data() -> tuple[Tensor, Tensor]:
    """Return two columns of place, one of time and one of no use, and readings with noise; 300 for validation last."""
    generator = torch.Generator().manual_seed(64)
    x = 4 * torch.rand(SAMPLES + 300, COLUMNS, generator=generator).double() - 2
    y = torch.sin(2 * x[:, 2] + x[:, 0]) * (-(x[:, 1] ** 2) / 2).exp() + 0.1 * torch.randn(len(x), generator=generator)
    return x, (y - y[:SAMPLES].mean()) / y[:SAMPLES].std()


class SparseProcess(nn.Module):
    """A kernel, and inducing points with a normal distribution of their whitened values."""

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.params, points, learned = params, params["inducing"], params["method"] == "adam"
        self.places = nn.Parameter(data()[0][torch.randperm(SAMPLES)[:points]])
        self.log_lengths = nn.Parameter(torch.full((params["lengths"],), math.log(params["first_length"])))
        self.log_scale, self.log_noise = (nn.Parameter(torch.tensor(v).log()) for v in (1.0, params["first_noise"]))
        self.mean, self.factor = (nn.Parameter(each, learned) for each in (torch.zeros(points), torch.eye(points)))
        self.double()
        self.identity = self.precision = torch.eye(points).double()

    def kernel(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the correlations between places (Rasmussen and Williams 2006, chapter 4)."""
        squares = (((a[:, None] - b) / self.log_lengths.exp()) ** 2).sum(2)
        if self.params["kernel"] == "exponential":
            return (-((squares + 1e-12) ** (float(self.params["power"]) / 2))).exp()
        return torch.pow(1 + squares / (2 * self.params["mixture"]), -self.params["mixture"])

    def weights(self, x: Tensor) -> Tensor:
        """Return the factors of the whitened values at each row, shape (points, rows)."""
        root = cholesky(self.kernel(self.places, self.places) + 1e-5 * self.identity)
        return self.log_scale.exp() * (torch.inverse(root) @ self.kernel(self.places, x))

    def loss(self, x: Tensor, y: Tensor, predictive: bool, divergence_weight: float) -> Tensor:
        """Return the mean negative log density of readings, or its bound, plus the divergence from the prior."""
        weights, noise, factor = self.weights(x), (2 * self.log_noise).exp(), self.factor.tril()
        unsure = (2 * self.log_scale).exp() - (weights**2).sum(0) + ((factor.T @ weights) ** 2).sum(0)
        total, extra = (noise + unsure, 0.0) if predictive else (noise, unsure / noise)
        losses = (self.mean @ weights - y) ** 2 / total + extra + (2 * math.pi * total).log()
        divergence = (factor**2).sum() + (self.mean**2 - 1 - (factor.diagonal() ** 2).log()).sum()
        return (losses.mean() + divergence_weight / SAMPLES * divergence) / 2

    @torch.no_grad()
    def natural_step(self, x: Tensor, y: Tensor) -> None:
        """Step along the natural gradient of the bound (Hensman et al. 2013)."""
        weights, rate = self.weights(x), self.params["natural_rate"]
        certainty = SAMPLES / len(x) * (-2 * self.log_noise).exp() / self.params["divergence_weight"]
        information = (1 - rate) * self.precision @ self.mean + rate * certainty * weights @ y
        self.precision = (1 - rate) * self.precision + rate * (self.identity + certainty * weights @ weights.T)
        covariance = torch.cholesky_inverse(cholesky(self.precision))
        self.mean.data, self.factor.data = covariance @ information, cholesky(covariance)


def run(params: Params, seed: int) -> Curve:
    """bound: Hensman et al. 2013. predictive: Jankowiak et al. 2020. All but natural steps are Adam's."""
    torch.manual_seed(seed)
    (x, y), model = data(), SparseProcess(params)
    optimizer, predictive = optimizer_of(model, params), params.get("objective") == "predictive"
    with suppress(LinAlgError):
        for _ in range(EPOCHS):
            for batch in batches(SAMPLES, params["batch_size"]):
                if params["method"] == "natural":
                    model.natural_step(x[batch], y[batch])
                step(optimizer, model.loss(x[batch], y[batch], predictive, params["divergence_weight"]))
            with torch.no_grad():
                yield (float(model.loss(x[SAMPLES:], y[SAMPLES:], True, 0.0)),)


RATE, MIXTURE = {"low": 1e-3, "high": 1.0, "log": True}, {"low": 0.03, "high": 10.0, "log": True}
OBJECTIVE = {"choices": ["bound", "predictive"]}
TRAINING = Training(
    data="generated: readings at four columns, 300 for training, 300 for validation",
    model="Gaussian process with 4 to 64 inducing points",
    space={
        "kernel": {"choices": {"exponential": {"power": {"low": 0.3, "high": 2.0}}, "rational": {"mixture": MIXTURE}}},
        "first_length": {"low": 0.1, "high": 30.0, "log": True},
        "lengths": {"choices": [1, COLUMNS]},
        "inducing": {"low": 4, "high": 64, "log": True},
        "first_noise": {"low": 0.01, "high": 3.0, "log": True},
        "method": {"choices": {"natural": {"natural_rate": RATE}, "adam": {"objective": OBJECTIVE}}},
        "learning_rate": {"low": 3e-4, "high": 1.0, "log": True},
        "divergence_weight": {"low": 0.01, "high": 10.0, "log": True},
        "batch_size": {"choices": [20, 60, 150]},
    },
    epochs=EPOCHS,
    metric="val_negative_log_density",
    direction="minimize",
    configurations=320,
    run=run,
    work=lambda p: training_work(SAMPLES, p["batch_size"], 3 * p["inducing"] ** 2),
)
