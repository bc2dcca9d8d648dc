"""Control of a run: interrupt, pause, resume, kill a trial, extend the budget."""

from __future__ import annotations

import time
from collections.abc import Mapping

import optuna
from optuna.trial import TrialState

from hpo.spec.models import Budget, StudySpec
from hpo.storage.trial_attributes import ENDED_OUTSIDE
from hpo.trial import Stop

# Seconds between two looks at the storage for trials that somebody else has ended.
_STORAGE_CHECK_SECONDS = 2.0


class RunControl:
    """Requests to a run, for the Oracle and the engine to obey.

    `interrupt`, `pause`, `resume`, `kill`, `extend` and `running` may be called by any thread and by signal handlers:
    they only set flags. Everything else belongs to the thread that runs the engine.

    Attributes:
        spec: the study as it runs now. Only its budget ever changes.
        paused: no trial starts until `resume`.

    Args:
        spec: the study as the run starts.
        study: asked for trials that somebody else has ended.
        running: the running trials by number. The Oracle keeps it up to date.
    """

    def __init__(self, spec: StudySpec, study: optuna.Study, running: Mapping[int, object]) -> None:
        self.spec = spec
        self.paused = False
        self._study = study
        self._running = running
        self._interrupt_reason = ""
        self._pause_at_reports = False
        self._extended = False
        self._kill_reasons: dict[int, str] = {}
        self._next_check = time.monotonic() + _STORAGE_CHECK_SECONDS

    # --- for any thread

    def interrupt(self, reason: str) -> None:
        """Start no more trials, and end the running ones at their next report. They are queued again."""
        self._interrupt_reason = reason

    def pause(self, now: bool = False) -> None:
        """Start no more trials until `resume`.

        Args:
            now: end the running trials at their next report and queue them again, instead of letting them finish.
        """
        self.paused, self._pause_at_reports = True, now or self._pause_at_reports

    def resume(self) -> None:
        """Start trials again after a pause."""
        self.paused = self._pause_at_reports = False

    def kill(self, number: int, reason: str) -> bool:
        """End a running trial: it fails, counts, and is not retried. Return False if it is not running."""
        if number not in self._running:
            return False
        self._kill_reasons.setdefault(number, reason)
        return True

    def extend(self, budget: Budget) -> None:
        """Replace the study's budget from now on."""
        self.spec = self.spec.model_copy(update={"budget": budget})
        self._extended = True

    @property
    def interrupted(self) -> bool:
        """True once the run was interrupted."""
        return bool(self._interrupt_reason)

    @property
    def extended(self) -> bool:
        """True if the budget has grown since the last `take_extension`, so that there may be more to run."""
        return self._extended and not self.interrupted

    @property
    def running(self) -> tuple[int, ...]:
        """Numbers of the running trials, ascending."""
        return tuple(sorted(self._running))

    # --- for the engine and the Oracle

    def trials_to_kill(self) -> Mapping[int, str]:
        """Return the running trials to end now, as KILLED, each with the reason.

        An engine asks this in every turn of its loop. At most every two seconds it also looks into the storage for
        trials that were ended there.
        """
        now = time.monotonic()
        if self._running and now >= self._next_check:
            self._next_check = now + _STORAGE_CHECK_SECONDS
            alive = {trial.number for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))}
            for number in self._running.keys() - alive:
                self.on_ended_outside(number)
        return {number: reason for number, reason in tuple(self._kill_reasons.items()) if number in self._running}

    def on_ended_outside(self, number: int) -> str:
        """Note that somebody has ended a running trial in the storage. Return the reason to give."""
        return self._kill_reasons.setdefault(number, ENDED_OUTSIDE)

    def take_kill(self, number: int) -> str | None:
        """Return why a trial that has ended was to be killed, and forget it; None if it was not."""
        return self._kill_reasons.pop(number, None)

    def take_extension(self) -> bool:
        """Return True once after each `extend`."""
        extended, self._extended = self._extended, False
        return extended

    def interruption(self, number: int) -> Stop | None:
        """Return the answer to a report of trial `number` if it is to be queued again, else None."""
        if self._interrupt_reason:
            return Stop(self._interrupt_reason, interrupted=True)
        if self._pause_at_reports and number not in self._kill_reasons:
            return Stop("the study was paused at once", interrupted=True)
        return None
