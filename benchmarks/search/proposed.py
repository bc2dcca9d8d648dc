"""A sampler of Optuna's that another library's scheduler speaks through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState


class ProposedSampler(optuna.samplers.BaseSampler):
    """Sampler that takes the parameters of a trial from `propose`, and draws those that it lacks.

    Args:
        propose: returns the parameters of a new trial by its number.
        ended: is called with each trial that has ended, and its state.
    """

    def __init__(
        self,
        propose: Callable[[int], dict[str, Any]],
        ended: Callable[[FrozenTrial, TrialState], None] = lambda trial, state: None,
    ) -> None:
        self._propose, self._ended = propose, ended
        self._random = optuna.samplers.RandomSampler(seed=0)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._propose(trial.number)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        self._ended(trial, state)
