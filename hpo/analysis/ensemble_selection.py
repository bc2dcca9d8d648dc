"""Greedy selection of an ensemble from models that are trained already.

Source: Caruana, Niculescu-Mizil, Crew, Ksikes, "Ensemble selection from libraries of models", ICML 2004, sections 2 and
2.1 (selection with replacement).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import gcd

ROUNDS = 25  # so that weights are as fine as 4 %

Counts = tuple[int, ...]


@dataclass(frozen=True)
class Selected:
    """An ensemble.

    Attributes:
        counts: How often each model was taken; its weight is this over the sum.
        value: The value of the ensemble.
        path: The model that was taken in each round, and the value with it; further than the ensemble, if it became
            worse.
    """

    counts: Counts
    value: float
    path: tuple[tuple[int, float], ...]


def select(
    models: int, value: Callable[[Counts], float], maximize: bool, replacement: bool = True, rounds: int = ROUNDS
) -> Selected:
    """Return the best ensemble on the path of a greedy selection.

    Each round takes the model with which the ensemble is best; of equal ones the first, so list the better ones first.
    Of equally good ensembles on the path the smallest is returned.

    Args:
        models: How many there are.
        value: Returns the value of an average in which each model counts so often; NaN if it has none. It is asked once
            for each mixture.
        maximize: True if a larger value is better.
        replacement: True if a model may be taken several times.
        rounds: The most rounds.

    Raises:
        ValueError: No model has a value.
    """
    sign = 1.0 if maximize else -1.0
    asked = cache(value)

    def gain(counts: Counts) -> float:
        divisor = gcd(*counts)
        found = sign * asked(tuple(count // divisor for count in counts))
        return -math.inf if math.isnan(found) else found

    counts: Counts = (0,) * models
    best, best_gain = counts, -math.inf
    path: list[tuple[int, float]] = []
    for _ in range(rounds):
        open_ones = [model for model in range(models) if replacement or not counts[model]]
        if not open_ones:
            break
        taken = max(open_ones, key=lambda model: gain(_with(counts, model)))  # of equal ones the first
        counts = _with(counts, taken)
        path.append((taken, sign * gain(counts)))
        if gain(counts) > best_gain:
            best, best_gain = counts, gain(counts)
    if best_gain == -math.inf:
        raise ValueError("no model has a value on the validation split")
    divisor = gcd(*best)
    return Selected(tuple(count // divisor for count in best), sign * best_gain, tuple(path))


def _with(counts: Counts, model: int) -> Counts:
    return (*counts[:model], counts[model] + 1, *counts[model + 1 :])
