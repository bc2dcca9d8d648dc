"""A pole on a cart, balanced by a policy gradient: noisy, late, and it can be forgotten again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.search.trainings.training import Curve, Params, Training, Work

Array = NDArray[np.float64]
EPOCHS, EPISODES, LIMIT = 40, 8, 200


def physics(state: Array, push: Array) -> Array:
    """One step of 0.02 s; Barto, Sutton, Anderson 1983, with the constants of Gym's CartPole-v1."""
    _, v, angle, turn = state.T
    sine, cosine = np.sin(angle), np.cos(angle)
    force = (20 * push - 10 + 0.05 * turn**2 * sine) / 1.1
    twist = (9.8 * sine - cosine * force) / (0.5 * (4 / 3 - 0.1 * cosine**2 / 1.1))
    speed = np.stack([v, force - 0.05 * twist * cosine / 1.1, turn, twist], 1)
    return state + 0.02 * speed


class Policy:
    """One hidden layer; the probability of a push to the right."""

    def __init__(self, width: int, rng: np.random.Generator) -> None:
        self.weights = [rng.normal(scale=0.5, size=(4, width)), rng.normal(scale=1 / np.sqrt(width), size=width)]
        self.moments = [np.zeros_like(each) for each in self.weights]

    def probability(self, states: Array) -> tuple[Array, Array]:
        hidden = np.tanh(states @ self.weights[0])
        return 1 / (1 + np.exp(-np.clip(hidden @ self.weights[1], -30, 30))), hidden

    def ascend(self, states: Array, hidden: Array, score: Array, params: Params) -> None:
        """score: the derivative by the logit, of each state."""
        inner = score[:, None] * self.weights[1] * (1 - hidden**2)
        for weight, moment, gradient in zip(
            self.weights, self.moments, (states.T @ inner, hidden.T @ score), strict=True
        ):
            if params["optimizer"] == "rmsprop":
                moment *= params["decay"]
                moment += (1 - params["decay"]) * gradient**2
                gradient = gradient / (np.sqrt(moment) + 1e-8)
            weight += params["learning_rate"] * gradient


def episodes(
    policy: Policy, count: int, discount: float, rng: np.random.Generator
) -> tuple[Array, Array, Array, float]:
    """Return states, actions and returns of all steps, and the mean length."""
    state, alive = rng.uniform(-0.05, 0.05, (count, 4)), np.ones(count, bool)
    states, actions, lives = [], [], []
    while alive.any() and len(states) < LIMIT:
        push = (rng.random(count) < policy.probability(state)[0]).astype(float)
        states.append(state)
        actions.append(push)
        lives.append(alive)
        state = physics(state, push)
        alive = alive & (abs(state[:, 0]) < 2.4) & (abs(state[:, 2]) < 0.21)
    lived = np.array(lives)
    returns, following = np.zeros(lived.shape), np.zeros(count)
    for step in reversed(range(len(lived))):
        returns[step] = following = lived[step] * (1 + discount * following)
    return np.array(states)[lived], np.array(actions)[lived], returns[lived], float(lived.sum() / count)


def run(params: Params, seed: int) -> Curve:
    """An epoch is 8 episodes; its metric is their mean length, as reinforcement learning reports it."""
    rng = np.random.default_rng(seed)
    policy, usual = Policy(params["width"], rng), 0.0
    for _ in range(EPOCHS):
        lengths = []
        for _ in range(EPISODES // params["episodes"]):
            states, actions, returns, length = episodes(policy, params["episodes"], params["discount"], rng)
            lengths.append(length)
            if params["baseline"] == "moving":
                usual += params["baseline_rate"] * (returns.mean() - usual)
                gains = returns - usual
            elif params["baseline"] == "normalised":
                gains = (returns - returns.mean()) / (returns.std() + 1e-8)
            else:
                gains = returns
            old, _ = policy.probability(states)
            for _ in range(params.get("passes", 1)):
                p, hidden = policy.probability(states)
                score = (actions - p) * gains
                if params["algorithm"] == "ppo":
                    ratio = np.where(actions > 0, p / old, (1 - p) / (1 - old))
                    kept = np.where(gains > 0, ratio < 1 + params["clip"], ratio > 1 - params["clip"])
                    score = score * ratio * kept
                entropy = -np.log(p / (1 - p)) * p * (1 - p)
                policy.ascend(states, hidden, (score + params["entropy"] * entropy) / len(states), params)
        yield (float(np.mean(lengths)),)


TRAINING = Training(
    data="simulated: a pole on a cart, episodes of at most 200 steps",
    model="policy gradient (REINFORCE or PPO) with a network of one hidden layer",
    space={
        "algorithm": {
            "choices": {
                "reinforce": {},
                "ppo": {"clip": {"low": 0.05, "high": 0.4}, "passes": {"choices": [2, 5, 10]}},
            }
        },
        "learning_rate": {"low": 1e-3, "high": 3.0, "log": True},
        "optimizer": {"choices": {"sgd": {}, "rmsprop": {"decay": {"low": 0.8, "high": 0.999}}}},
        "baseline": {
            "choices": {
                "none": {},
                "normalised": {},
                "moving": {"baseline_rate": {"low": 0.01, "high": 1.0, "log": True}},
            }
        },
        "discount": {"low": 0.8, "high": 1.0},
        "entropy": {"low": 1e-3, "high": 1.0, "log": True},
        "episodes": {"choices": [2, 4, 8]},
        "width": {"low": 4, "high": 32, "log": True},
    },
    epochs=EPOCHS,
    metric="mean_episode_length",
    direction="maximize",
    configurations=320,
    run=run,
    # As if half of the steps were lived.
    work=lambda p: Work(EPISODES / p["episodes"] * (50 + p.get("passes", 1)), EPISODES * 50 * p["width"] * 20),
)
