"""A pendulum swung up and held by a network that evolves, by one of three methods."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.search.trainings.training import Curve, Params, Training, Work

Array = NDArray[np.float64]
EPOCHS, CANDIDATES, DECISIONS, DT, TORQUE = 30, 60, 50, 0.1, 2.5


def first_states(rng: np.random.Generator, policies: int, episodes: int) -> Array:
    """Return the angles from the top and the speeds, shape (2, policies, episodes)."""
    return np.stack([np.pi + rng.uniform(-1, 1, (policies, episodes)), rng.uniform(-1, 1, (policies, episodes))])


def swing(policies: Array, states: Array, width: int) -> Array:
    """Return the mean return of each policy, over its episodes and their 50 decisions.

    The pendulum is that of Gym's Pendulum-v1, with another torque; the network has one hidden layer.
    """
    inner, outer = np.split(policies.reshape(-1, 1, 5, width), [4], 2)
    (angle, speed), total = states, np.zeros(states.shape[1:])
    for _ in range(DECISIONS):
        sine, cosine = np.sin(angle), np.cos(angle)
        hidden = np.tanh(np.stack([sine, cosine, speed / 4, np.ones_like(sine)], -1) @ inner[:, 0])
        torque = TORQUE * np.tanh((hidden * outer[:, :, 0]).sum(2))
        total = total - np.arctan2(sine, cosine) ** 2 - 0.1 * speed**2 - 0.01 * torque**2
        speed = np.clip(speed + DT * (15 * sine + 3 * torque), -8, 8)
        angle = angle + DT * speed
    return np.asarray(total.mean(1) / DECISIONS)


def ranked_weights(parents: int, zero: float) -> Array:
    """Return the weights of the best candidates, which add up to 1; zero: the rank at which they come to 0."""
    weights = np.maximum(np.log(zero) - np.log(np.arange(1, parents + 1)), 0)
    return np.asarray(weights / weights.sum())


def run(params: Params, seed: int) -> Curve:
    """An epoch is 60 candidates; the metric is the mean return of the mean policy, or of the best candidate's genes.

    natural: separable natural evolution strategies (Wierstra et al. 2014). adaptation: a covariance matrix of which
    the diagonal is adapted (Ros and Hansen 2008). genetic: truncation (Such et al. 2017) with uniform crossover.
    """
    rng = np.random.default_rng(seed)
    width, population, method = params["width"], params["population"], params["method"]
    shape, tests = (population, 5 * width), first_states(np.random.default_rng(53), 1, 30)
    mean = rng.normal(scale=params["first_scale"], size=5 * width)
    deviation, path = np.full(5 * width, params["deviation"]), np.zeros(5 * width)
    genes = mean + params["first_scale"] * rng.normal(size=shape)
    for _ in range(EPOCHS):
        for _ in range(CANDIDATES // population):
            noise, centres = rng.normal(size=shape), mean[None]
            if method == "genetic":
                first, second = rng.integers(len(genes), size=(2, population))
                centres = np.where(rng.random(shape) < params["crossover"], genes[second], genes[first])
                centres[0], noise[0] = genes[0], 0.0
            asked = centres + deviation * noise
            returns = swing(asked, first_states(rng, population, params["rollouts"]), width)
            order = (-returns).argsort(kind="stable")
            if method == "natural":
                weights, ranked = ranked_weights(population, population / 2 + 1) - 1 / population, noise[order]
                mean = mean + params["learning_rate"] * deviation * (weights @ ranked)
                deviation = deviation * np.exp(params["deviation_rate"] / 2 * (weights @ (ranked**2 - 1)))
            elif method == "adaptation":
                parents, rate = max(1, round(params["parents"] * population)), params["covariance_rate"]
                weights, ranked = ranked_weights(parents, parents + 0.5), noise[order[:parents]]
                mean = mean + deviation * (weights @ ranked)
                path = 0.7 * path + (0.51 / (weights**2).sum()) ** 0.5 * (weights @ ranked)
                deviation = deviation * np.sqrt(1 - rate + rate / 2 * (path**2 + weights @ ranked**2))
            else:
                genes = asked[order[: max(1, round(params["survivors"] * population))]]
                mean, deviation = genes[0], deviation * params["shrinking"] ** (population / CANDIDATES)
        yield (float(swing(mean[None], tests, width)[0]),)


RATE = {"low": 0.001, "high": 1.0, "log": True}
TRAINING = Training(
    data="simulated: a pendulum, episodes of 5 s from near the bottom",
    model="network of one hidden layer, by natural evolution, diagonal adaptation or a genetic algorithm",
    space={
        "method": {
            "choices": {
                "natural": {"learning_rate": {"low": 0.03, "high": 10.0, "log": True}, "deviation_rate": RATE},
                "adaptation": {"parents": {"low": 0.05, "high": 0.8}, "covariance_rate": RATE},
                "genetic": {
                    "survivors": {"low": 0.02, "high": 0.8, "log": True},
                    "crossover": {"low": 0.0, "high": 0.5},
                    "shrinking": {"low": 0.8, "high": 1.0},
                },
            }
        },
        "deviation": {"low": 0.003, "high": 3.0, "log": True},
        "first_scale": {"low": 0.01, "high": 3.0, "log": True},
        "width": {"low": 2, "high": 24, "log": True},
        "population": {"choices": [10, 20, 60]},
        "rollouts": {"choices": [1, 2, 5]},
    },
    epochs=EPOCHS,
    metric="mean_return",
    direction="maximize",
    configurations=320,
    run=run,
    # Four decisions of all candidates count as an update.
    work=lambda p: Work(15 * DECISIONS / p["population"], CANDIDATES * p["rollouts"] * DECISIONS * 5 * p["width"]),
)
