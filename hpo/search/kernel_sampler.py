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

Of a long history a part is looked at: the best trials of each group, those that run, and a sample of the others, each
of which counts as often as there are trials that it stands for. So an ask takes as long after a hundred thousand trials
as after four thousand.

A configuration that a trial has, finished or not, is proposed again only when no other is left.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from hpo.search.bounded_history import BoundedHistory
from hpo.search.ranking import Part, Ranking
from hpo.search.study_view import Follower
from hpo.space.encoding import Points, UnitCubeEncoder
from hpo.space.search_space import Cell, SearchSpace
from hpo.storage.trial_attributes import configuration_of

# The part of the trials that are parents, and their least number: or as many as there are groups.
PARENTS, FEWEST_PARENTS = 0.05, 4
# The kernel's standard deviation in a cube of d dimensions is this times the root of d, since distances grow with it.
BANDWIDTH = 0.055
# From so many trials the estimate is made: benchmarks/search/bounded.py.
HISTORY = 4000
# Of several objectives TPE sees so many, for what it does with each takes longer.
JOINT_HISTORY = 1000
# Draws in search of a configuration that no trial has; and the most that are compared where draws find none.
DRAWS, MOST_LEFT = 100, 1000
# Least weight of a trial. A candidate far from all trials gets the mean of all ranks.
FLOOR = 1e-12
# Trials that candidates are compared with at a time: what is computed stays in the processor's cache.
BLOCK = 1000


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
        history: number of trials, beside the running ones, from which it estimates; of more it takes a part.
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
        history: int = HISTORY,
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
        if history < n_startup_trials:
            raise ValueError(f"history is {history}; expected at least n_startup_trials, {n_startup_trials}")
        self._space = space or SearchSpace(())
        self._cube = UnitCubeEncoder(self._space)
        self._group_by = group_by
        self._startup, self._random_fraction = n_startup_trials, random_fraction
        self._candidates, self._mutation, self._history = n_candidates, mutation, history
        self._rng = random.Random(seed)
        self._independent = optuna.samplers.RandomSampler(seed=seed)
        with warnings.catch_warnings():
            # Optuna warns of an argument that its authors recommend for conditional spaces.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            joint = optuna.samplers.TPESampler(multivariate=True, group=True, constant_liar=True, seed=seed)
        self._joint = BoundedHistory(joint, min(history, JOINT_HISTORY))
        self._size = self._space.grid_size()
        self._follower = Follower()
        self._cells: set[Cell] = set()  # of finished trials
        self._grid = iter(()) if self._size is None else self._space.grid()
        self._first_left: list[dict[str, Any]] = []
        self._ranking = Ranking()
        self._trials: dict[int, FrozenTrial] = {}  # those of the ranking; of one that runs the state when it was added
        self._points: Points = np.empty((0, len(self._cube.distributions)))  # by number

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
        if len(self._ranking) < self._startup or self._rng.random() < self._random_fraction:
            return self._untried(running, trial, fixed, [self._candidate(fixed)])[0]
        known = self._ranking.part(self._history, [one.number for one in running])
        count = max(FEWEST_PARENTS, self._ranking.groups, int(PARENTS * len(self._ranking)))
        parents = known.numbers[: min(count, known.best)]
        half = self._candidates // 2
        candidates = [self._candidate(fixed) for _ in range(self._candidates - half)]
        candidates += [self._candidate(fixed, self._trials[self._rng.choice(parents)].params) for _ in range(half)]
        candidates = self._untried(running, trial, fixed, candidates)
        return candidates[self._most_promising(candidates, known)]

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
        cells = (self._space.cell_of(configuration_of(one)) for one in running if one.number != trial.number)
        others = {cell for cell in cells if cell is not None}

        def is_new(candidate: Mapping[str, Any]) -> bool:
            cell = self._space.cell_of(candidate)
            return cell not in self._cells and cell not in others

        untried = list(filter(is_new, candidates))
        if untried or (self._size is not None and len(self._cells) + len(others - self._cells) >= self._size):
            return untried or candidates
        untried = list(filter(is_new, (self._candidate(fixed) for _ in range(DRAWS))))
        if not untried and self._size is not None:
            untried = self._left(fixed, is_new)
            self._rng.shuffle(untried)
        return untried or candidates

    def _left(self, fixed: Mapping[str, Any], is_new: Callable[[Mapping[str, Any]], bool]) -> list[dict[str, Any]]:
        """Return the first configurations of the grid with the `fixed` values that no trial has.

        One that a trial has stays tried: the grid is gone through once.
        """
        if fixed:
            return list(islice(filter(is_new, self._space.grid(fixed)), MOST_LEFT))
        self._first_left = list(filter(is_new, self._first_left))
        self._first_left += islice(filter(is_new, self._grid), MOST_LEFT - len(self._first_left))
        return list(self._first_left)

    def _take_in(self, study: optuna.Study) -> list[FrozenTrial]:
        """Note what trials have reported since, and return those that run, or wait to be tried."""
        finished, running = self._follower.read(study)
        for trial in finished:
            if (cell := self._space.cell_of(configuration_of(trial))) is not None:
                self._cells.add(cell)
        if len(study.directions) == 1:
            sign = _sign(study)
            for trial in finished:
                if trial.state != TrialState.FAIL:
                    self._rank(trial, sign)
                elif trial.number in self._trials:
                    self._ranking.drop(trial.number)
            for trial in running:
                if trial.intermediate_values:
                    self._rank(trial, sign)
        return running

    def _rank(self, trial: FrozenTrial, sign: float) -> None:
        number = trial.number
        if number not in self._trials:
            self._trials[number] = trial
            if number >= len(self._points):
                self._points = np.resize(self._points, (2 * number + 2, self._points.shape[1]))
            self._points[number] = self._cube.point(trial.params)
        group = None if self._group_by is None else self._trials[number].params.get(self._group_by)
        self._ranking.put(number, group, _cost(trial, sign))

    def _most_promising(self, candidates: list[dict[str, Any]], known: Part) -> int:
        points = np.array([self._cube.point(candidate) for candidate in candidates])
        width = BANDWIDTH**2 * max(1, len(self._cube.distributions))
        # The square root of ranks from 0 (best) to 1: between the best ones it differs most.
        ranks = np.sqrt(known.ranks)
        sums, ranked = np.zeros(len(points)), np.zeros(len(points))
        for block in (slice(first, first + BLOCK) for first in range(0, len(ranks), BLOCK)):
            weights = self._cube.squared_distances(points, self._points[known.numbers[block]])
            weights /= -2 * width
            np.exp(weights, out=weights)
            weights += FLOOR
            weights *= known.weights[block]
            sums += weights.sum(axis=1)
            # Not by `@`, whose threads would wait busily on the cores that train.
            weights *= ranks[block]
            ranked += weights.sum(axis=1)
        return int(np.argmin(ranked / sums))


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
