"""The density of generated clusters, by online expectation maximisation of a Gaussian mixture."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from benchmarks.search.trainings.training import Curve, Params, Training, Work

Array = NDArray[np.float64]
EPOCHS, SAMPLES, VALIDATION, COLUMNS, CLUSTERS = 30, 600, 600, 8, 20


@cache
def data() -> Array:
    """Return standardised points in 8 columns, the last 600 for validation: Gaussian clusters, and some outliers."""
    rng = np.random.default_rng(63)
    centres = rng.normal(scale=1.5, size=(CLUSTERS, COLUMNS))
    factors = rng.normal(scale=0.35, size=(CLUSTERS, COLUMNS, COLUMNS)) * rng.lognormal(0, 0.4, (CLUSTERS, 1, 1))
    members = rng.choice(CLUSTERS, SAMPLES + VALIDATION, p=rng.dirichlet(np.full(CLUSTERS, 2.0)))
    points = centres[members] + np.einsum("nij,nj->ni", factors[members], rng.normal(size=(len(members), COLUMNS)))
    points[rng.random(len(points)) < 0.05] *= 2
    standardised: Array = (points - points[:SAMPLES].mean(0)) / points[:SAMPLES].std(0)
    return standardised


def first_means(params: Params, rng: np.random.Generator, x: Array) -> Array:
    """Return means at points, at distant points (Arthur and Vassilvitskii 2007), or normal around the origin."""
    means = x[rng.permutation(len(x))[: params["components"]]]
    if params["start"] == "distant":
        for place in range(1, len(means)):
            distances = ((x[:, None] - means[:place]) ** 2).sum(2).min(1)
            means[place] = x[rng.choice(len(x), p=distances / distances.sum())]
    return rng.normal(size=means.shape) if params["start"] == "normal" else means


def spreads_of(params: Params, shares: Array, scatters: Array) -> Array:
    """Return the covariances, shape (components, COLUMNS, COLUMNS).

    prior_weight: of a unit covariance, in points. shrinkage: towards a diagonal covariance.
    """
    weight = params["prior_weight"] / SAMPLES
    spreads: Array = (shares[:, None, None] * scatters + weight * np.eye(COLUMNS)) / (shares + weight)[:, None, None]
    if params["covariance"] == "tied":
        spreads = np.broadcast_to(np.tensordot(shares / shares.sum(), spreads, 1), spreads.shape)
    shrinkage = params["shrinkage"] if params["covariance"] == "full" else float(params["covariance"] == "diagonal")
    return spreads * (1 - shrinkage * (1 - np.eye(COLUMNS))) + 1e-6 * np.eye(COLUMNS)


def log_densities(x: Array, shares: Array, means: Array, spreads: Array) -> Array:
    """Return the logarithm of each component's part of the density at each point, shape (points, components)."""
    inverses = np.linalg.inv(np.linalg.cholesky(spreads))
    squares = (((x - means[:, None]) @ inverses.swapaxes(1, 2)) ** 2).sum(2).T
    volumes = np.log(np.diagonal(inverses, axis1=1, axis2=2)).sum(1)
    logs: Array = np.log(shares / shares.sum()) + volumes - squares / 2 - COLUMNS / 2 * math.log(2 * math.pi)
    return logs


def run(params: Params, seed: int) -> Curve:
    """Cappe and Moulines 2009: running means of the moments. temperature: the first (Ueda and Nakano 1998)."""
    rng = np.random.default_rng(seed)
    x, val_x, count, size, updates = data()[:SAMPLES], data()[SAMPLES:], params["components"], params["batch_size"], 0
    means, shares = first_means(params, rng, x), np.full(count, 1 / count)
    spreads = np.tile(params["first_spread"] ** 2 * np.eye(COLUMNS), (count, 1, 1))
    first, second = shares[:, None] * means, shares[:, None, None] * (spreads + means[:, :, None] * means[:, None])
    for epoch in range(EPOCHS):
        temperature = params["temperature"] ** max(0.0, 1 - 2 * epoch / EPOCHS)
        for batch in np.split(x[rng.permutation(SAMPLES)], range(size, SAMPLES, size)):
            logs = log_densities(batch, shares, means, spreads) / temperature
            parts = np.exp(logs - logsumexp(logs, axis=1, keepdims=True)) / len(batch)
            rate = params["rate"] if params["step"] == "constant" else (params["offset"] + updates) ** -params["decay"]
            shares = (1 - rate) * shares + rate * parts.sum(0) + 1e-12
            first = (1 - rate) * first + rate * parts.T @ batch
            second = (1 - rate) * second + rate * (parts.T[:, None] * batch.T) @ batch
            means = first / shares[:, None]
            spreads = spreads_of(params, shares, second / shares[:, None, None] - means[:, :, None] * means[:, None])
            updates += 1
        yield (float(-logsumexp(log_densities(val_x, shares, means, spreads), axis=1).mean()),)


TRAINING = Training(
    data="generated: 20 clusters in 8 columns, 600 points for training, 600 for validation",
    model="mixture of 2 to 60 normal distributions, by online expectation maximisation",
    space={
        "components": {"low": 2, "high": 60, "log": True},
        "start": {"choices": ["points", "distant", "normal"]},
        "first_spread": {"low": 0.03, "high": 3.0, "log": True},
        "covariance": {"choices": {"full": {"shrinkage": {"low": 0.0, "high": 1.0}}, "diagonal": {}, "tied": {}}},
        "prior_weight": {"low": 1e-3, "high": 100.0, "log": True},
        "temperature": {"low": 1.0, "high": 30.0, "log": True},
        "step": {
            "choices": {
                "decay": {"decay": {"low": 0.4, "high": 1.0}, "offset": {"low": 1.0, "high": 1000.0, "log": True}},
                "constant": {"rate": {"low": 1e-3, "high": 1.0, "log": True}},
            }
        },
        "batch_size": {"choices": [20, 60, 200]},
    },
    epochs=EPOCHS,
    metric="val_negative_log_likelihood",
    direction="minimize",
    configurations=320,
    run=run,
    work=lambda p: Work(SAMPLES / p["batch_size"], 4 * SAMPLES * p["components"] * COLUMNS**2),
)
