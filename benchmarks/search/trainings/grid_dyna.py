"""A slippery maze with a wall that changes: tabular Q-learning that plans with a model of what it saw."""

from __future__ import annotations

import heapq
import random

from benchmarks.search.trainings.training import Curve, Params, Training, Work

EPOCHS, DECISIONS, LIMIT, WIDTH, HEIGHT, SLIP, CHANGE = 25, 80, 50, 10, 7, 0.1, 9
GOAL, MOVES = (WIDTH - 1, 3), ((0, 1), (0, -1), (1, 0), (-1, 0))
Place = tuple[int, int]
Pair = tuple[Place, int]  # a place and an action


def free_places(epoch: int) -> list[Place]:
    """Return where no wall is: two are across the grid, with a gap of two each, and the first gap moves once."""
    gaps = {3: 5 if epoch >= CHANGE else 1, 6: 4}
    return [(x, y) for x in range(WIDTH) for y in range(HEIGHT) if x not in gaps or y - gaps[x] in (0, 1)]


class Dyna:
    """Dyna-Q+ (Sutton 1990), with a planner that takes pairs at random or by priority (Moore and Atkeson 1993)."""

    def __init__(self, params: Params, rng: random.Random) -> None:
        self.params, self.rng = params, rng
        self.values = {(x, y): [float(params["first_value"])] * 4 for x in range(WIDTH) for y in range(HEIGHT)}
        self.seen: dict[Pair, tuple[dict[Place, float], int]] = {}  # the chances of what follows, and when it last did
        self.before: dict[Place, set[Pair]] = {}
        self.history: list[Pair] = []
        self.queue: list[tuple[float, Pair]] = []

    def move(self, place: Place, explore: float, free: list[Place]) -> tuple[int, Place]:
        """Return an action, the best one or any, and the next place."""
        best = [each for each, value in enumerate(self.values[place]) if value == max(self.values[place])]
        action = self.rng.choice(range(4) if self.rng.random() < explore else best)
        across, up = MOVES[self.rng.randrange(4) if self.rng.random() < SLIP else action]
        to = place[0] + across, place[1] + up
        return action, to if to in free else place

    def learn(self, pair: Pair, rate: float, to: Place | None = None) -> None:
        """Learn from a move to a place, or else from the model; with a rate of 0, only give the pair its priority."""
        chances, when = self.seen[pair] if to is None else ({to: 1.0}, len(self.history))
        mean, values = self.params["bonus"] * (len(self.history) - when) ** 0.5 - 0.02, self.values[pair[0]]
        for each, chance in chances.items():
            mean += chance * (1.0 if each == GOAL else self.params["discount"] * max(self.values[each]))
        error = mean - values[pair[1]]
        values[pair[1]] += rate * error
        if rate == 0 and abs(error) > self.params.get("threshold", float("inf")):
            heapq.heappush(self.queue, (-abs(error), pair))

    def observe(self, pair: Pair, to: Place) -> None:
        """Learn from a move, keep it in the model, where what is older counts less, and plan."""
        self.learn(pair, self.params["step_size"], to)
        keep = 1 - self.params["forgetting"] if pair in self.seen else 0.0
        chances = {each: keep * chance for each, chance in self.seen.get(pair, ({}, 0))[0].items()}
        self.history.append(pair)
        self.seen[pair] = chances | {to: chances.get(to, 0.0) + 1 - keep}, len(self.history)
        self.before.setdefault(to, set()).add(pair)
        self.learn(pair, 0.0)
        for _ in range(self.params["planned"]):
            if self.queue:
                pair = heapq.heappop(self.queue)[1]
                self.learn(pair, self.params["planned_size"])
                for each in sorted(self.before.get(pair[0], ())):
                    self.learn(each, 0.0)
            elif "recent" in self.params:
                recent = self.rng.random() < self.params["recent"]
                self.learn(self.rng.choice(self.history[-30:] if recent else [*self.seen]), self.params["planned_size"])


def run(params: Params, seed: int) -> Curve:
    """Each move costs 0.02, the goal gives 1, and an epoch is 80 moves; the metric is of an episode from each place."""
    learner, place, age = Dyna(params, random.Random(seed)), (0, 0), 0
    for epoch in range(EPOCHS):
        free, total = free_places(epoch), 0.0
        for _ in range(DECISIONS):
            action, to = learner.move(place, params["explore"], free)
            learner.observe((place, action), to)
            place, age = (learner.rng.choice(free), 0) if to == GOAL or age >= LIMIT else (to, age + 1)
        for tested in free:
            moves = 0
            while tested != GOAL and moves < LIMIT:
                tested, moves = learner.move(tested, 0.0, free)[1], moves + 1
            total += (tested == GOAL) - 0.02 * moves
        yield (total / len(free),)


THRESHOLD = {"low": 1e-4, "high": 0.3, "log": True}
TRAINING = Training(
    data="simulated: a slippery grid of 10x7 with a wall that changes, episodes of at most 50 moves",
    model="Dyna-Q with random or prioritised planning",
    space={
        "planner": {"choices": {"random": {"recent": {"low": 0.0, "high": 1.0}}, "priority": {"threshold": THRESHOLD}}},
        "planned": {"low": 1, "high": 30, "log": True},
        "planned_size": {"low": 0.01, "high": 1.0, "log": True},
        "step_size": {"low": 0.01, "high": 1.0, "log": True},
        "forgetting": {"low": 0.01, "high": 1.0, "log": True},
        "bonus": {"low": 1e-5, "high": 0.1, "log": True},
        "discount": {"low": 0.85, "high": 1.0},
        "explore": {"low": 0.003, "high": 0.8, "log": True},
        "first_value": {"low": -1.0, "high": 1.0},
    },
    epochs=EPOCHS,
    metric="greedy_return",
    direction="maximize",
    configurations=320,
    run=run,
    work=lambda p: Work(0.2 * DECISIONS, DECISIONS * (p["planned"] + 1) * 10),
)
