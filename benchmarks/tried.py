"""Samplers and pruners that were tried as hpo's default beside the ones that are, for `policies.py`.

What each is for stands in its docstring; what each reached, in RESULTS.md."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from hpo.curves.shape import noise_of


class NoiseAware(optuna.pruners.BasePruner):
    """Successive halving that lets a trial go on while its gap to the last one that passes is within twice the noise of
    its own curve from epoch to epoch."""

    def __init__(self, reduction_factor: int = 4) -> None:
        self._factor = reduction_factor
        self._rungs: dict[int, list[float]] = {}

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        step = trial.last_step
        assert step is not None
        rung = round(np.log(step) / np.log(self._factor))
        if self._factor**rung != step:
            return False
        values = list(trial.intermediate_values.values())
        rivals = self._rungs.setdefault(step, [])
        rivals.append(values[-1])
        passes = sorted(rivals)[max(0, len(rivals) // self._factor - 1)]
        return values[-1] - passes > 2 * noise_of(values)


class Bound(optuna.pruners.BasePruner):
    """Successive halving, and from the fourth step on the end of a trial that could not beat the best one even if it
    still fell by as much as the steepest trial that ran to its end did from there on."""

    def __init__(self) -> None:
        self._halving = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=4)

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        if self._halving.prune(study, trial):
            return True
        step = trial.last_step
        assert step is not None
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        curves = [np.minimum.accumulate(list(one.intermediate_values.values())) for one in complete]
        if step < 4 or len(curves) < 3:
            return False
        fall = max(float(curve[min(step, len(curve)) - 1] - curve[-1]) for curve in curves)
        return min(trial.intermediate_values.values()) - fall > min(float(curve[-1]) for curve in curves)


class Mixture(optuna.samplers.BaseSampler):
    """With `share` what `other` proposes, else what `sampler` does; `other` alone for the first `first` trials."""

    def __init__(
        self,
        sampler: optuna.samplers.BaseSampler,
        other: optuna.samplers.BaseSampler,
        seed: int,
        share: float = 0.0,
        first: int = 0,
    ) -> None:
        self._samplers = (sampler, other)
        self._rng = np.random.default_rng(seed)
        self._share, self._first = share, first
        self._now = sampler

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        other = trial.number < self._first or self._rng.random() < self._share
        self._now = self._samplers[other]
        return self._now.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._now.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._now.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        for sampler in self._samplers:
            sampler.after_trial(study, trial, state, values)


def qmc_start(sampler: optuna.samplers.BaseSampler, seed: int) -> Mixture:
    """A sampler whose first trials are scrambled Sobol points in place of random ones."""
    qmc = optuna.samplers.QMCSampler(seed=seed, scramble=True, warn_independent_sampling=False)
    return Mixture(sampler, qmc, seed, first=16)


def half_random(seed: int) -> Mixture:
    """TPE and random, one as often as the other."""
    tpe = optuna.samplers.TPESampler(multivariate=True, group=True, constant_liar=True, seed=seed)
    return Mixture(tpe, optuna.samplers.RandomSampler(seed=seed), seed, share=0.5)


def promotion(
    curves: Sequence[Sequence[float]], seconds: Sequence[float], workers: int, until: float, seed: int
) -> list[tuple[float, float]]:
    """(time, value) of every epoch under random search with asynchronous successive halving that pauses a trial at its
    rung and promotes the best quarter of a rung from their checkpoints (Li et al., "A System for Massively Parallel
    Hyperparameter Tuning", MLSys 2020, algorithm 2), rungs 1, 4, 16. curves: (n, epochs), shorter where a training
    diverged. Beside it, in `policies.py`: random search that stops them."""
    rungs: dict[int, list[tuple[float, int]]] = {1: [], 4: [], 16: []}
    promoted: dict[int, set[int]] = {rung: set() for rung in rungs}
    fresh = iter(np.random.default_rng(seed).permutation(len(curves)).tolist())
    order = itertools.count()
    events: list[tuple[float, int, int, int]] = []
    seen: list[tuple[float, float]] = []
    now = 0.0

    def next_one() -> tuple[int, int]:
        for rung in sorted(rungs, reverse=True):
            for _, config in sorted(rungs[rung])[: len(rungs[rung]) // 4]:
                if config not in promoted[rung]:
                    promoted[rung].add(config)
                    return config, rung
        return next(fresh), 0

    while True:
        while len(events) < workers:
            config, epoch = next_one()
            heapq.heappush(events, (now + seconds[config], next(order), config, epoch + 1))
        now, _, config, epoch = heapq.heappop(events)
        if now > until:
            return seen
        if epoch > len(curves[config]):  # it diverged in this epoch
            continue
        value = curves[config][epoch - 1]
        seen.append((now, value))
        if epoch in rungs:
            rungs[epoch].append((value, config))
        elif epoch < len(curves[config]) or len(curves[config]) < max(map(len, curves)):
            heapq.heappush(events, (now + seconds[config], next(order), config, epoch + 1))
