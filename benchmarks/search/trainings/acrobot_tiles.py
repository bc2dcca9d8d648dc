"""An acrobot that swings itself up, by temporal differences on overlapping tiles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.search.trainings.training import Curve, Params, Training, Work

Array = NDArray[np.float64]
EPOCHS, EPISODES, DECISIONS, LIMIT, SUBSTEPS, DT, TORQUE, MEMORY = 25, 24, 50, 60, 2, 0.1, 2.3, 8


def first_states(rng: np.random.Generator) -> Array:
    """Return two angles and their speeds, shape (4, episodes)."""
    return np.concatenate([rng.uniform(-0.6, 0.6, (2, EPISODES)), np.zeros((2, EPISODES))])


def swing(state: Array, action: NDArray[np.int64]) -> Array:
    """Return the states 0.2 s later; the constants are those of Sutton (1996), but for the torque."""
    first, second, first_speed, second_speed = state
    for _ in range(SUBSTEPS):
        cosine, sine = np.cos(second), np.sin(second)
        inertia, ratio = 3.5 + cosine, (1.25 + 0.5 * cosine) / (3.5 + cosine)
        outer = 4.9 * np.sin(first + second)
        inner = outer + 14.7 * np.sin(first) - (0.5 * second_speed + first_speed) * second_speed * sine
        bend = (TORQUE * (action - 1) + ratio * inner - 0.5 * first_speed**2 * sine - outer) / (
            1.25 - ratio**2 * inertia
        )
        first_speed = np.clip(first_speed - DT * (ratio * bend + inner / inertia), -4 * np.pi, 4 * np.pi)
        second_speed = np.clip(second_speed + DT * bend, -9 * np.pi, 9 * np.pi)
        first, second = first + DT * first_speed, second + DT * second_speed
    return np.array([first, second, first_speed, second_speed])


def height_of(state: Array) -> Array:
    """Return how far the tip is above the axis, from -2 to 2."""
    return np.asarray(-np.cos(state[0]) - np.cos(state[0] + state[1]))


def tiles_of(state: Array, params: Params) -> NDArray[np.int64]:
    """Return the tile of each state in each of the shifted grids, shape (tilings, episodes); angles go round."""
    tilings, count = np.arange(params["tilings"])[:, None], params["tiles"]
    shifts = tilings[..., None] * np.array([1, 3, 5, 7]) / len(tilings) % 1
    cells = np.floor(state.T * count / np.array([2 * np.pi, 2 * np.pi, 6, 10]) + shifts).astype(np.int64)
    cells[..., 2:] = np.clip(cells[..., 2:] + count // 2, 0, count - 1)
    return np.asarray(tilings * count**4 + cells % count @ count ** np.arange(4))


def run(params: Params, seed: int) -> Curve:
    """Each decision costs 1 until the tip is as high as the axis; an epoch is 50 of 24 episodes at once.

    Traces end after 8 decisions (Sutton and Barto 1998). lift: a reward for height by a potential (Ng et al. 1999).
    """
    rng, discount, lift = np.random.default_rng(seed), params["discount"], params.get("lift", 0.0)
    weights = np.full((params["tilings"] * params["tiles"] ** 4, 3), params["first_value"] / params["tilings"])
    fading = params["step_size"] / params["tilings"] * (discount * params["trace"]) ** np.arange(MEMORY)
    visited, kept = np.zeros((MEMORY, params["tilings"], EPISODES), np.int64), np.zeros((MEMORY, 1, EPISODES))
    state, ages, action = first_states(rng), np.zeros(EPISODES), np.ones(EPISODES, np.int64)
    for epoch in range(EPOCHS):
        explore = params.get("explore", 0.0) * params.get("explore_decay", 1.0) ** epoch
        for _ in range(DECISIONS):
            tiles, height_before = tiles_of(state, params), height_of(state)
            before = weights[tiles].sum(0)[np.arange(EPISODES), action]
            visited, kept, ages = np.roll(visited, 1, 0), np.roll(kept, 1, 0), ages + 1
            visited[0], kept[0] = 3 * tiles + action, 1.0
            state = swing(state, action)
            height, values = height_of(state), weights[tiles_of(state, params)].sum(0)
            action = np.where(rng.random(EPISODES) < explore, rng.integers(3, size=EPISODES), values.argmax(1))
            after = values.max(1) if params["rule"] == "q_learning" else values[np.arange(EPISODES), action]
            if params["rule"] == "expected_sarsa":
                after = explore * values.mean(1) + (1 - explore) * values.max(1)
            gained = lift * (discount * height - height_before) - 1
            error = gained + np.where(height < 0, discount * after, 0.0) - before
            np.add.at(weights.reshape(-1), visited, error * kept * fading[:, None, None])
            over = (height >= 0) | (ages >= LIMIT)
            state, ages, kept = np.where(over, first_states(rng), state), ages * ~over, kept * ~over
        if not abs(weights).max() < 1e6:
            return
        tested, running, total = first_states(np.random.default_rng(51)), np.ones(EPISODES, bool), 0.0
        for _ in range(LIMIT):
            total += running.mean()
            tested = swing(tested, weights[tiles_of(tested, params)].sum(0).argmax(1))
            running &= height_of(tested) < 0
        yield (-total,)


EXPLORE, DECAY = {"low": 0.003, "high": 0.8, "log": True}, {"low": 0.5, "high": 1.0}
TRAINING = Training(
    data="simulated: an acrobot, episodes of at most 60 decisions of 0.2 s",
    model="linear SARSA, expected SARSA or Q-learning with traces, on tiles",
    space={
        "rule": {"choices": ["sarsa", "expected_sarsa", "q_learning"]},
        "tilings": {"low": 1, "high": 12, "log": True},
        "tiles": {"low": 2, "high": 9},
        "step_size": {"low": 3e-3, "high": 1.5, "log": True},
        "trace": {"low": 0.0, "high": 1.0},
        "discount": {"low": 0.8, "high": 1.0},
        "first_value": {"low": -20.0, "high": 10.0},
        "exploration": {"choices": {"greedy": {}, "random": {"explore": EXPLORE, "explore_decay": DECAY}}},
        "reward": {"choices": {"time": {}, "shaped": {"lift": {"low": 0.1, "high": 30.0, "log": True}}}},
    },
    epochs=EPOCHS,
    metric="greedy_return",
    direction="maximize",
    configurations=320,
    run=run,
    work=lambda p: Work(DECISIONS, EPISODES * (DECISIONS * (MEMORY + 6) + LIMIT * 3) * p["tilings"]),
)
