"""Course of a confirmation: the races, the winner of each, and what is to be trained next.

It follows from the results alone, so that a driver that was killed goes on as it would have.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from hpo.analysis.statistics.racing import Standing, race
from hpo.analysis.summary_statistics import mean
from hpo.spec.racing import CHOOSE, ESTIMATE, Race, Training

REFERENCE = 0


@dataclass(frozen=True)
class Results:
    """Costs of a confirmation by configuration and index of the seed; NaN of a training that failed."""

    choosing: dict[int, dict[int, float]] = field(default_factory=dict)
    estimating: dict[int, dict[int, float]] = field(default_factory=dict)

    def add(self, training: Training, cost: float) -> None:
        """Add the result of a training, which replaces an earlier one."""
        costs = self.choosing if training.part == CHOOSE else self.estimating
        costs.setdefault(training.configuration, {})[training.index] = cost


@dataclass(frozen=True)
class Course:
    """State of a confirmation.

    Attributes:
        due: what must be trained next; empty at its end.
        standings: of each heat, with indices within the heat.
        winners: the best of each heat; None while it is open, or if all of it failed.
        winner: the best of the winners; None while one is open.
    """

    due: tuple[Training, ...]
    standings: tuple[Standing, ...]
    winners: tuple[int | None, ...]
    winner: int | None


def course(plan: Race, results: Results) -> Course:
    """Return how a confirmation stands."""
    if len(plan.trials) == 1:
        standings = [Standing((), (0,), (), (), 0)]
    else:
        standings = [race([results.choosing.get(i, {}) for i in heat], plan.seeds) for heat in plan.heats]
    due = [
        Training(heat[i], CHOOSE, seed) for heat, one in zip(plan.heats, standings, strict=True) for i, seed in one.due
    ]
    pairs = list(zip(plan.heats, standings, strict=True))
    winners = tuple(None if one.winner is None else heat[one.winner] for heat, one in pairs)
    winner = None
    if not due:
        winner = _best(results, [one for one in winners if one is not None])
        again = dict.fromkeys([*([] if winner is None else [winner]), *(one for one in winners if one is not None)])
        if any(REFERENCE in [heat[i] for i in one.left] for heat, one in pairs):
            again.setdefault(REFERENCE)
        due = [
            Training(i, ESTIMATE, seed)
            for seed in range(plan.seeds)
            for i in again
            if seed not in results.estimating.get(i, {})
        ]
    return Course(tuple(due), tuple(standings), winners, winner)


def _best(results: Results, winners: list[int]) -> int | None:
    """Return the winner with the lowest mean over the seeds that chose all of them; of equals the first."""
    if len(winners) < 2:
        return winners[0] if winners else None
    costs = {i: results.choosing[i] for i in winners}
    shared = [seed for seed in costs[winners[0]] if all(_finite(costs[i].get(seed)) for i in winners)]
    return min(winners, key=lambda i: mean([costs[i][seed] for seed in shared]) if shared else 0.0)


def _finite(cost: float | None) -> bool:
    return cost is not None and math.isfinite(cost)
