"""SMAC3's multi-fidelity facade as a sampler and a pruner: `pip install smac` makes its row appear."""

from __future__ import annotations

import logging
import math
import tempfile
from typing import Any

import optuna
from ConfigSpace import Categorical, ConfigurationSpace, Constant, Float, Integer
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState
from proposed import ProposedSampler
from smac import MultiFidelityFacade, Scenario
from smac.main.exceptions import ConfigurationSpaceExhaustedException
from smac.runhistory.dataclasses import TrialInfo, TrialValue

from hpo.space.encoding import UnitCubeEncoder
from hpo.space.search_space import SearchSpace

logging.getLogger("smac").setLevel(logging.ERROR)


class Smac:
    """SMAC3's Hyperband with a random forest, with its defaults.

    It says up to which epoch a trial trains, and which of them goes on: this stands where hpo has trials wait at a
    rung. It has no conditional parameters here: those that a configuration lacks keep what it proposed for them. The
    benchmark moves a proposal to a recorded configuration, of which SMAC is not told.

    Args:
        space: the search space.
        epochs: of the longest training.
        seed: of its random numbers.
        worst: the cost of a training that diverges.
    """

    def __init__(self, space: SearchSpace, epochs: int, seed: int, worst: float) -> None:
        self._distributions = UnitCubeEncoder(space).distributions
        self._names = {f"p{index}": name for index, name in enumerate(self._distributions)}
        configurations = ConfigurationSpace(seed=seed)
        configurations.add([_hyperparameter(key, self._distributions[name]) for key, name in self._names.items()])
        self._folder = tempfile.TemporaryDirectory(prefix="smac-")  # it goes with this scheduler
        scenario = Scenario(
            configurations,
            self._folder.name,
            deterministic=True,
            n_trials=100_000,
            min_budget=1,
            max_budget=epochs,
            seed=seed,
        )
        self._facade = MultiFidelityFacade(scenario, _no_target, overwrite=True, logging_level=False)
        self._asked: TrialInfo | None = None
        self._jobs: dict[int, TrialInfo] = {}
        self._numbers: dict[Any, int] = {}
        self._steps: dict[int, tuple[int, float]] = {}
        self._worst, self._diverged = worst, set[int]()
        self.sampler, self.pruner = ProposedSampler(self.propose, self._ended), _Pruner(self)

    def propose(self, number: int) -> dict[str, Any]:
        """Return the parameters of a new trial; none, for SMAC has proposed all of a finite space."""
        asked, self._asked = self._asked or self._ask(), None
        if asked is None:
            return {}
        self._jobs[number], self._numbers[asked.config] = asked, number
        found = {}
        for key, name in self._names.items():
            distribution, value = self._distributions[name], asked.config[key]
            categorical = isinstance(distribution, CategoricalDistribution)
            found[name] = distribution.choices[int(value)] if categorical else value
        return found

    def reported(self, number: int, group: Any, step: int, cost: float) -> None:
        """Take in a trial's value."""
        self._steps[number] = step, cost

    def is_behind(self, number: int) -> bool:
        """Return True if a trial has come as far as it was to."""
        job = self._jobs.get(number)
        return job is not None and self._steps[number][0] >= round(job.budget or 0)

    def wait(self, number: int) -> None:
        """Tell the value of a trial that has come as far as it was to."""
        self.tell(number, self._steps[number][1])

    def withdraw(self, number: int) -> None:
        """Have a trial wait no longer."""

    def next(self, last: bool = False, rest: bool = False) -> int | None:
        """Return the number of the trial that is to go on; None: a new one is to be tried."""
        while self._asked is None and (asked := self._ask()) is not None:
            if asked.config not in self._numbers:
                self._asked = asked
                break
            number = self._numbers[asked.config]
            self._jobs[number] = asked
            if number not in self._diverged:
                return number
            self.tell(number, math.nan)
        return None

    def _ended(self, trial: FrozenTrial, state: TrialState) -> None:
        if state == TrialState.COMPLETE or trial.constraints:  # of which one says that it diverged
            step = max(trial.intermediate_values, default=0)
            self.tell(trial.number, trial.intermediate_values[step] if state == TrialState.COMPLETE else math.nan)

    def _ask(self) -> TrialInfo | None:
        try:
            return self._facade.ask()
        except (ConfigurationSpaceExhaustedException, StopIteration):  # it has proposed all of a finite space
            return None

    def tell(self, number: int, cost: float) -> None:
        """Tell SMAC how a trial ended; NaN: it diverged, of which SMAC takes no infinite cost."""
        if number not in self._jobs:
            return
        if not math.isfinite(cost):
            self._diverged.add(number)
        self._facade.tell(self._jobs[number], TrialValue(cost if math.isfinite(cost) else self._worst), save=False)


def _no_target(config: Any, seed: int = 0, budget: float = 0) -> float:
    raise AssertionError("it is asked and told")


def _hyperparameter(key: str, one: BaseDistribution) -> Any:
    if isinstance(one, CategoricalDistribution):
        return Categorical(key, list(range(len(one.choices))))
    assert isinstance(one, IntDistribution | FloatDistribution)
    if one.low == one.high:
        return Constant(key, one.low)
    kind = Integer if isinstance(one, IntDistribution) else Float
    return kind(key, (one.low, one.high), log=one.log)


class _Pruner(optuna.pruners.BasePruner):
    def __init__(self, scheduler: Smac) -> None:
        self._scheduler = scheduler

    def promotion(self, most: int = 0) -> Smac:
        return self._scheduler

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        return False
