"""A windy maze along a cliff, by Q-learning: nothing for long, and exploring costs what it earns."""

from __future__ import annotations

import random

from benchmarks.search.trainings.training import Curve, Params, Training, Work

EPOCHS, EPISODES, LIMIT, WIDTH, HEIGHT, WIND = 30, 6, 80, 7, 5, 0.15
MOVES = ((0, 1), (0, -1), (1, 0), (-1, 0))
START, GOAL = (0, 0), (WIDTH - 1, 0)


def move(place: tuple[int, int], action: int, rng: random.Random) -> tuple[tuple[int, int], float]:
    """Return the next place and the reward: -0.02 a step, -1 for a fall (back to the start), +1 at the goal.

    The wind blows towards the cliff, which lies between start and goal.
    """
    across, up = MOVES[action]
    if rng.random() < WIND:
        across, up = 0, -1
    x, y = min(max(place[0] + across, 0), WIDTH - 1), min(max(place[1] + up, 0), HEIGHT - 1)
    if y == 0 and 0 < x < WIDTH - 1:
        return START, -1.0
    return (x, y), 1.0 if (x, y) == GOAL else -0.02


def episode(
    q: dict[tuple[int, int], list[float]], params: Params, explore: float, rate: float, rng: random.Random
) -> float:
    """Return the sum of rewards; learns unless the rate is 0."""
    place, total, trace = START, 0.0, []

    def choose(where: tuple[int, int]) -> int:
        values = q[where]
        return rng.randrange(4) if rng.random() < explore else values.index(max(values))

    action = choose(place)
    for _ in range(LIMIT):
        following, reward = move(place, action, rng)
        total += reward
        next_action = choose(following)
        if rate:
            after = q[following]
            future = after[next_action] if params["rule"] == "sarsa" else max(after)
            target = reward + (0.0 if following == GOAL else params["discount"] * future)
            error, weight = target - q[place][action], 1.0
            trace = [(place, action), *trace[:9]]
            for where, what in trace:
                q[where][what] += rate * weight * error
                weight *= params["discount"] * params["trace"]
                if weight < 0.01:
                    break
        if following == GOAL:
            break
        place, action = following, next_action
    return total


def run(params: Params, seed: int) -> Curve:
    """An epoch is 6 episodes. Metric: the mean of 10 greedy episodes. Second metric: what was earned while learning."""
    rng = random.Random(seed)
    q = {(x, y): [params["first_value"]] * 4 for x in range(WIDTH) for y in range(HEIGHT)}
    for epoch in range(EPOCHS):
        explore, rate = params.get("explore", 0.0), params["learning_rate"]
        if params["exploration"] == "decaying":
            explore *= params["explore_decay"] ** epoch
        rate /= 1 + params["rate_decay"] * epoch
        earned = [episode(q, params, explore, rate, rng) for _ in range(EPISODES)]
        greedy = [episode(q, params, 0.0, 0.0, rng) for _ in range(10)]
        if not all(abs(value) < 1e6 for values in q.values() for value in values):
            return
        yield sum(greedy) / len(greedy), sum(earned) / len(earned)


EXPLORE = {"low": 0.01, "high": 0.8, "log": True}
TRAINING = Training(
    data="simulated: a windy grid of 7x5 with a cliff, episodes of at most 80 steps",
    model="tabular Q-learning or SARSA with traces",
    space={
        "rule": {"choices": ["q_learning", "sarsa"]},
        "learning_rate": {"low": 0.01, "high": 1.0, "log": True},
        "rate_decay": {"low": 0.001, "high": 1.0, "log": True},
        "discount": {"low": 0.7, "high": 1.0},
        "trace": {"low": 0.0, "high": 0.95},
        "exploration": {
            "choices": {
                "greedy": {},
                "constant": {"explore": EXPLORE},
                "decaying": {"explore": EXPLORE, "explore_decay": {"low": 0.5, "high": 0.99}},
            }
        },
        "first_value": {"low": -1.0, "high": 1.0},
    },
    epochs=EPOCHS,
    metric="greedy_return",
    direction="maximize",
    second_metric="learning_return",
    second_direction="maximize",
    run=run,
    work=lambda params: Work(EPISODES * 40 * 0.1, EPISODES * 40 * 10),
)
