"""Care for the values of `group_by`: at the end each has at least `min_complete` trials that ran to their end.

While the budget has room, the sampler and the pruner alone decide. The last trials go to the groups that are short, and
the pruner lets them run to their end: as many as are missing, and for each group that is short `min_complete` more,
since some may fail. They begin earlier by as much as trials have failed before.

A group in which every trial fails gets no more than that: where several groups are short, the one that was tried least
comes first.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from optuna.trial import FrozenTrial

from hpo.oracle.budget_count import BudgetCount
from hpo.spec.models import StudySpec
from hpo.storage.trial_attributes import ORIGIN, RETRY, outcome_of, requeued, waits
from hpo.trial import PRUNER, Outcome


class MinComplete:
    """Count of the complete trials of each group. In a study without `group_by` nothing is ever due.

    Args:
        spec: the study.
        budget: what is left.
        trials: those of earlier runs.
    """

    def __init__(self, spec: StudySpec, budget: BudgetCount, trials: Iterable[FrozenTrial]) -> None:
        self._name = spec.group_by or ""
        self._least = spec.min_complete
        self._budget = budget
        self._groups = spec.groups
        # Configurations that each group has; None: the study tries some again.
        self._cells: dict[Any, int] | None = None
        if spec.tries_each_once:
            self._cells = {group: spec.space.grid_size({self._name: group}) or 0 for group in self._groups}
        self._started: Counter[Any] = Counter()
        self._complete: Counter[Any] = Counter()
        self._lost: Counter[Any] = Counter()  # ended by something other than the pruner
        self._finished = 0
        self._running: dict[int, Any] = {}
        for trial in trials:
            if trial.state.is_finished() or waits(trial):
                self.on_trial_started(trial.number, trial.params, trial.user_attrs.get(ORIGIN, {}))
                cause = outcome_of(trial).get("cause", "")
                self._end(trial.number, trial.state.name, cause, requeued(trial.user_attrs))

    def on_trial_started(self, number: int, params: Mapping[str, Any], origin: Mapping[str, Any]) -> None:
        """Note a trial that starts.

        Args:
            number: the trial's.
            params: the trial's, by Optuna's names.
            origin: where it came from (`trial_attributes.ORIGIN`).
        """
        if self._name in params:
            self._running[number] = group = params[self._name]
            self._started[group] += origin.get("source") != RETRY

    def on_trial_finished(self, outcome: Outcome, again: bool) -> None:
        """Note how a trial has ended, and whether it was queued again, so that this attempt does not count."""
        self._end(outcome.number, outcome.state, outcome.cause, again)

    def on_trial_promoted(self, params: Mapping[str, Any]) -> None:
        """Note that a pruned trial with these parameters goes on, and counts when it has ended once more."""
        self._finished -= self._name in params

    def spares(self, number: int) -> bool:
        """Return True if the pruner is to let this running trial go on."""
        group = self._running.get(number)
        # The trial itself is one of those left.
        return self._missing(group) > 0 and (
            self._left() + 1 <= self._kept(self._groups) or self._cells_left(group) + 1 <= self._kept([group])
        )

    def wanted(self) -> list[Any]:
        """Return the groups that the next trial may be of, the neediest first; none while no group is due."""
        short = [group for group in self._groups if self._missing(group)]
        if not short or self._left() > self._kept(short):
            return []
        running = Counter(self._running.values())

        def need(group: Any) -> tuple[bool, int]:
            may_have = self._complete[group] + running[group]
            return may_have >= self._least, may_have + self._lost[group]

        return sorted(short, key=need)

    def _missing(self, group: Any) -> int:
        """Return how many complete trials a group still lacks."""
        return max(0, self._least - self._complete[group]) if group in self._groups else 0

    def _kept(self, groups: Iterable[Any]) -> float:
        """Return how many of the last trials are kept for those of these groups that are short."""
        short = [missing for group in groups if (missing := self._missing(group))]
        lost = sum(self._lost.values())
        return (sum(short) + self._least * len(short)) * (self._finished + 1) / (self._finished - lost + 1)

    def _left(self) -> float:
        """Return how many trials may still start."""
        left = self._budget.trials_left()
        return left if self._cells is None else min(left, sum(map(self._cells_left, self._groups)))

    def _cells_left(self, group: Any) -> float:
        return math.inf if self._cells is None else max(0, self._cells[group] - self._started[group])

    def _end(self, number: int, state: str, cause: str, again: bool) -> None:
        group = self._running.pop(number, None)
        if again or group is None:
            return
        self._finished += 1
        self._complete[group] += state == "COMPLETE"
        self._lost[group] += state == "FAIL" or (state == "PRUNED" and cause != PRUNER)
