"""Sampler of Optuna's that sees a part of a long study, so that it does not take longer to ask with every trial."""

from __future__ import annotations

import math
from bisect import insort
from collections import deque
from typing import Any, TypeVar

import optuna
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hpo.search.study_view import Follower, selection_of
from hpo.spec.domination import dominates

T = TypeVar("T")
# The most good trials of TPE (its gamma, Optuna 5.0). More of the best would be a larger part of its bad ones than they
# are of all: it would keep away from where it is good.
BEST = 25
# How TPE orders trials: broken constraints, not complete, minus the last step, cost. Then the number.
Key = tuple[float, bool, float, float, int]


class BoundedHistory(optuna.samplers.BaseSampler):
    """Sampler that asks another one with a part of the study's trials.

    The best ones are among them, as many as TPE takes as its good ones, and the latest, a tenth, so that nothing is
    proposed twice for want of its result. The others are spread evenly over the ranks of the rest. With several
    objectives the best are those that no other one dominates, up to a quarter, and the others are spread over the time.
    Trials that run or wait are all among them, and failed ones are not. Up to `history` trials the study is as it is.

    Args:
        sampler: the one that is asked.
        history: number of finished trials that it sees.
    """

    def __init__(self, sampler: optuna.samplers.BaseSampler, history: int) -> None:
        self._sampler, self._history = sampler, history
        self._follower = Follower()
        self._trials: dict[int, FrozenTrial] = {}  # that have finished and not failed
        self._ranked: list[Key] = []  # ascending
        # With several objectives, the costs of those that no other one dominates, by their numbers.
        self._front: dict[int, list[float]] = {}
        self._latest: deque[int] = deque(maxlen=history // 10)
        self._asked: tuple[int, optuna.Study] | None = None  # the last trial, and what was shown for it

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the distributions of the parameters that are sampled together."""
        return self._sampler.infer_relative_search_space(self._shown(study, trial), trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the parameters of a new trial that are sampled together."""
        return self._sampler.sample_relative(self._shown(study, trial), trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return a single parameter."""
        return self._sampler.sample_independent(self._shown(study, trial), trial, param_name, param_distribution)

    def reseed_rng(self) -> None:
        """Take a new seed."""
        self._sampler.reseed_rng()

    def _shown(self, study: optuna.Study, trial: FrozenTrial) -> optuna.Study:
        """Return the study with the part of its trials that is shown for a trial."""
        if self._asked is None or self._asked[0] != trial.number:
            self._asked = trial.number, self._part(study)
        return self._asked[1]

    def _part(self, study: optuna.Study) -> optuna.Study:
        finished, unfinished = self._follower.read(study)
        for trial in finished:
            if trial.state != TrialState.FAIL:
                self._take_in(study, trial)
        if len(self._ranked) <= self._history:
            return study
        best = list(self._front)[-self._history // 4 :] or [key[-1] for key in self._ranked[:BEST]]
        chosen = {*best, *self._latest}
        rest = [key[-1] for key in evenly(self._ranked, self._history)]
        left = [number for number in rest if number not in chosen]
        chosen.update(evenly(left, self._history - len(chosen)))
        trials = [*(self._trials[number] for number in chosen), *unfinished]
        return selection_of(study, sorted(trials, key=lambda trial: trial.number))

    def _take_in(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self._trials[trial.number] = trial
        self._latest.append(trial.number)
        if len(study.directions) == 1:
            insort(self._ranked, _key(trial, study.directions[0]))
            return
        self._ranked.append((0.0, False, 0.0, 0.0, trial.number))
        if trial.state == TrialState.COMPLETE and not _broken(trial):
            costs = [_cost(*pair) for pair in zip(study.directions, trial.values, strict=True)]
            if not any(dominates(other, costs) for other in self._front.values()):
                front = {number: other for number, other in self._front.items() if not dominates(costs, other)}
                self._front = front | {trial.number: costs}


def evenly(found: list[T], count: int) -> list[T]:
    """Return so many of a list, evenly spread over it; all if it has no more."""
    if len(found) <= count:
        return found
    return [found[int((index + 0.5) * len(found) / count)] for index in range(count)]


def _key(trial: FrozenTrial, direction: StudyDirection) -> Key:
    last = trial.last_step
    value = trial.value if trial.state == TrialState.COMPLETE else trial.intermediate_values.get(last or 0)
    cost = math.inf if value is None or math.isnan(value) else _cost(direction, value)
    complete = trial.state == TrialState.COMPLETE
    return (
        _broken(trial),
        not complete,
        0.0 if complete else math.inf if last is None else -float(last),
        cost,
        trial.number,
    )


def _broken(trial: FrozenTrial) -> float:
    """Return by how much a trial broke its constraints."""
    return sum(max(0.0, value) for value in trial.constraints.values())


def _cost(direction: StudyDirection, value: float) -> float:
    return -value if direction == StudyDirection.MAXIMIZE else value
