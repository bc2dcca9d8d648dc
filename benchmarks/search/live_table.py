"""Trainings that run while a search asks for their values, in place of recorded ones."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from problems import Problem
from simulator import Table

from benchmarks.search.trainings.training import Params, Training, training
from hpo.engines.replay import Recording
from hpo.trial import Outcome


class Run:
    """Training that goes on by an epoch when its value is asked for.

    It has torch's random numbers and mode of gradients for itself: its curve is that of its configuration and seed, no
    matter what others train in between.
    """

    def __init__(self, found: Training, params: Params, seed: int) -> None:
        self._epochs = found.run(params, seed)
        self._state, self._gradients = torch.get_rng_state(), True
        self._values: list[float] = []

    def value(self, epoch: int) -> float:
        """Return the metric after an epoch, counted from 0; NaN once the training has diverged."""
        while len(self._values) <= epoch:
            diverged = self._values and math.isnan(self._values[-1])
            self._values.append(math.nan if diverged else self._next())
        return self._values[epoch]

    def close(self) -> None:
        """End the training."""
        self._epochs.close()  # type: ignore[attr-defined]  # a generator
        torch.set_grad_enabled(True)

    def _next(self) -> float:
        outside = torch.get_rng_state()
        torch.set_rng_state(self._state)
        torch.set_grad_enabled(self._gradients)
        with np.errstate(all="ignore"):
            values = np.array(next(self._epochs, (math.nan,)), np.float32)
        self._state, self._gradients = torch.get_rng_state(), torch.is_grad_enabled()
        torch.set_rng_state(outside)
        torch.set_grad_enabled(True)
        return float(values[0]) if np.isfinite(values).all() else math.nan


class LiveTable(Table):
    """Trainings of a problem, each of which begins when a trial has it; in place of the recorded ones.

    Args:
        problem: the recorded one.
        seed: of the search. Trials of one number and seed have the same training seed with every policy.
    """

    def __init__(self, problem: Problem, seed: int) -> None:
        super().__init__(problem)
        self._training, self._seed = training(problem.name), seed
        self._sign = -1.0 if self._training.direction == "maximize" else 1.0
        self._runs: dict[int, Run] = {}
        self._seconds: dict[int, float] = {}

    def __len__(self) -> int:
        return sys.maxsize

    def take(self, number: int, params: Mapping[str, Any]) -> Recording:
        if number not in self._taken:
            own = self.space.resolve(params)
            self._taken[number] = Recording(dict(params), (), Outcome(number, "COMPLETE", {"loss": 0.0}))
            self._runs[number] = Run(self._training, own, 10**6 * (self._seed + 1) + number)
            self._seconds[number] = self._training.work(own).seconds
        return self._taken[number]

    def value(self, number: int, epoch: int) -> float:
        return self._sign * self._runs[number].value(epoch)

    def judged(self, number: int, epoch: int) -> float:
        return self.value(number, epoch)

    def seconds(self, number: int) -> float:
        return self._seconds[number]

    def close(self) -> None:
        """End all trainings: one that ends by itself in the midst of another changes that one's mode of gradients."""
        for run in self._runs.values():
            run.close()
