"""Display of `hpo run` while it runs: live on a terminal, plain lines elsewhere.

The estimated end assumes that trials go on finishing at the mean pace of this run.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import IO, TYPE_CHECKING, Any

from hpo import layout
from hpo.analysis.formatting import configuration, number
from hpo.analysis.formatting import duration as exact
from hpo.cli.common import metrics_text, rough_duration
from hpo.text import presentable
from hpo.trackers.base import Progress, Tracker
from hpo.trial import Job, Outcome

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.table import Table
    from rich.text import Text

    from hpo.spec.models import StudySpec

_REFRESH_PER_SECOND = 4
# Lines of the live display besides those of running trials, and one for the shell's cursor.
_FRAME = 9


@dataclass(frozen=True)
class Running:
    """Running trial, with its start by the display's clock, and the step of its last report with its metrics."""

    job: Job
    since: float
    step: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)


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
        self.name = spec.name
        self.started_trials = 0
        self._clock = clock
        self._began = clock()
        self._ask_seconds_left = seconds_left
        self._seconds_left: float | None = None
        self._progress = Progress(spec.planned_trials(), 0, 0, 0, 0, 0, None, None)
        self._finished_before = 0
        self._running: dict[int, Running] = {}
        self._best_params: Mapping[str, Any] = {}

    def study_started(self, progress: Progress) -> None:
        """Start the clock of this run."""
        self._began = self._clock()
        self._progress = progress
        self._finished_before = progress.finished
        self._seconds_left = self._ask_seconds_left()

    def study_extended(self, spec: StudySpec, progress: Progress) -> None:
        """Take in a budget that has grown."""
        self._progress = progress
        left = self._ask_seconds_left()
        self._seconds_left = None if left is None else left + self.elapsed  # counted from the start of this run

    def trial_started(self, job: Job) -> None:
        """Take in a trial that has started."""
        self.started_trials += 1
        self._running[job.number] = Running(job, self._clock())

    def reported(self, number: int, step: int, metrics: Mapping[str, float]) -> None:
        """Take in a report."""
        known = self._running[number]
        before = known.metrics if known.step == step else {}  # a step may be reported in pieces
        self._running[number] = replace(known, step=step, metrics={**before, **metrics})

    def trial_finished(self, job: Job, outcome: Outcome, progress: Progress) -> None:
        """Take in the end of a trial."""
        self._running.pop(job.number, None)
        self._progress = progress
        if progress.best_number == job.number:
            self._best_params = job.params

    @property
    def elapsed(self) -> float:
        """Seconds since the start of this run."""
        return self._clock() - self._began

    @property
    def remaining(self) -> float | None:
        """Seconds to the end of the budget at the pace of this run; None while that is unknown."""
        ends = [] if self._seconds_left is None else [self._seconds_left - self.elapsed]
        finished = self._progress.finished - self._finished_before
        if self._progress.budget is not None and finished > 0:
            ends.append((self._progress.budget - self._progress.finished) * self.elapsed / finished)
        return max(0.0, min(ends)) if ends else None

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
        best = "none complete yet"
        if progress.best is not None:
            best = f"best {number(progress.best)}, trial {progress.best_number}"
        left = "" if not self.remaining else f", about {rough_duration(self.remaining)} left"
        self.say(f"[{self.count}] {self.ended(job, outcome)} ({best}) {exact(outcome.seconds)}{left}")

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


class LiveProgress(StudyProgress):
    """Progress as a display that stays in place on a terminal. Messages and failures scroll above it."""

    def __init__(
        self,
        spec: StudySpec,
        console: Console,
        seconds_left: Callable[[], float | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        from rich.live import Live

        super().__init__(spec, seconds_left, clock)
        self._console = console
        # A thread of rich's draws the display while the driver's thread changes what it shows. So what both use is
        # replaced whole, never changed in place. With a lock instead, a message from a signal handler could hang.
        self._live = Live(_Display(self), console=console, refresh_per_second=_REFRESH_PER_SECOND, transient=True)

    def study_started(self, progress: Progress) -> None:
        """Show the display."""
        super().study_started(progress)
        self._live.start()

    def trial_finished(self, job: Job, outcome: Outcome, progress: Progress) -> None:
        """Show a failure above the display."""
        again = progress.requeued > self._progress.requeued
        super().trial_finished(job, outcome, progress)
        if outcome.state == "FAIL" and not again:
            self.message(self.ended(job, outcome))

    def message(self, text: str) -> None:
        """Print a message above the display."""
        self._console.print(presentable(text), markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Remove the display."""
        self._live.stop()

    def display(self, height: int) -> Iterator[RenderableType]:
        """Yield the lines of the display.

        Args:
            height: lines of the terminal.
        """
        from rich.text import Text

        running = tuple(self._running.values())
        yield Text()
        yield self._bar()
        yield self._counts(len(running))
        yield self._best()
        if running:
            yield Text()
            yield self._table(running, max(1, height - _FRAME))

    def _bar(self) -> Table:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        progress = self._progress
        line = Table.grid(padding=(0, 2), expand=True)
        line.add_column(no_wrap=True)
        line.add_column(ratio=1)
        line.add_column(no_wrap=True)
        finished = Text.assemble(
            (presentable(self.name), "bold"), f"  {self.count} {'trial' if self.count == '1' else 'trials'}"
        )
        bar: RenderableType = Text()
        if progress.budget is not None:
            bar = ProgressBar(total=max(progress.budget, 1), completed=progress.finished)
        remaining = self.remaining
        end = ""
        if remaining:
            clock = "%H:%M" if remaining < 12 * 3600 else "%a %H:%M"
            at = time.strftime(clock, time.localtime(time.time() + remaining))
            end = f", about {rough_duration(remaining)} left (until {at})"
        line.add_row(finished, bar, f"{exact(self.elapsed)}{end}")
        return line

    def _counts(self, running: int) -> Text:
        from rich.text import Text

        progress = self._progress
        counts = (
            (progress.complete, "complete", "green"),
            (progress.pruned, "pruned", "yellow"),
            (progress.failed, "failed", "red"),
            (progress.requeued, "requeued", "magenta"),
            (running, "running", "cyan"),
        )
        return Text("   ").join(Text(f"{n} {word}", style=colour if n else "dim") for n, word, colour in counts)

    def _best(self) -> Text:
        from rich.text import Text

        best, metric = self._progress.best, self.metrics[0].name
        if best is None:
            return Text("no trial has completed yet", style="dim")
        shown = presentable(f"{metric} {number(best)}")
        found = Text.assemble(("best ", "bold"), (shown, "bold green"), no_wrap=True, overflow="ellipsis")
        found.append(f", trial {self._progress.best_number}")
        if self._best_params:
            found.append(presentable(f": {configuration(self._best_params)}"), style="dim")
        return found

    def _table(self, running: Sequence[Running], rows: int) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
        table.add_column("trial", justify="right", no_wrap=True)
        table.add_column("epoch", justify="right", no_wrap=True)
        table.add_column("metric", no_wrap=True)
        table.add_column("time", justify="right", no_wrap=True)
        # The only column that gives way on a narrow terminal: cut by its cells, for rich shrinks
        # every column alike where none may wrap.
        table.add_column("parameters")
        now = self._clock()
        for trial in running[:rows]:
            epoch = "" if trial.step is None else str(trial.step)
            params = Text(presentable(configuration(trial.job.params)), no_wrap=True, overflow="ellipsis")
            table.add_row(str(trial.job.number), epoch, self._metric(trial), exact(now - trial.since), params)
        if len(running) > rows:
            table.add_row("...", "", f"and {len(running) - rows} more")
        return table

    def _metric(self, trial: Running) -> str:
        """Return the study's first metric if the trial reports it, else the first one that it reports."""
        names = [metric.name for metric in self.metrics if metric.name in trial.metrics] or list(trial.metrics)
        return presentable(metrics_text({name: trial.metrics[name] for name in names[:1]}))


class _Display:
    """Content that is drawn anew at every refresh, so that the clocks go on between two reports."""

    def __init__(self, progress: LiveProgress) -> None:
        self._progress = progress

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from self._progress.display(console.height)
