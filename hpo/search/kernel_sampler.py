"""The default sampler: kernel regression over the best values that all trials have reached so far.

Under successive halving most trials end after a few epochs. TPE ranks them by the number of their epochs, so that the
first ones, which had no rivals and ran to their end, count as the good ones. Here a trial counts by the best value that
it has reached, after however many epochs.

Of some candidates the one with the best estimated rank is taken. Half of the candidates are random, and half are
mutations of the best trials. The estimate is the mean of the ranks of all trials, weighted by a Gaussian kernel of the
distance (Nadaraya, "On estimating regression", 1964; Watson, "Smooth regression analysis", 1964). Ranks make it
independent of the scale of the metric and of outliers. It was chosen on recorded trainings: `benchmarks/policies.py`.
In a study with `group_by` a trial is ranked within its group. So the best of each group are parents, and a group that
is worse than another, or learns more slowly, gets as many trials.

A configuration that a trial has, finished or not, is proposed again only when no other is left.
"""

from __future__ import annotations

import math
import random
import warnings
from bisect import insort
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from hpo.space.encoding import Points, UnitCubeEncoder
from hpo.space.search_space import Cell, SearchSpace
from hpo.storage.trial_attributes import configuration_of

# The part of the trials that are parents, and their least number: or as many as there are groups.
PARENTS, FEWEST_PARENTS = 0.05, 4
# The kernel's standard deviation in a cube of d dimensions is this times the root of d, since distances grow with it.
BANDWIDTH = 0.055
# Draws in search of a configuration that no trial has; and the most that are compared where draws find none.
DRAWS, MOST_LEFT = 100, 1000
# Least weight of a trial. A candidate far from all trials gets the mean of all ranks.
FLOOR = 1e-12


class KernelSampler(optuna.samplers.BaseSampler):
    """Sampler by kernel regression; with several objectives, for which Optuna has no intermediate values, TPE.

    A trial that broke a constraint (a red flag, out of memory), or was pruned before it reported anything, ranks last.

    Args:
        space: the search space.
        group_by: the parameter within whose values trials are ranked; None: all trials are ranked together.
        n_startup_trials: number of trials that must have reported before it stops drawing at random.
        random_fraction: part of the later trials that are drawn at random.
        n_candidates: number of candidates that are compared.
        mutation: standard deviation of a candidate from its parent in a numeric parameter, in parts of its range; and
            the probability with which a choice is drawn anew.
        seed: of all its random numbers.

    Raises:
        ValueError: an option is out of its range.
    """

    def __init__(
        self,
        space: SearchSpace | None = None,
        group_by: str | None = None,
        n_startup_trials: int = 16,
        random_fraction: float = 0.2,
        n_candidates: int = 24,
        mutation: float = 0.12,
        seed: int | None = None,
    ) -> None:
        if n_startup_trials < 2:
            raise ValueError(f"n_startup_trials is {n_startup_trials}; expected at least 2")
        if not 0 <= random_fraction <= 1:
            raise ValueError(f"random_fraction is {random_fraction}; expected a number from 0 to 1")
        if n_candidates < 2:
            raise ValueError(f"n_candidates is {n_candidates}; expected at least 2")
        if not 0 < mutation <= 1:
            raise ValueError(f"mutation is {mutation}; expected a number above 0, up to 1")
        self._space = space or SearchSpace(())
        self._cube = UnitCubeEncoder(self._space)
        self._group_by = group_by
        self._startup, self._random_fraction = n_startup_trials, random_fraction
        self._candidates, self._mutation = n_candidates, mutation
        self._rng = random.Random(seed)
        self._independent = optuna.samplers.RandomSampler(seed=seed)
        with warnings.catch_warnings():
            # Optuna warns of an argument that its authors recommend for conditional spaces.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._joint = optuna.samplers.TPESampler(multivariate=True, group=True, constant_liar=True, seed=seed)
        self._size = self._space.grid_size()
        # Of finished trials. An ask reads those only that have finished since the last one.
        self._finished: set[int] = set()
        self._first_open = 0  # all trials before this number are finished
        self._cells: set[Cell | None] = set()
        self._costs: list[tuple[float, int, FrozenTrial]] = []  # ascending
        self._points: dict[int, Points] = {}

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the distributions of all parameters."""
        if len(study.directions) > 1:
            inferred = self._joint.infer_relative_search_space(study, trial)
            return inferred if self._size is None else self._cube.distributions
        return self._cube.distributions

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the parameters of a new trial."""
        fixed = trial.system_attrs.get("fixed_params", {})
        if len(study.directions) > 1:
            proposed = self._joint.sample_relative(study, trial, search_space)
            if self._size is None:
                return proposed
            running = self._take_in(study)
            return self._untried(running, trial, fixed, [self._candidate({**proposed, **fixed})])[0]
        running = self._take_in(study)
        known, ranks, groups = self._known(study, running)
        if len(known) < self._startup or self._rng.random() < self._random_fraction:
            return self._untried(running, trial, fixed, [self._candidate(fixed)])[0]
        parents = known[: max(FEWEST_PARENTS, groups, int(PARENTS * len(known)))]
        half = self._candidates // 2
        candidates = [self._candidate(fixed) for _ in range(self._candidates - half)]
        candidates += [self._candidate(fixed, self._rng.choice(parents).params) for _ in range(half)]
        candidates = self._untried(running, trial, fixed, candidates)
        return candidates[self._most_promising(candidates, known, ranks)]

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return a single parameter; called for none of the search space."""
        sampler = self._joint if len(study.directions) > 1 else self._independent
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def reseed_rng(self) -> None:
        """Take a new seed."""
        self._rng.seed()
        self._independent.reseed_rng()
        self._joint.reseed_rng()

    def _candidate(self, fixed: Mapping[str, Any], parent: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return a configuration with the `fixed` values; the others are mutations of the parent's, or random."""

        def value_of(name: str, draw: Callable[[], Any]) -> Any:
            if name in fixed:
                return fixed[name]
            if parent is None or name not in parent:
                return draw()
            distribution = self._cube.distributions[name]
            if isinstance(distribution, CategoricalDistribution):
                return draw() if self._rng.random() < self._mutation else parent[name]
            at = self._cube.coordinate(name, parent[name]) + self._rng.gauss(0.0, self._mutation)
            return self._cube.value(name, at)

        return self._space.assemble(value_of, self._rng)

    def _untried(
        self,
        running: Sequence[FrozenTrial],
        trial: FrozenTrial,
        fixed: Mapping[str, Any],
        candidates: list[dict[str, Any]],
    ) -> list[dict[str, Any]]:
        """Return the candidates that no other trial has; if it has them all, others; if there are none, the candidates.

        Nothing is chosen where all is `fixed`, as in a retry or an enqueued configuration.
        """
        if self._space.cell_of(fixed) is not None:
            return candidates
        others = {self._space.cell_of(configuration_of(one)) for one in running if one.number != trial.number}
        tried = (self._cells | others) - {None}
        untried = [one for one in candidates if self._space.cell_of(one) not in tried]
        if untried or (self._size is not None and len(tried) >= self._size):
            return untried or candidates
        drawn = (self._candidate(fixed) for _ in range(DRAWS))
        untried = [one for one in drawn if self._space.cell_of(one) not in tried]
        if not untried and self._size is not None:
            left = (cell for cell in self._space.grid(fixed) if self._space.cell_of(cell) not in tried)
            untried = list(islice(left, MOST_LEFT))
            self._rng.shuffle(untried)
        return untried or candidates

    def _take_in(self, study: optuna.Study) -> list[FrozenTrial]:
        """Note the trials that have finished since, and return the others: they run, or wait to be tried."""
        sign, ranked = _sign(study), len(study.directions) == 1
        trials, running = study.get_trials(deepcopy=False), []
        for trial in islice(trials, self._first_open, None):
            if not trial.state.is_finished():
                running.append(trial)
            elif trial.number not in self._finished:
                self._finished.add(trial.number)
                self._cells.add(self._space.cell_of(configuration_of(trial)))
                if ranked and trial.state != TrialState.FAIL:
                    insort(self._costs, (_cost(trial, sign), trial.number, trial))
        while self._first_open in self._finished:
            self._first_open += 1
        return running

    def _most_promising(
        self, candidates: list[dict[str, Any]], known: list[FrozenTrial], ranks: Sequence[float]
    ) -> int:
        points = np.array([self._cube.point(candidate) for candidate in candidates])
        known_points = np.array([self._points[trial.number] for trial in known])
        width = BANDWIDTH**2 * max(1, len(self._cube.distributions))
        weights = np.exp(-self._cube.squared_distances(points, known_points) / (2 * width)) + FLOOR
        # The square root of ranks from 0 (best) to 1: between the best ones it differs most.
        return int(np.argmin(weights @ np.sqrt(ranks) / weights.sum(axis=1)))

    def _known(self, study: optuna.Study, running: Sequence[FrozenTrial]) -> tuple[list[FrozenTrial], list[float], int]:
        """Return the trials that have a cost, best first; their ranks from 0 to 1; and the number of their groups."""
        sign = _sign(study)
        found = [(_cost(trial, sign), trial.number, trial) for trial in running if trial.intermediate_values]
        found = sorted(self._costs + found)
        for _, number, trial in found:
            if number not in self._points:
                self._points[number] = self._cube.point(trial.params)
        by = self._group_by
        groups = [None if by is None else trial.params.get(by) for _, _, trial in found]  # `params` makes a copy
        sizes, better = Counter(groups), Counter[Any]()
        ranked: list[tuple[float, int, FrozenTrial]] = []
        for position, ((cost, number, trial), group) in enumerate(zip(found, groups, strict=True)):
            # One that broke a constraint is among the last of all, also where its whole group did.
            last = math.isinf(cost)
            ranked.append((position / len(found) if last else better[group] / sizes[group], number, trial))
            better[group] += 1
        ranked.sort()
        return [trial for _, _, trial in ranked], [rank for rank, _, _ in ranked], len(sizes)


def _sign(study: optuna.Study) -> float:
    """Return what makes a cost of a value of the study's first objective."""
    return -1.0 if study.directions[0] == optuna.study.StudyDirection.MAXIMIZE else 1.0


def _cost(trial: FrozenTrial, sign: float) -> float:
    """Return the best value that a trial has reached, lower is better; infinite if it broke a constraint."""
    values = [sign * value for value in trial.intermediate_values.values()]
    if trial.state == TrialState.COMPLETE:
        values.append(sign * (trial.value or 0.0))
    broken = trial.state == TrialState.PRUNED and any(value > 0 for value in trial.constraints.values())
    return float("inf") if broken or not values else min(values)
