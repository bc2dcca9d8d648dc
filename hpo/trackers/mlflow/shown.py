"""Trials that have a run in MLflow: all, or the best of a study (`mlflow: {trials: best 1000}`).

Complete trials come first, by the study's metric. With several metrics those of the Pareto front do, then the others by
the best place that each has in one of the metrics. After them come the other trials that ended, the earlier before the
later, so that none of them takes the place of another. Attempts that were tried again have none.

Which trials they are follows from the trials that have ended, whatever the order in which they did.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hpo.spec.domination import non_dominated
from hpo.storage.contradiction import contradiction
from hpo.storage.trial_attributes import requeued

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from hpo.spec.models import StudySpec


class Shown:
    """Numbers of the trials that have a run, brought up to date as trials end.

    Attributes:
        most: the most of them; None: all trials have one.
        ended: number of trials that have ended so far, without attempts that were tried again.
    """

    def __init__(self, spec: StudySpec) -> None:
        self.most = None if spec.mlflow is None else spec.mlflow.trials
        self.ended = 0
        self._spec = spec
        self._numbers: NDArray[np.int64] = np.empty(0, int)
        self._costs: NDArray[np.float64] = np.empty((0, len(spec.metrics)))
        self._chosen: frozenset[int] = frozenset()

    def add(self, trials: Iterable[FrozenTrial]) -> None:
        """Take in trials that have ended."""
        counted = [trial for trial in trials if not requeued(trial.user_attrs)]
        self.ended += len(counted)
        if self.most is None or not counted:
            return
        self._numbers = np.concatenate([self._numbers, [trial.number for trial in counted]])
        self._costs = np.concatenate([self._costs, [self._costs_of(trial) for trial in counted]])
        order = _order(self._costs, self._numbers)[: self.most]
        self._chosen = frozenset(self._numbers[order].tolist())
        if len(self._spec.metrics) == 1:  # of one metric, what is beyond the best never comes back
            self._numbers, self._costs = self._numbers[order], self._costs[order]

    def has(self, number: int) -> bool:
        """Return True if a trial that has ended has a run."""
        return self.most is None or number in self._chosen

    def beyond(self, numbers: Iterable[int]) -> list[int]:
        """Return those of `numbers`, of trials that have ended, that have no run."""
        return [] if self.most is None else sorted(set(numbers) - self._chosen)

    def room(self, running: int) -> bool:
        """Return True if a trial that runs may have a run, beside so many others that run, however it ends."""
        return self.most is None or self.ended + running < self.most

    def words(self) -> str:
        """Return how many of the trials have a run, as `1,000 best of 12,345 trials`; empty if all have one."""
        if self.most is None:
            return ""
        return f"{min(self.most, self.ended):,} best of {self.ended:,} trial{'s' * (self.ended != 1)}"

    def _costs_of(self, trial: FrozenTrial) -> list[float]:
        """Return the values of a complete trial, the less the better; of another one infinities."""
        names = [metric.name for metric in self._spec.metrics]
        if trial.state.name != "COMPLETE" or contradiction(trial, self._spec.space, names):
            return [np.inf] * len(names)
        return [metric.cost(value) for metric, value in zip(self._spec.metrics, trial.values, strict=True)]


def _order(costs: NDArray[np.float64], numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the indices of the trials from the first to the last, of equals the one of the lower number first.

    Args:
        costs: (n, metrics), infinite of trials that did not complete.
        numbers: (n,).
    """
    first = costs[:, 0]
    if costs.shape[1] > 1:
        places = np.empty(costs.shape)
        for index, column in enumerate(costs.T):
            places[np.lexsort((numbers, column)), index] = np.arange(len(numbers))
        first = np.where(np.isinf(first), np.inf, places.min(axis=1) + np.where(non_dominated(costs), 0, len(numbers)))
    return np.lexsort((numbers, first))
