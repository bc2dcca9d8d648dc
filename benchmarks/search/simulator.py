"""Simulator of a search on recorded trainings, in simulated time, with the samplers and pruners that a study has.

It does what the replay of hpo's Oracle does, event by event, without a storage, a queue and notes: a study in memory is
all that sampler and pruner see. `tests/search/test_simulator.py` compares the two trial by trial.
"""

from __future__ import annotations

import copy
import heapq
import itertools
import math
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sized
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from problems import WORKERS, Problem

from hpo.engines.replay import RecordedSampler, Recording, Recordings
from hpo.search.promotion import WAITING, WAITING_FOR_REST, Promotion
from hpo.trial import Outcome
from hpo.warm_start.trust import FINAL, WarmStart, from_earlier_study

_STARTED = datetime(2026, 1, 1)


class Study:
    """A study in memory with one objective, lower is better; as much of optuna.Study as samplers and pruners read."""

    study_name = "simulated"
    _study_id = 0
    direction = StudyDirection.MINIMIZE
    directions = (StudyDirection.MINIMIZE,)

    def __init__(self, pruner: optuna.pruners.BasePruner) -> None:
        self.pruner = pruner
        self.trials: list[FrozenTrial] = []
        self.user_attrs: dict[str, Any] = {}
        self.system_attrs: dict[str, Any] = {}
        self._storage = self

    def get_trials(self, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        """Return the trials; they are never copied."""
        if states is None:
            return list(self.trials)
        return [trial for trial in self.trials if trial.state in states]

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        return self.get_trials(states=states)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return the trials, as a storage does."""
        return self.get_trials(states=states)

    def get_n_trials(self, study_id: int, state: Any = None) -> int:
        """Return how many trials there are, as a storage does."""
        return len(self.trials)

    @property
    def best_trial(self) -> FrozenTrial:
        """The best complete trial."""
        complete = self.get_trials(states=(TrialState.COMPLETE,))
        if not complete:
            raise ValueError("no complete trial")
        return min(complete, key=lambda trial: trial.values[0])

    def _is_multi_objective(self) -> bool:
        return False

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Note something of a trial, as a storage does: who holds the trial of before does not see it."""
        changed = copy.copy(self.trials[trial_id])
        changed.system_attrs = {**changed.system_attrs, key: value}
        self.trials[trial_id] = changed

    def set_user_attr(self, key: str, value: Any) -> None:
        """Note something of the study."""
        self.user_attrs[key] = value

    def add(self) -> FrozenTrial:
        """Return a new running trial without parameters."""
        number = len(self.trials)
        trial = FrozenTrial(number, TrialState.RUNNING, None, _STARTED, None, {}, {}, {}, {}, {}, number)
        self.trials.append(trial)
        return trial


@dataclass
class Trace:
    """What a search found: the time of each report, its value, and how many trials it started.

    Attributes:
        told: of each trial that an earlier study proposed the seconds that it trained.
    """

    times: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    trials: int = 0
    told: Counter[int] = field(default_factory=Counter)

    def add(self, time: float, value: float) -> None:
        """Note a report. What has no value, for another repeat of its configuration diverged, counts for nothing."""
        if math.isfinite(value):
            self.times.append(time)
            self.values.append(value)

    def best(self, until: float, otherwise: float) -> float:
        """Return the best value until a moment."""
        count = int(np.searchsorted(self.times, until, side="right"))
        return min(self.values[:count], default=otherwise)

    def regrets(self, problem: Problem, moments: Iterable[float]) -> list[float]:
        """Return the regret at some moments, in parts of the problem's budget."""
        worst = problem.scale[2]
        return [problem.regret(self.best(part * problem.budget, worst)) for part in moments]


class Table(Recordings):
    """The configurations of a problem that are left to try."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(
            problem.space,
            [
                Recording(one, (), Outcome(index, "COMPLETE", {"loss": 0.0}))
                for index, one in enumerate(problem.configurations)
            ],
        )
        self._problem = problem
        self._times = [0] * len(problem.configurations)
        self._repeats: dict[int, int] = {}

    def _give(self, number: int, index: int) -> None:
        super()._give(number, index)
        self._left[index] = self._problem.again
        self._repeats[number] = self._times[index] % self._problem.curves.shape[1]
        self._times[index] += 1

    def value(self, number: int, epoch: int) -> float:
        """Return what a trial reports after an epoch, counted from 0."""
        return float(self._problem.curves[self._index(number), self._repeats[number], epoch])

    def judged(self, number: int, epoch: int) -> float:
        """Return by what a search is judged that had a trial train this epoch."""
        return float(self._problem.means[self._index(number), epoch])

    def seconds(self, number: int) -> float:
        """Return how long a trial takes for an epoch."""
        return float(self._problem.seconds[self._index(number)])

    def _index(self, number: int) -> int:
        return self.taken(number).outcome.number


def simulate(
    problem: Problem,
    sampler: optuna.samplers.BaseSampler,
    pruner: optuna.pruners.BasePruner,
    workers: int = WORKERS,
    until: float | None = None,
    checkpoints: bool = False,
    warm: WarmStart | None = None,
    table: Table | None = None,
) -> tuple[Trace, Study]:
    """Search a problem for its budget.

    Args:
        problem: what is searched.
        sampler: its proposals are moved to the nearest recorded configuration that is left.
        pruner: is asked after each report.
        workers: trials at a time.
        until: the end in simulated seconds; None: the problem's budget.
        checkpoints: trainings save one in each epoch, so that those behind wait if the pruner has them wait.
        warm: what earlier studies propose.
        table: what its trials report; None: what was recorded.
    """
    table = Table(problem) if table is None else table
    warm = warm or WarmStart((), 0, maximize=False)
    origins: dict[int, Mapping[str, Any]] = {}
    end = problem.budget if until is None else until
    study, trace = Study(pruner), Trace()
    recorded = RecordedSampler(sampler, table)
    order = itertools.count()  # of two events at one time, the one that was planned first comes first
    events: list[tuple[float, int, int, float, int]] = []
    epochs = problem.curves.shape[2]
    make = getattr(pruner, "promotion", None)
    # hpo tries each configuration of a finite space once, and then has those go on that wait (StudySpec.uses_rest).
    each_once = not problem.again and problem.space.grid_size() is not None
    most = WAITING_FOR_REST if each_once else WAITING
    promotion: Promotion | None = make(most) if checkpoints and make is not None else None
    now = 0.0
    while True:
        while len(events) < workers:
            if promotion is not None and (number := promotion.next(*_ended(events, table, each_once))) is not None:
                promotion.withdraw(number)
                epoch = max(study.trials[number].intermediate_values)
                seconds = table.seconds(number)
                heapq.heappush(events, (now + seconds, next(order), number, now - epoch * seconds, epoch))
                continue
            if not len(table):
                break
            trial = study.add()
            told, origins[trial.number] = warm.next() or ({}, {})
            fixed = problem.space.to_optuna(told)
            trial.system_attrs = {"fixed_params": fixed} if fixed else {}
            recorded.before_trial(study, trial)  # type: ignore[arg-type]
            params = recorded.sample_relative(study, trial, table.distributions)  # type: ignore[arg-type]
            trial = study.trials[-1]  # the sampler may have noted something of it
            trial.params = {name: fixed.get(name, value) for name, value in params.items()}
            trial.distributions = {name: table.distributions[name] for name in params}
            trace.trials += 1
            heapq.heappush(events, (now + table.seconds(trial.number), next(order), trial.number, now, 0))
        if not events:
            return trace, study
        now, _, number, began, epoch = heapq.heappop(events)
        if now > end:
            for at, _, one, _, _ in [(now, 0, number, began, epoch), *events]:
                if one in trace.told:  # of the epoch that it is in
                    trace.told[one] += max(0.0, table.seconds(one) - (at - end))
            return trace, study
        trial = study.trials[number]
        if epoch == epochs:
            trial.values = [min(trial.intermediate_values.values())]
            _end(study, recorded, trial, TrialState.COMPLETE)
            warm.observe(number, origins[number], FINAL, trial.values[0])
            continue
        if from_earlier_study(origins[number]):
            trace.told[number] += table.seconds(number)
        value = table.value(number, epoch)
        if math.isfinite(value):
            trial.intermediate_values[epoch + 1] = value
            trace.add(now, table.judged(number, epoch))
            warm.observe(number, origins[number], epoch + 1, value)
            if promotion is not None and epoch + 1 < epochs:
                promotion.reported(number, None, epoch + 1, value)
                if promotion.is_behind(number):
                    if (over := promotion.wait(number)) is not None:
                        _end(study, recorded, study.trials[over], TrialState.PRUNED)
                    continue
            elif promotion is None and (
                pruner.prune(study, copy.copy(trial))  # type: ignore[arg-type]
                and not warm.guards(origins[number], len(trial.intermediate_values))
            ):
                _end(study, recorded, study.trials[number], TrialState.PRUNED)
                continue
            if number in warm.disproved_trials:
                _end(study, recorded, study.trials[number], TrialState.PRUNED)
                continue
            # The end of the training comes at the time of its last report.
            ahead = min(epoch + 2, epochs) * table.seconds(number)
            heapq.heappush(events, (max(now, began + ahead), next(order), number, began, epoch + 1))
            continue
        trial.set_constraint("red_flag_non_finite", 1.0)  # the default red flag
        _end(study, recorded, study.trials[number], TrialState.PRUNED)


def _ended(events: Sized, table: Table, each_once: bool) -> tuple[bool, bool]:
    """Return whether no new trial will come, and whether all that wait may go on."""
    rest = each_once and not len(table)
    return rest or (not events and not len(table)), rest


def _end(study: Study, sampler: optuna.samplers.BaseSampler, trial: FrozenTrial, state: TrialState) -> None:
    values = trial.values
    trial.state = state
    sampler.after_trial(study, trial, state, values)  # type: ignore[arg-type]
