"""BOHB's model as an Optuna sampler, tried as hpo's default by `policies.py`: TPE on what trials had reached at one
and the same step.

Falkner, Klein and Hutter ("BOHB: Robust and Efficient Hyperparameter Optimization at Scale", ICML 2018, section 4.1)
fit the model to the largest budget at which enough was observed, and draw a share of configurations at random."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial


@dataclass
class _Level:
    """The trials that reached a step, as a study whose values are what they had there. reached, ill: their numbers,
    and those of the trials that count as bad; settled: of those of which no more will be heard here."""

    step: float
    sampler: optuna.samplers.TPESampler
    study: optuna.Study
    reached: set[int] = field(default_factory=set)
    ill: set[int] = field(default_factory=set)
    settled: set[int] = field(default_factory=set)

    def observe(self, trial: FrozenTrial, ill: bool) -> None:
        if ill and trial.number not in self.ill:
            self.ill.add(trial.number)
            self.study.add_trial(_copy(trial, None))
        elif not ill and (value := _value_at(trial, self.step)) is not None:
            self.reached.add(trial.number)
            self.settled.add(trial.number)
            self.study.add_trial(_copy(trial, value))
        elif trial.state.is_finished():
            self.settled.add(trial.number)


class BOHBSampler(optuna.samplers.BaseSampler):
    """TPE at the highest of the steps 1, f, f^2, ... (f = `reduction_factor`, best that of the pruner) and the end
    that at least `n_startup_trials` trials reached; before that, and for `random_fraction` of the trials, random.

    A trial's value at a step is the first one that it reported from there on. A trial that broke a constraint (a red
    flag, out of memory), or that was pruned before it reported anything, counts as bad at every step. A study of
    several objectives has no intermediate values in Optuna: there it is TPE. Raises ValueError for options out of
    range."""

    def __init__(
        self,
        n_startup_trials: int = 16,
        random_fraction: float = 0.3,
        reduction_factor: int = 4,
        n_ei_candidates: int = 24,
        seed: int | None = None,
    ) -> None:
        if n_startup_trials < 2:
            raise ValueError(f"n_startup_trials is {n_startup_trials}; expected at least 2")
        if not 0 <= random_fraction <= 1:
            raise ValueError(f"random_fraction is {random_fraction}; expected a number from 0 to 1")
        if reduction_factor < 2:
            raise ValueError(f"reduction_factor is {reduction_factor}; expected at least 2")
        self._least = n_startup_trials
        self._random_fraction = random_fraction
        self._factor = reduction_factor
        self._candidates = n_ei_candidates
        self._rng = np.random.default_rng(seed)
        self._random = optuna.samplers.RandomSampler(seed=self._seed())
        self._joint = self._tpe(constant_liar=True)
        self._levels: list[_Level] = []
        self._chosen: _Level | None = None

    def _seed(self) -> int:
        return int(self._rng.integers(2**31))

    def _tpe(self, constant_liar: bool = False) -> optuna.samplers.TPESampler:
        with warnings.catch_warnings():
            # Of Optuna's, on arguments that its authors recommend for conditional spaces.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.samplers.TPESampler(
                n_startup_trials=self._least if constant_liar else 1,
                n_ei_candidates=self._candidates,
                multivariate=True,
                group=True,
                constant_liar=constant_liar,
                seed=self._seed(),
            )

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        self._chosen = None
        if len(study.directions) > 1:
            return self._joint.infer_relative_search_space(study, trial)
        self._observe(study)
        if self._rng.random() >= self._random_fraction:
            self._chosen = next((lv for lv in reversed(self._levels) if len(lv.reached) >= self._least), None)
        if self._chosen is None:
            return {}
        return self._chosen.sampler.infer_relative_search_space(self._chosen.study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if len(study.directions) > 1:
            return self._joint.sample_relative(study, trial, search_space)
        if self._chosen is None:
            return {}
        return self._chosen.sampler.sample_relative(self._chosen.study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        if len(study.directions) > 1:
            return self._joint.sample_independent(study, trial, param_name, param_distribution)
        if self._chosen is None:
            return self._random.sample_independent(study, trial, param_name, param_distribution)
        return self._chosen.sampler.sample_independent(self._chosen.study, trial, param_name, param_distribution)

    def reseed_rng(self) -> None:
        self._rng = np.random.default_rng()
        for sampler in (self._random, self._joint, *(level.sampler for level in self._levels)):
            sampler.reseed_rng()

    def _observe(self, study: optuna.Study) -> None:
        """Brings the levels up to date with the study."""
        trials = study.get_trials(deepcopy=False)
        furthest = max((trial.last_step or 0 for trial in trials), default=0)
        if not self._levels:
            self._levels = [self._level(study, 1.0), self._level(study, float("inf"))]
        while (step := self._levels[-2].step * self._factor) <= furthest:
            self._levels.insert(-1, self._level(study, step))
        ill = {trial.number for trial in trials if _is_ill(trial)}
        for place, level in enumerate(self._levels):
            if level.reached & ill:  # it looked well when it was here: forget it
                level = self._levels[place] = self._level(study, level.step)
            for trial in trials:
                if trial.number not in level.settled:
                    level.observe(trial, trial.number in ill)

    def _level(self, study: optuna.Study, step: float) -> _Level:
        sampler = self._tpe()
        return _Level(step, sampler, optuna.create_study(direction=study.direction, sampler=sampler))


def _is_ill(trial: FrozenTrial) -> bool:
    if trial.state != TrialState.PRUNED:
        return False
    return not trial.intermediate_values or any(value > 0 for value in trial.constraints.values())


def _value_at(trial: FrozenTrial, step: float) -> float | None:
    """The first value reported from `step` on; at infinity the final one."""
    if step == float("inf"):
        return trial.value if trial.state == TrialState.COMPLETE else None
    return next((trial.intermediate_values[s] for s in sorted(trial.intermediate_values) if s >= step), None)


def _copy(trial: FrozenTrial, value: float | None) -> FrozenTrial:
    """As a trial that ended with `value`, or as a bad one."""
    state = TrialState.PRUNED if value is None else TrialState.COMPLETE
    return create_trial(state=state, params=trial.params, distributions=trial.distributions, value=value)
