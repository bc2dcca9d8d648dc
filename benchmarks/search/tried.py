"""What was tried in place of a part of the default, and did not win on the development families: RESULTS.md.

    python benchmarks/search/run.py DATA --out rows.jsonl --only 'default,predicted ends,relevance' --seeds 10

Each is a policy of `run.py`; a portfolio is the default with configurations to begin from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import product
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from problems import Problem
from recorded import FAMILIES

from hpo.search.halving import HalvingPruner
from hpo.search.kernel_sampler import KernelSampler
from hpo.search.promotion import Promotion
from hpo.search.ranking import Part
from hpo.space.encoding import UnitCubeEncoder
from hpo.space.search_space import SearchSpace
from hpo.warm_start.candidates import Candidate, fit
from hpo.warm_start.trust import GUARD, WarmStart

Array = NDArray[np.float64]
# Trials whose values at two rungs are taken to agree, before any do.
PRIOR = 3.0
# Parts that a parameter's range is cut into, and the relevance of a parameter that says nothing.
BINS, LEAST = 4, 0.1
# Configurations of a portfolio, and the best of each task that it is made of.
PORTFOLIO, OF_EACH = 8, 3
# Parameters that a portfolio knows: those that say the same in other spaces.
KNOWN = {
    *("learning_rate", "optimizer", "momentum", "beta1", "beta2", "epsilon", "schedule", "drop_at", "drop_factor"),
    *("warmup", "weight_decay", "l1", "l2", "dropout", "batch_size", "loss", "gamma", "alpha", "positive_weight"),
    *("bins", "clip", "max_norm", "layers", "num_layers"),
}


class PredictedEnds(KernelSampler):
    """Sampler that ranks trials by what they would have reached at the last rung, not by what they reached.

    From one rung to the next a line is fitted, through the trials that came to both: selection by the earlier value
    leaves its slope as it is. Where that value says nothing the slope is 0, and trials that ended there are alike.
    """

    def _most_promising(self, candidates: list[dict[str, Any]], known: Part) -> int:
        costs = [self._reached(int(number)) for number in known.numbers]
        last = max((len(one) for one in costs), default=1)
        rungs = [1]
        while 4 * rungs[-1] < last:
            rungs.append(4 * rungs[-1])
        best = np.full((len(costs), len(rungs) + 1), np.nan)
        for row, one in zip(best, costs, strict=True):
            for column, rung in enumerate([*rungs, last]):
                if len(one) >= rung:
                    row[column] = one[:rung].min()
        # Of the worst no matter how bad: a value that diverges would decide the line.
        best = np.minimum(best, np.nanquantile(best[:, 0], 0.75))
        order = np.lexsort((known.ranks, _predicted(best)))
        ranks = np.empty(len(order))
        ranks[order] = np.arange(len(order)) / len(order)
        return super()._most_promising(candidates, Part(known.numbers, ranks, known.weights, known.best))

    def _reached(self, number: int) -> Array:
        """What a trial reported, lower is better."""
        return np.array([value for _, value in sorted(self._trials[number].intermediate_values.items())])


def _predicted(best: Array) -> Array:
    """Return what each trial would have reached at the last column, whose row ends with NaN where it ended."""
    reached = np.isfinite(best).sum(axis=1)
    found = np.where(reached > 0, best[np.arange(len(best)), np.maximum(reached, 1) - 1], np.inf)
    for column in range(best.shape[1] - 1):
        both, ended = reached > column + 1, (reached > 0) & (reached <= column + 1)
        if not both.any():
            continue
        before, after = best[both, column], best[both, column + 1]
        apart, prior = before - before.mean(), PRIOR * np.nanvar(best[:, column]) + 1e-12
        slope = np.clip((apart @ (after - after.mean()) + prior) / (apart @ apart + prior), 0.02, 1.0)
        found[ended] = after.mean() + slope * (found[ended] - before.mean())
    return found


class _Weighted(UnitCubeEncoder):
    """Encoder whose distances weight each column."""

    relevance: Array

    def squared_distances(self, points: Array, others: Array) -> Array:
        apart = points[:, None] - others[None]
        apart[..., self._categorical] = apart[..., self._categorical] != 0
        neither = np.isnan(points)[:, None] & np.isnan(others)[None]
        squares: Array = np.where(neither, 0.0, np.nan_to_num(apart**2, nan=1.0)) @ self.relevance
        return squares


class Relevance(KernelSampler):
    """Sampler whose distances count a parameter by how much of the ranks' variance it explains by itself."""

    def __init__(self, space: SearchSpace, seed: int) -> None:
        super().__init__(space, seed=seed)
        self._weighted = self._cube = _Weighted(space)

    def _most_promising(self, candidates: list[dict[str, Any]], known: Part) -> int:
        columns, ranks = self._points[known.numbers].T, np.sqrt(known.ranks)
        weights = np.array([_explained(column, ranks) for column in columns]) + LEAST
        self._weighted.relevance = np.clip(weights / weights.mean(), LEAST, 1 / LEAST)
        return super()._most_promising(candidates, known)


def _explained(column: Array, ranks: Array) -> float:
    """Return the part of the variance between groups of a column (omega squared, 0 at least)."""
    groups = np.unique(np.where(np.isnan(column), -1.0, np.floor(column * BINS)), return_inverse=True)[1]
    counts = np.bincount(groups)
    total = float(((ranks - ranks.mean()) ** 2).sum())
    if len(counts) < 2 or len(counts) == len(ranks) or total == 0.0:
        return 0.0
    between = float((counts * (np.bincount(groups, ranks) / counts - ranks.mean()) ** 2).sum())
    chance = (len(counts) - 1) * (total - between) / (len(ranks) - len(counts))
    return max(0.0, (between - chance) / total)


class _BestSoFar(Promotion):
    """Promotion that compares the best value up to a rung, in place of the value at it."""

    def __init__(self, first: int, factor: int, most: int) -> None:
        super().__init__(first, factor, most)
        self._best: dict[int, float] = {}

    def reported(self, number: int, group: Any, step: int, cost: float) -> None:
        self._best[number] = min(cost, self._best.get(number, cost))
        super().reported(number, group, step, self._best[number])


class BestSoFarHalving(HalvingPruner):
    """The default's pruner with that promotion."""

    def promotion(self, most: int) -> Promotion | None:
        return _BestSoFar(1, 4, most)


# --- portfolios


def portfolio(problem: Problem, seed: int, others: Iterable[Problem]) -> WarmStart:
    """Return a warm start from the best of the tasks of other families, in turn, in an order by the seed."""
    kind = problem.family.partition(" ")[0]
    # The tasks of these share a space, so that their best would be history; each table has its own.
    others = [one for one in others if one.family.partition(" ")[0] != kind or kind not in FAMILIES]
    others = [one for one in others if one.name != problem.name]
    candidates: dict[str, Candidate] = {}
    for rank, index in product(range(OF_EACH), np.random.default_rng(seed).permutation(len(others))):
        other = others[index]
        values = np.where(
            np.isfinite(other.means).all(axis=1), np.nan_to_num(other.means, nan=np.inf).min(axis=1), np.inf
        )
        number = int(np.argsort(values)[rank])
        params = {key.rpartition(".")[2]: value for key, value in other.configurations[number].items()}
        fitted = _fitted(problem.space, {key: value for key, value in params.items() if key in KNOWN})
        if fitted:
            candidates.setdefault(str(fitted), Candidate(fitted, other.name, number, 0.0))
    return WarmStart([*candidates.values()][:PORTFOLIO], GUARD, maximize=False)


def _fitted(space: SearchSpace, params: dict[str, Any]) -> dict[str, Any]:
    """Fit what can be fitted; a choice that is not there is left to the sampler."""
    while params:
        try:
            return fit(space, params)[0]
        except ValueError as error:
            gone = str(error).partition(" = ")[0]
            if gone not in params:
                return {}
            params = {key: value for key, value in params.items() if key != gone}
    return {}


_Policy = tuple[optuna.samplers.BaseSampler, optuna.pruners.BasePruner]
POLICIES: dict[str, Callable[[Problem, int], _Policy]] = {
    "default again": lambda problem, seed: (KernelSampler(problem.space, seed=seed), HalvingPruner()),
    "predicted ends": lambda problem, seed: (PredictedEnds(problem.space, seed=seed), HalvingPruner()),
    "relevance": lambda problem, seed: (Relevance(problem.space, seed=seed), HalvingPruner()),
    "best so far": lambda problem, seed: (KernelSampler(problem.space, seed=seed), BestSoFarHalving()),
    "portfolio": lambda problem, seed: (KernelSampler(problem.space, seed=seed), HalvingPruner()),
}
