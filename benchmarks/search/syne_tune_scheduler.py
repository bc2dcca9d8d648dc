"""A scheduler of Syne Tune as a sampler and a pruner: `pip install 'syne-tune[extra]'` makes its rows appear."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial
from proposed import ProposedSampler
from syne_tune import config_space
from syne_tune.backend.trial_status import Trial
from syne_tune.optimizer.baselines import ASHACQR, BOHB
from syne_tune.optimizer.scheduler import SchedulerDecision

from hpo.space.encoding import UnitCubeEncoder
from hpo.space.search_space import SearchSpace

SCHEDULERS = {"BOHB": BOHB, "ASHA + CQR": ASHACQR}


class SyneTune:
    """Scheduler of Syne Tune with its defaults, asked as sampler and as pruner.

    It has no conditional parameters: those that a configuration lacks keep what it proposed for them. With one
    seed its BOHB does not repeat itself.

    Args:
        name: a key of `SCHEDULERS`.
        space: the search space.
        epochs: of the longest training.
        seed: of its random numbers.
    """

    def __init__(self, name: str, space: SearchSpace, epochs: int, seed: int) -> None:
        self._distributions = UnitCubeEncoder(space).distributions
        domains = {key: _domain(one) for key, one in self._distributions.items()}
        self._scheduler = SCHEDULERS[name](
            domains, metric="loss", time_attr="epoch", max_t=epochs, do_minimize=True, random_seed=seed
        )
        self._proposed: dict[int, dict[str, Any]] = {}
        self._added: dict[int, Trial] = {}
        self.sampler, self.pruner = ProposedSampler(self.propose), _Pruner(self)

    def propose(self, number: int) -> dict[str, Any]:
        """Return the parameters of a new trial."""
        config = self._scheduler.suggest().config
        self._proposed[number] = config
        return {
            key: one.choices[config[key]] if isinstance(one, CategoricalDistribution) else config[key]
            for key, one in self._distributions.items()
        }

    def is_stopped(self, trial: FrozenTrial) -> bool:
        """Return True if the scheduler stops the trial after its last report."""
        step = trial.last_step
        assert step is not None
        result = {"loss": trial.intermediate_values[step], "epoch": step}
        return bool(self._scheduler.on_trial_result(self._trial(trial), result) == SchedulerDecision.STOP)

    def _trial(self, trial: FrozenTrial) -> Trial:
        if trial.number not in self._added:
            # The benchmark has moved the proposal to a recorded configuration.
            own = {
                key: one.choices.index(trial.params[key])
                if isinstance(one, CategoricalDistribution)
                else trial.params[key]
                for key, one in self._distributions.items()
                if key in trial.params
            }
            added = Trial(trial.number, {**self._proposed[trial.number], **own}, datetime(2026, 1, 1))
            self._added[trial.number] = added
            self._scheduler.on_trial_add(added)
        return self._added[trial.number]


def _domain(distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return config_space.choice(list(range(len(distribution.choices))))
    if isinstance(distribution, IntDistribution):
        make = config_space.lograndint if distribution.log else config_space.randint
        return make(distribution.low, distribution.high)
    assert isinstance(distribution, FloatDistribution)
    if distribution.low == distribution.high:
        return config_space.choice([distribution.low])
    return (config_space.loguniform if distribution.log else config_space.uniform)(distribution.low, distribution.high)


class _Pruner(optuna.pruners.BasePruner):
    def __init__(self, scheduler: SyneTune) -> None:
        self._scheduler = scheduler

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        return self._scheduler.is_stopped(trial) if math.isfinite(trial.intermediate_values[trial.last_step]) else True
