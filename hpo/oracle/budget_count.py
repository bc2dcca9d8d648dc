"""Count of what a study has spent of its budget, over all its runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from optuna.trial import FrozenTrial, TrialState

from hpo.oracle.run_control import RunControl
from hpo.storage.budget import Span, exhausted, seconds_left, span_of, wall_seconds
from hpo.storage.contradiction import contradiction
from hpo.storage.trial_attributes import imported_from, outcome_of, requeued, waits
from hpo.trackers.base import Progress
from hpo.trial import KILLED, OBJECTIVE, OUT_OF_MEMORY, PRUNER, RED_FLAG, Outcome

_THIS_RUN = "this run"


@dataclass
class _Spent:
    """Seconds in which at least one attempt ran, and GPU seconds of all attempts."""

    seconds: float = 0.0
    gpu_seconds: float = 0.0


class BudgetCount:
    """Count trials, hours and GPU hours against the budget of `control.spec`.

    Attributes:
        done: why the budget is spent; empty while it is not.
        stopped: why the study stops before that; empty while it does not.

    Args:
        control: has the budget, which may be extended.
        trials: those of earlier runs.
        clock: seconds since the epoch.
    """

    def __init__(self, control: RunControl, trials: Iterable[FrozenTrial], clock: Callable[[], float]) -> None:
        self.done = ""
        self.stopped = ""
        self._control = control
        self._clock = clock
        self._metric = control.spec.metrics[0]
        self._names = [metric.name for metric in control.spec.metrics]
        self._progress = Progress(None, 0, 0, 0, 0, 0, None, None)
        self._killed = 0
        self._any_healthy = self._any_faulty = False
        self._started: dict[int, float] = {}  # when each running trial started
        self._at_once = 1  # the most trials that ran at a time
        earlier = [span for trial in trials if (span := self._take_in_earlier(trial)) is not None]
        self._earlier = _Spent(wall_seconds(earlier), sum(span.gpu_seconds for span in earlier))
        self._spent = _Spent()  # by the attempts of this run that have ended
        self._busy_since = 0.0  # when the first of those started that have run without a break since
        self._longest = max((span.finished - span.started for span in earlier), default=0.0)
        self._dearest = max((span.gpu_seconds for span in earlier), default=0.0)
        # Who starts a study again has looked at them, and has mended what they failed of.
        self._failed_before = self._progress.failed - self._killed

    @property
    def progress(self) -> Progress:
        """Progress of the study."""
        return replace(self._progress, running=len(self._started), budget=self._control.spec.planned_trials())

    @property
    def fallback_due(self) -> bool:
        """True while trials were faulty and none has yet been healthy.

        A trial is healthy if it completed, or was stopped only for being behind others. Trials that people killed are
        neither.
        """
        return self._any_faulty and not self._any_healthy

    def on_trial_started(self, number: int, started: float) -> None:
        """Count a trial as running from `started` on, in seconds since the epoch."""
        if not self._started:
            self._busy_since = started
        self._started[number] = started
        self._at_once = max(self._at_once, len(self._started))

    def on_trial_finished(self, outcome: Outcome, again: bool, finished: float, gpu_seconds: float) -> None:
        """Count a trial that has ended.

        Args:
            outcome: how it ended.
            again: it was queued again, so that this attempt does not count as a trial, only as time.
            finished: seconds since the epoch.
            gpu_seconds: seconds times the share of a GPU that it held.
        """
        self._longest = max(self._longest, finished - self._started.pop(outcome.number))
        self._dearest = max(self._dearest, gpu_seconds)
        self._spent.gpu_seconds += gpu_seconds
        if not self._started:
            self._spent.seconds += max(0.0, finished - self._busy_since)
        if again:
            self._count_requeued()
        else:
            self._count(outcome.number, outcome.state, outcome.cause, outcome.metrics.get(self._metric.name))

    def on_trial_promoted(self) -> None:
        """Count a pruned trial no longer: it goes on under another number."""
        self._progress = replace(self._progress, pruned=self._progress.pruned - 1)
        self._count_requeued()

    def spent(self, instead: int = 0) -> bool:
        """Return True if no further trial may start, and set `done` or `stopped` to the reason.

        Args:
            instead: number of finished trials that would count no longer.
        """
        limits, progress, now = self._control.spec.search_budget, self._progress, self._clock()
        self.done = exhausted(limits, progress.finished - instead + len(self._started), self._spans(now), now)
        # A trial that a person has killed says nothing about the others.
        failed = progress.failed - self._killed - self._failed_before
        if failed >= limits.failures and progress.failed == progress.finished:
            of_run = " of this run" if self._failed_before else ""
            which = f"trial{of_run}" if failed == 1 else f"{failed} trials{of_run} all"
            self.stopped = f"the first {which} failed (budget.failures = {limits.failures})"
        return bool(self.done or self.stopped)

    def trials_left(self) -> float:
        """Return how many further trials the budget allows, if all take as long as the longest so far."""
        limits, left = self._control.spec.search_budget, math.inf
        if limits.trials is not None:
            left = limits.trials - self._progress.finished - len(self._started)
        if limits.hours is None and limits.gpu_hours is None and limits.by is None:
            return left
        now, gpus = self._clock(), self._control.spec.engine.gpus
        spans, running = self._spans(now), max((now - started for started in self._started.values()), default=0.0)
        if (seconds := seconds_left(limits, spans, now)) is not None:
            longest = max(self._longest, running)
            left = min(left, seconds * self._at_once / longest if longest else math.inf)
        if limits.gpu_hours is not None:
            longest = max(self._dearest, running * gpus)
            seconds = 3600 * limits.gpu_hours - sum(span.gpu_seconds for span in spans)
            left = min(left, seconds / longest if longest else math.inf)
        return left

    def _spans(self, now: float) -> list[Span]:
        """Return a span of earlier runs and one of this run, that are as long and as dear as their attempts together.

        Those that run end now.
        """
        gpus, since = self._control.spec.engine.gpus, self._started.values()
        seconds = self._spent.seconds + (max(0.0, now - self._busy_since) if since else 0.0)
        gpu_seconds = self._spent.gpu_seconds + sum((now - started) * gpus for started in since)
        earlier = Span(0.0, self._earlier.seconds, self._earlier.gpu_seconds)
        return [earlier, Span(0.0, seconds, gpu_seconds, _THIS_RUN)]

    def _take_in_earlier(self, trial: FrozenTrial) -> Span | None:
        """Count a trial of an earlier run, and return its span."""
        if requeued(trial.user_attrs):
            self._count_requeued()
        elif trial.state.is_finished() or waits(trial):
            spec = self._control.spec
            believed = trial.state == TrialState.COMPLETE and not contradiction(trial, spec.space, self._names)
            value = trial.values[0] if believed else None
            if imported_from(trial.user_attrs):  # the best may be one of them; the budget pays for none
                self._note_best(trial.number, value)
            else:
                state = "PRUNED" if waits(trial) else trial.state.name  # so it ends, unless it goes on
                self._count(trial.number, state, outcome_of(trial).get("cause", ""), value)
        return span_of(trial.user_attrs)

    def _count_requeued(self) -> None:
        self._progress = replace(self._progress, requeued=self._progress.requeued + 1)

    def _count(self, number: int, state: str, cause: str, value: float | None) -> None:
        killed = cause == KILLED
        self._killed += killed
        self._any_healthy |= state == "COMPLETE" or cause == PRUNER
        self._any_faulty |= (state == "FAIL" and not killed) or cause in (RED_FLAG, OUT_OF_MEMORY, OBJECTIVE)
        progress = self._progress
        if state == "PRUNED":
            progress = replace(progress, pruned=progress.pruned + 1)
        elif state == "FAIL":
            progress = replace(progress, failed=progress.failed + 1)
        else:
            progress = replace(progress, complete=progress.complete + 1)
        self._progress = progress
        if state == "COMPLETE":
            self._note_best(number, value)

    def _note_best(self, number: int, value: float | None) -> None:
        cost, best = self._metric.cost, self._progress.best
        if value is not None and (best is None or cost(value) < cost(best)):
            self._progress = replace(self._progress, best=value, best_number=number)
