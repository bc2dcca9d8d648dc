"""Trials of a study that wait at a rung of successive halving, each with its checkpoint, to go on or to be stopped.

A trial that waits has ended for its engine, and counts as pruned. In the storage its outcome is noted, and it is not
told: Optuna changes no trial that has ended. So whatever happens to the driver, the next one finds it waiting. If it
goes on, then as a further attempt under another number, which takes over its checkpoint and its history like one that
was interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from hpo.oracle.running_trial import Attempt, RunningTrial
from hpo.oracle.trial_files import TrialFiles
from hpo.search.halving import promotion_of
from hpo.spec.epochs import epochs_in
from hpo.spec.models import StudySpec
from hpo.storage.trial_attributes import JOB, ORIGIN, OUTCOME, SAMPLER, waits
from hpo.trial import PRUNER, Job, Outcome

JobOf = Callable[[int, Mapping[str, Any], Mapping[str, Any]], Job]


@dataclass
class WaitingTrial(Attempt):
    """A trial that waits: how it ended if it does not go on, and the note of that."""

    outcome: Outcome
    note: Mapping[str, Any]


class Promotions:
    """Trials that wait. In a study whose pruner has none wait, none does.

    Args:
        spec: the study.
        study: its Optuna study.
        trials: those of earlier runs.
        files: those of the trials.
    """

    def __init__(self, spec: StudySpec, study: optuna.Study, trials: Iterable[FrozenTrial], files: TrialFiles) -> None:
        self._metric, self._group_by = spec.metrics[0], spec.group_by
        self._study, self._files = study, files
        self._promotion = promotion_of(spec, study.pruner)
        self._waiting: dict[int, WaitingTrial] = {}
        self._groups: dict[int, Any] = {}  # of the trials of this run
        if self._promotion is not None:
            self._promotion.load(trials, self._group_by, self._metric.cost(1.0))

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def numbers(self) -> set[int]:
        """Numbers of the trials that wait."""
        return set(self._waiting)

    def reported(self, running: RunningTrial, step: int, value: float) -> None:
        """Take in the first metric of a step."""
        if self._promotion is None:
            return
        number = running.job.number
        if number not in self._groups:  # Optuna copies the parameters each time
            self._groups[number] = running.trial.params.get(self._group_by) if self._group_by else None
        self._promotion.reported(number, self._groups[number], step, self._metric.cost(value))

    def has_wait(self, running: RunningTrial, step: int) -> bool | None:
        """Return True if a trial is to wait after its last report, False if it goes on.

        None: it cannot wait, for it has saved no checkpoint, so that the pruner decides.
        """
        if self._promotion is None or not self._files.has_checkpoint(running.job.directory):
            return None
        epochs = epochs_in({**running.job.constants, **running.job.params})
        # Steps count from 1, or from 0.
        at_end = epochs is not None and step + (0 in running.steps) >= epochs
        return not at_end and self._promotion.is_behind(running.job.number)

    def wait(self, trial: WaitingTrial) -> WaitingTrial | None:
        """Have a trial wait. Return the one that waits no longer, which is to be stopped; None: there is room."""
        assert self._promotion is not None
        number = trial.outcome.number
        self._waiting[number] = trial
        over = self._promotion.wait(number)
        return None if over is None else self._waiting.pop(over)

    def next(self, last: bool, rest: bool) -> WaitingTrial | None:
        """Return the trial that is to go on, which waits until `take`; None if there is none.

        Args:
            last: no new trial will come.
            rest: all that wait may go on.
        """
        number = None if self._promotion is None else self._promotion.next(last, rest)
        return None if number is None else self._waiting[number]

    def resume(self, trials: Iterable[FrozenTrial], job_of: JobOf) -> list[WaitingTrial]:
        """Have those trials of earlier runs wait that did. Return those of them that are to be stopped.

        Args:
            trials: those of earlier runs.
            job_of: returns the job of a trial with a number, parameters and an origin.
        """
        dropped: list[WaitingTrial | None] = []
        for trial in filter(waits, trials):
            note, noted = trial.user_attrs[OUTCOME], trial.user_attrs.get(JOB) or {}
            origin = {"source": SAMPLER, "attempt": 1, **trial.user_attrs.get(ORIGIN, {})}
            seed = {"seed": noted["seed"]} if "seed" in noted else {}
            job = job_of(trial.number, noted.get("params", {}), origin | seed)
            reason, seconds = note.get("reason", ""), note.get("seconds", 0.0)
            outcome = Outcome(trial.number, "PRUNED", cause=PRUNER, reason=reason, seconds=seconds)
            waiting = WaitingTrial(optuna.Trial(self._study, trial._trial_id), job, origin, outcome, note)
            known = self._promotion is not None and self._promotion.is_at_rung(trial.number)
            dropped.append(self.wait(waiting) if known else waiting)
        return [one for one in dropped if one is not None]

    def take(self, number: int) -> None:
        """Take out a trial that goes on."""
        del self._waiting[number]
        self.failed(number)

    def failed(self, number: int) -> None:
        """Leave out a trial that failed or goes on under another number: others are not compared with it."""
        if self._promotion is not None:
            self._promotion.forget(number)

    def rest(self) -> list[WaitingTrial]:
        """Return all trials that wait, which wait no longer."""
        left, self._waiting = list(self._waiting.values()), {}
        for trial in left:
            assert self._promotion is not None
            self._promotion.withdraw(trial.outcome.number)
        return left
