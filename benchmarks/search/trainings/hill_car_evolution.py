"""A car too weak for its hill, driven by an evolved policy: to stay at rest is cheap, and some never leave that."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.search.trainings.training import Curve, Params, Training, Work

Array = NDArray[np.float64]
EPOCHS, CANDIDATES, DECISIONS, REPEAT = 30, 48, 40, 5
GOAL, ENGINE, EFFORT, MISSING = 0.5, 0.001, 0.3, 100.0
# Where the episodes start that the metric is taken from.
STARTS = np.linspace(-0.6, -0.4, 20)


def drive(policies: Array, starts: Array, width: int) -> tuple[Array, Array]:
    """Return the mean return of each policy, and how far from the goal it stayed; starts: (policies, episodes).

    The mountain car of Moore (1990), with the constants of Gym's MountainCar-v0 and a network of one hidden layer that
    pushes from -1 to 1. Effort has a price, and so has what is missing to the goal.
    """
    place, speed, total, farthest = starts, np.zeros(starts.shape), np.zeros(starts.shape), starts
    running = np.ones(starts.shape)
    by_place, by_speed, bias, outer = policies.reshape(len(policies), 4, 1, width).swapaxes(0, 1)
    for _ in range(DECISIONS):
        hidden = (place[..., None] + 0.3) / 0.9 * by_place + speed[..., None] / 0.02 * by_speed + bias
        push = np.tanh((np.tanh(hidden) * outer).sum(-1))
        price = 1 + EFFORT * push**2
        for _ in range(REPEAT):
            total = total - running * price
            speed = np.clip(speed + ENGINE * push - 0.0025 * np.cos(3 * place), -0.07, 0.07)
            place = np.maximum(place + speed, -1.2)
            speed = np.where(place > -1.2, speed, 0.0)
            running = running * (place < GOAL)
        farthest = np.maximum(farthest, place)
        if not running.any():
            break
    missing = np.maximum(GOAL - farthest, 0)
    return (total - MISSING * missing).mean(1), missing.mean(1)


def run(params: Params, seed: int) -> Curve:
    """Evolution strategies (Salimans et al. 2017) or the cross-entropy method (Szita and Lorincz 2006).

    An epoch is 48 candidates; the metric is the mean return of the mean policy.
    """
    rng = np.random.default_rng(seed)
    width, population = params["width"], params["population"]
    mean = rng.normal(scale=params["first_scale"], size=4 * width)
    deviation = np.full(len(mean), params["deviation"])
    for epoch in range(EPOCHS):
        for _ in range(CANDIDATES // population):
            half = rng.normal(size=(population // 2, len(mean)))
            noise = np.concatenate([half, -half])
            starts = rng.uniform(-0.6, -0.4, (population, params["rollouts"]))
            returns, missing = drive(mean + deviation * noise, starts, width)
            fitness = returns - params.get("progress", 0.0) * missing
            if params["algorithm"] == "evolution_strategy":
                if params["fitness"] == "ranks":
                    fitness = fitness.argsort(kind="stable").argsort() / (population - 1)
                weights = (fitness - fitness.mean()) / (fitness.std() + 1e-8)
                gradient = weights @ noise / (population * deviation) - params["weight_decay"] * mean
                mean = mean + params["learning_rate"] * gradient
            else:
                count = max(2, round(params["elite"] * population))
                elite = noise[fitness.argsort(kind="stable")[-count:]]
                mean = mean + deviation * elite.mean(0)
                deviation = deviation * elite.std(0) + params["added"] * (1 - epoch / EPOCHS)
        if not np.isfinite(mean).all():
            return
        yield (float(drive(mean[None], STARTS[None], width)[0][0]),)


TRAINING = Training(
    data="simulated: the mountain car with a price of effort, episodes of at most 200 steps",
    model="evolution strategies or the cross-entropy method, with a network of one hidden layer",
    space={
        "algorithm": {
            "choices": {
                "evolution_strategy": {
                    "learning_rate": {"low": 1e-3, "high": 3.0, "log": True},
                    "fitness": {"choices": ["ranks", "standardised"]},
                    "weight_decay": {"low": 1e-4, "high": 1.0, "log": True},
                },
                "cross_entropy": {
                    "elite": {"low": 0.05, "high": 0.6},
                    "added": {"low": 1e-3, "high": 1.0, "log": True},
                },
            }
        },
        "deviation": {"low": 0.01, "high": 3.0, "log": True},
        "first_scale": {"low": 0.01, "high": 1.0, "log": True},
        "width": {"low": 2, "high": 16, "log": True},
        "population": {"choices": [8, 16, 48]},
        "rollouts": {"choices": [1, 2, 4]},
        "reward": {"choices": {"return": {}, "progress": {"progress": {"low": 1.0, "high": 1000.0, "log": True}}}},
    },
    epochs=EPOCHS,
    metric="mean_return",
    direction="maximize",
    configurations=320,
    run=run,
    # Two decisions of all candidates count as an update.
    work=lambda p: Work(
        CANDIDATES / p["population"] * DECISIONS / 2, CANDIDATES * p["rollouts"] * DECISIONS * 4 * p["width"]
    ),
)
