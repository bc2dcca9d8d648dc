"""What the Oracle counts: how many trials ended how, and whether one has been healthy yet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from optuna.trial import FrozenTrial, TrialState

from hpo.spec.models import StudySpec
from hpo.storage.trial_attributes import outcome_of, requeued
from hpo.trackers.base import Progress
from hpo.trial import KILLED, OBJECTIVE, OUT_OF_MEMORY, PRUNER, RED_FLAG, Outcome


class Tally:
    """Over the trials of earlier runs, and those that are counted since.

    passed: a trial was healthy: it completed, or was stopped only for being behind others. ill: something was wrong
    with one itself. killed: how many a person ended."""

    def __init__(self, spec: StudySpec, trials: Iterable[FrozenTrial]) -> None:
        self.passed = self.ill = False
        self.killed = 0
        self._name = spec.metrics[0].name
        self._maximize = spec.metrics[0].direction == "maximize"
        self.progress = Progress(spec.planned_trials(), 0, 0, 0, 0, 0, None, None)
        for trial in trials:
            if requeued(trial.user_attrs):
                self.progress = replace(self.progress, requeued=self.progress.requeued + 1)
            elif trial.state.is_finished():
                cause = outcome_of(trial).get("cause", "")
                value = trial.values[0] if trial.state == TrialState.COMPLETE else None
                self._add(trial.number, trial.state.name, cause, value)

    def running(self, count: int) -> None:
        self.progress = replace(self.progress, running=count)

    def add(self, outcome: Outcome, again: bool) -> None:
        """`again`: the attempt does not count, its configuration is tried again."""
        if again:
            self.progress = replace(self.progress, requeued=self.progress.requeued + 1)
        else:
            self._add(outcome.number, outcome.state, outcome.cause, outcome.metrics.get(self._name))

    def _add(self, number: int, state: str, cause: str, value: float | None) -> None:
        self.passed = self.passed or state == "COMPLETE" or cause == PRUNER
        killed = cause == KILLED
        self.killed += killed
        self.ill = self.ill or (state == "FAIL" and not killed) or cause in (RED_FLAG, OUT_OF_MEMORY, OBJECTIVE)
        progress = self.progress
        if state == "PRUNED":
            self.progress = replace(progress, pruned=progress.pruned + 1)
        elif state == "FAIL":
            self.progress = replace(progress, failed=progress.failed + 1)
        else:
            self.progress = progress = replace(progress, complete=progress.complete + 1)
            best = progress.best
            if value is not None and (best is None or (value > best if self._maximize else value < best)):
                self.progress = replace(progress, best=value, best_number=number)
