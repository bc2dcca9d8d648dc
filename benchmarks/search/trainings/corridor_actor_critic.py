"""A slippery corridor whose far end pays more, walked by an actor and a critic: noisy, and some never find that end."""

from __future__ import annotations

import numpy as np

from benchmarks.search.trainings.training import Curve, Params, Training, Work

EPOCHS, EPISODES, STATES, LIMIT, START = 30, 15, 12, 50, 3
NEAR, FAR, SLIP = 0.2, 1.0, 0.15


def run(params: Params, seed: int) -> Curve:
    """Actor-critic with eligibility traces (Sutton and Barto 2018, section 13.5); the metric is a mean return."""
    rng = np.random.default_rng(seed)
    logits, values = np.zeros(STATES), np.zeros(STATES)
    discount, decay = params["discount"], params["discount"] * params.get("trace_decay", 0.0)
    for _ in range(EPOCHS):
        total = 0.0
        for _ in range(EPISODES):
            state, seen, chosen = START, np.zeros(STATES), np.zeros(STATES)
            for _ in range(LIMIT):
                right = 1 / (1 + np.exp(-np.clip(logits[state], -30, 30)))
                action = rng.random() < right
                following = state + (1 if action != (rng.random() < SLIP) else -1)
                ended = following in (-1, STATES)
                reward = (NEAR if following < 0 else FAR) if ended else -0.002
                total += reward
                error = reward + (0 if ended else discount * values[following]) - values[state]
                seen, chosen = seen * decay, chosen * decay
                seen[state] += 1
                chosen[state] += action - right
                entropy = logits[state] * right * (1 - right)
                values += params["critic_rate"] * error * seen
                logits += params["actor_rate"] * error * chosen
                logits[state] -= params["actor_rate"] * params["entropy"] * entropy
                if ended:
                    break
                state = following
        if not np.isfinite([*values, *logits]).all():
            return
        yield (total / EPISODES,)


TRAINING = Training(
    data="simulated: a slippery corridor of 12 cells, episodes of at most 50 steps",
    model="actor and critic, both of tables",
    space={
        "actor_rate": {"low": 0.02, "high": 20.0, "log": True},
        "critic_rate": {"low": 0.005, "high": 1.0, "log": True},
        "discount": {"low": 0.8, "high": 1.0},
        "entropy": {"low": 1e-4, "high": 0.5, "log": True},
        "traces": {"choices": {"none": {}, "eligibility": {"trace_decay": {"low": 0.1, "high": 1.0}}}},
    },
    epochs=EPOCHS,
    metric="mean_return",
    direction="maximize",
    run=run,
    # An episode of half its longest.
    work=lambda params: Work(EPISODES * LIMIT / 2, EPISODES * LIMIT / 2 * 20),
)
