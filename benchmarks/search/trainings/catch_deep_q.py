"""Balls to catch and stones to let fall, by deep Q-learning: what is caught decides what is learnt from."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.search.trainings.networks import mlp, mlp_operations, optimizer_of, step
from benchmarks.search.trainings.training import Curve, Params, Training, Work

EPOCHS, STEPS, GAMES, COLUMNS, ROWS = 30, 18, 12, 7, 5
BALLS, STONES, SLIP, SHOWN_GAMES, SHOWN_STEPS = 0.25, 0.2, 0.1, 50, 20


class Games:
    """Several at once, which never end. field: 1 for a ball, -1 for a stone, and the basket in a row of its own."""

    def __init__(self, count: int, seed: int) -> None:
        self.rng, self.rows = np.random.default_rng(seed), np.arange(count)
        self.field = np.zeros((count, ROWS + 1, COLUMNS), np.float32)
        self.basket = self.rng.integers(COLUMNS, size=count)
        self.field[self.rows, -1, self.basket] = 1

    def play(self, model: nn.Module, explore: float) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Move the baskets to the left (0), not at all, or to the right (2); return this and what falls into them."""
        explores, drawn, slips, kinds, places = self.rng.random((5, len(self.rows)))
        with torch.no_grad():
            best = model(torch.from_numpy(self.field)).argmax(1).numpy()
        actions = np.where(explores < explore, (3 * drawn).astype(int), best)
        self.basket = np.clip(self.basket + np.where(slips < SLIP, 0, actions - 1), 0, COLUMNS - 1)
        caught = self.field[self.rows, ROWS - 1, self.basket]
        following = np.zeros_like(self.field)
        following[:, 1:ROWS] = self.field[:, : ROWS - 1]
        following[self.rows, 0, (places * COLUMNS).astype(int)] = (kinds < BALLS) * 1.0 - (kinds > 1 - STONES)
        following[self.rows, ROWS, self.basket] = 1
        self.field = following
        return actions, caught


def loss_of(params: Params, model: nn.Module, target: nn.Module, sample: tuple[Tensor, ...]) -> Tensor:
    """Mnih et al. 2015. double: van Hasselt et al. 2016."""
    seen, actions, rewards, after = sample
    with torch.no_grad():
        values = target(after)
        best = (model(after) if params["double"] else values).argmax(1, keepdim=True)
        goals = rewards + params["discount"] * values.gather(1, best)[:, 0]
    found = model(seen).gather(1, actions[:, None])[:, 0]
    return (nn.functional.huber_loss if params["loss"] == "huber" else nn.functional.mse_loss)(found, goals)


def run(params: Params, seed: int) -> Curve:
    """An epoch is 18 steps of 12 games, with an update each; the metric is the mean return of 50 greedy games."""
    torch.manual_seed(seed)
    games = Games(GAMES, seed)
    model, target = (nn.Sequential(nn.Flatten(), mlp(widths(params))) for _ in range(2))
    target.load_state_dict(model.state_dict())
    optimizer, done, size = optimizer_of(model, params), 0, params["memory"]
    # What was seen, done and got, and what was seen then.
    field = torch.zeros(size * GAMES, ROWS + 1, COLUMNS)
    memory = field, torch.zeros(size * GAMES, dtype=torch.long), torch.zeros(size * GAMES), field.clone()
    for _ in range(EPOCHS):
        for _ in range(STEPS):
            explore = float(np.interp(done, [0, params["explore_share"] * EPOCHS * STEPS], [1, params["explore"]]))
            seen, place = games.field, done % size * GAMES
            actions, caught = games.play(model, explore)
            for kept, new in zip(memory, (seen, actions, caught, games.field), strict=True):
                kept[place : place + GAMES] = torch.from_numpy(new)
            done += 1
            rows = torch.randint(min(done, size) * GAMES, (params["batch_size"],))
            step(optimizer, loss_of(params, model, target, tuple(kept[rows] for kept in memory)))
            if done % params.get("target_steps", 1) == 0:
                for old, found in zip(target.parameters(), model.parameters(), strict=True):
                    old.data.lerp_(found.data, params.get("target_rate", 1.0))
        if not all(each.isfinite().all() for each in model.parameters()):
            return
        shown = Games(SHOWN_GAMES, 31)
        yield (float(sum(shown.play(model, 0.0)[1].sum() for _ in range(SHOWN_STEPS)) / SHOWN_GAMES),)


def widths(params: Params) -> tuple[int, ...]:
    return (ROWS + 1) * COLUMNS, *[params["width"]] * params["layers"], 3


COPIED, SOFT = {"low": 1, "high": 300, "log": True}, {"low": 1e-3, "high": 1.0, "log": True}
TRAINING = Training(
    data="simulated: balls and stones that fall on a field of 7x5, greedy games of 20 steps",
    model="deep Q-learning with a network of 1 or 2 hidden layers",
    space={
        "learning_rate": {"low": 3e-5, "high": 0.1, "log": True},
        "discount": {"low": 0.5, "high": 1.0},
        "target": {"choices": {"copied": {"target_steps": COPIED}, "soft": {"target_rate": SOFT}}},
        "double": {"choices": [True, False]},
        "loss": {"choices": ["squared", "huber"]},
        "explore": {"low": 0.01, "high": 0.5, "log": True},
        "explore_share": {"low": 0.05, "high": 1.0},
        "memory": {"low": 5, "high": 500, "log": True},
        "batch_size": {"choices": [16, 32, 64]},
        "layers": {"choices": [1, 2]},
        "width": {"low": 8, "high": 128, "log": True},
    },
    epochs=EPOCHS,
    metric="greedy_return",
    direction="maximize",
    configurations=320,
    run=run,
    work=lambda p: Work(STEPS, STEPS * ((4 + p["double"]) * p["batch_size"] + GAMES) * mlp_operations(widths(p))),
)
