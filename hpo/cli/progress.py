"""Progress of a run as its trials start, report and end, and its display in plain lines; `hpo.cli.live` has the other.

The estimated end is that of `hpo.analysis.forecast`, by the trials that have finished in this run.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from hpo import layout
from hpo.analysis.forecast import (
    DRIFT_IN_RUN,
    Composition,
    Interval,
    Limits,
    Model,
    Timing,
    composition_of,
    epochs_of,
    group_of,
    shares_of,
    timing,
)
from hpo.analysis.formatting import around, number, rough_duration
from hpo.analysis.formatting import duration as exact
from hpo.cli.common import metrics_text
from hpo.cli.run_summary import RunSummary
from hpo.spec.racing import is_race, race_of
from hpo.text import presentable
from hpo.trackers.base import Progress, Tracker
from hpo.trial import Job, Outcome

if TYPE_CHECKING:
    from hpo.spec.models import StudySpec

# Draws of an estimated end, and seconds for which it stands: trials may take less than estimating takes.
_DRAWS, _STANDS_SECONDS = 200, 2.0
# Trials that an end is estimated by: the last ones.
_MOST_TIMINGS = 500


@dataclass(frozen=True)
class Running:
    """Running trial.

    Attributes:
        job: The trial.
        since: Its start by the display's clock.
        place: How many trials of this run had started before.
        step: The step of its last report, with its metrics.
        reports: Its steps, each with the time of the first report.
    """

    job: Job
    since: float
    place: int = 0
    step: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    reports: dict[int, float] = field(default_factory=dict)


class StudyProgress(Tracker):
    """Progress of a run, kept up to date by the Oracle's calls. Subclasses show it.

    Args:
        spec: the study.
        seconds_left: returns what is left of the budget's hours, or None without such a limit. It is called when the
            run starts, and when its budget has grown.
        clock: seconds from any start.
    """

    def __init__(
        self,
        spec: StudySpec,
        seconds_left: Callable[[], float | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.metrics = spec.metrics
        self._spec = spec
        self.name = spec.name
        self.started_trials = 0
        self._clock = clock
        self._began = clock()
        self._ask_seconds_left = seconds_left
        self._seconds_left: float | None = None
        self._progress = Progress(spec.planned_trials(), 0, 0, 0, 0, 0, None, None)
        self._finished_before = 0
        self._running: dict[int, Running] = {}
        self._timings: list[tuple[int, Timing]] = []
        self._proposed: Counter[str] = Counter()
        self._composition: Composition | None = None
        self._at_once = 1
        self._promotes = False
        self._end: Interval | None = None  # by the display's clock
        self._estimated = -_STANDS_SECONDS
        self._curves: dict[int, list[float]] = {}
        self.summary = RunSummary(spec)
        # In a confirmation the best training is the luckiest one: none is named.
        self._race = race_of(spec) if is_race(spec) else None

    def study_started(self, progress: Progress) -> None:
        """Start the clock of this run."""
        self._began = self._clock()
        self._progress = progress
        self._seconds_left = self._ask_seconds_left()
        self._estimate()

    def study_extended(self, spec: StudySpec, progress: Progress) -> None:
        """Take in a budget that has grown."""
        self._progress, self._spec = progress, spec
        left = self._ask_seconds_left()
        self._seconds_left = None if left is None else left + self.elapsed  # counted from the start of this run
        self._estimate()

    def trial_started(self, job: Job) -> None:
        """Take in a trial that has started."""
        self._running[job.number] = Running(job, self._clock(), self.started_trials)
        self.started_trials += 1
        self._proposed[group_of(self._spec, job.params)] += 1
        self._at_once = max(self._at_once, len(self._running))

    def reported(self, number: int, step: int, metrics: Mapping[str, float]) -> None:
        """Take in a report."""
        known = self._running[number]
        before = known.metrics if known.step == step else {}  # a step may be reported in pieces
        known.reports.setdefault(step, self._clock())
        shown = self.shown_metric(metrics)
        if shown is not None and shown not in before:
            self._extend_curve(number, shown, known.metrics, metrics[shown])
        # `dataclasses.replace` takes five times as long, at each report.
        self._running[number] = Running(known.job, known.since, known.place, step, {**before, **metrics}, known.reports)

    def trial_finished(self, job: Job, outcome: Outcome, progress: Progress) -> None:
        """Take in the end of a trial."""
        known, again = self._running.pop(job.number, None), progress.requeued > self._progress.requeued
        self._progress = progress
        if known is not None and not again:
            self._measure(known, outcome.state == "COMPLETE")
        self._curves.pop(job.number, None)
        self.summary.take_in(job, outcome, again=again)
        if self._end is None or self._clock() - self._estimated >= _STANDS_SECONDS:
            self._estimate()

    def trial_promoted(self, outcome: Outcome, progress: Progress) -> None:
        """Take out a pruned trial that goes on under another number."""
        self._progress, self._promotes = progress, True
        self.summary.take_out(outcome)

    def shown_metric(self, metrics: Mapping[str, float]) -> str | None:
        """Return the study's first metric that is among these, else the first of these; None if there are none."""
        return next((metric.name for metric in self.metrics if metric.name in metrics), next(iter(metrics), None))

    def _extend_curve(self, number: int, name: str, before: Mapping[str, float], value: float) -> None:
        """Add a value to the curve of a running trial; a curve of another metric than before begins anew."""
        if number not in self._curves or (before and self.shown_metric(before) != name):
            self._curves[number] = []
        self._curves[number].append(value)

    @property
    def elapsed(self) -> float:
        """Seconds since the start of this run."""
        return self._clock() - self._began

    @property
    def remaining(self) -> Interval | None:
        """Seconds to the end of the last trial; None while that is unknown."""
        budget = self._progress.budget
        if self._end is None or (budget is not None and self._progress.finished >= budget and not self._running):
            return None
        return Interval(*(max(0.0, end - self._clock()) for end in self._end))

    def _measure(self, known: Running, whole: bool) -> None:
        """Take in what a trial took, with the start of its worker."""
        params, seconds = known.job.params, self._clock() - known.since
        epochs, reports = epochs_of(self._spec, params), list(known.reports.items())
        found = timing(group_of(self._spec, params), seconds, reports, epochs, whole=whole)
        if found is not None:
            self._timings.append((known.place, found))

    def _estimate(self) -> None:
        """Estimate the end by the trials of this run that have finished."""
        self._estimated = now = self._clock()
        limit, budget = self._seconds_left, self._progress.budget
        rest = self._promotes and self._spec.uses_rest  # those that wait go on when all were tried, to their ends
        done = self._progress.finished - (self._progress.pruned if rest else 0)
        left = None if budget is None else max(0, budget - done - len(self._running))
        limits = Limits(left, None if limit is None else max(0.0, limit - self.elapsed))
        # The first trial of a worker waits for its start.
        known = self._timings[-_MOST_TIMINGS:]
        starts = 0 if self._spec.starts_each_trial else self._at_once
        timings = [one._replace(first=place < starts) for place, one in known]
        if not timings or limits == Limits():
            self._end = None if limits.seconds is None else Interval(*[now + limits.seconds] * 3)
            return
        if self._composition is None:
            self._composition = composition_of(self._spec)
        composition = self._composition if rest else self._composition.with_trials(self._proposed)
        model = Model(timings, composition, [1.0] if rest else shares_of(timings), DRIFT_IN_RUN)
        running = [(group_of(self._spec, one.job.params), now - one.since) for one in self._running.values()]
        found = model.forecast(limits, self._at_once, running, _DRAWS)
        self._end = Interval(*(now + seconds for seconds in found.seconds))

    @property
    def count(self) -> str:
        """`12/48`, or `12` without a budget of trials."""
        finished, budget = self._progress.finished, self._progress.budget
        return f"{finished}" if budget is None else f"{finished}/{budget}"

    def ended(self, job: Job, outcome: Outcome) -> str:
        """One sentence on how a trial ended: `trial 11 COMPLETE val_ap 0.812`."""
        start = f"trial {job.number} {outcome.state}"
        if outcome.state == "COMPLETE":
            names = {metric.name: outcome.metrics[metric.name] for metric in self.metrics}
            return f"{start} {metrics_text(names)}"
        error = "" if not outcome.error else f" ({job.directory / layout.ERROR})"
        return f"{start} {outcome.reason}{error}"

    def _stands(self, job: Job) -> str:
        """Return the best trial so far; in a confirmation the trial that was trained again."""
        if self._race is not None:
            pairs = zip(self._race.trials, self._spec.enqueue, strict=True)
            return next((f"as trial {trial}" for trial, params in pairs if params.items() <= job.params.items()), "")
        if self._progress.best is None:
            return "none complete yet"
        return f"best {number(self._progress.best)}, trial {self._progress.best_number}"


class LineProgress(StudyProgress):
    """Progress as one line for each finished trial, given to `say`."""

    def say(self, line: str) -> None:
        """Show a line."""
        raise NotImplementedError

    def trial_finished(self, job: Job, outcome: Outcome, progress: Progress) -> None:
        """Show the end of a trial."""
        again = progress.requeued > self._progress.requeued
        super().trial_finished(job, outcome, progress)
        if again:
            return  # the Oracle's message says so
        remaining = self.remaining
        left = "" if remaining is None else f", about {around(remaining, rough_duration)} left"
        self.say(f"[{self.count}] {self.ended(job, outcome)} ({self._stands(job)}) {exact(outcome.seconds)}{left}")

    def message(self, text: str) -> None:
        """Show a message."""
        self.say(text)


class PlainProgress(LineProgress):
    """Progress in lines, for logs and pipes."""

    def __init__(
        self,
        spec: StudySpec,
        stream: IO[str],
        seconds_left: Callable[[], float | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(spec, seconds_left, clock)
        self._stream = stream

    def say(self, line: str) -> None:
        """Print a line."""
        # The reader of a pipe may have gone (`| head`), the disk be full: no reason to end hours of training.
        with contextlib.suppress(OSError):
            # Flushed at each line, so that a log shows a trial when it ends.
            print(presentable(line), file=self._stream, flush=True)
