"""Live display of a run on a terminal, whatever its size: it stays in place, messages scroll above it.

It is drawn four times a second at most, from what was counted as trials started, reported and ended: the time that a
drawing takes depends on what is shown, not on how many trials there are.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderableType, RenderResult
from rich.control import Control
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hpo.analysis.formatting import around, configuration, number, rough_duration
from hpo.analysis.formatting import duration as exact
from hpo.cli.best_table import varying
from hpo.cli.progress import Running, StudyProgress
from hpo.cli.run_summary import Best
from hpo.cli.sparkline import sparkline
from hpo.text import count, listing, presentable
from hpo.trackers.base import Progress
from hpo.trial import Job, Outcome

if TYPE_CHECKING:
    from hpo.analysis.records import StudyRecord
    from hpo.spec.models import StudySpec

_REFRESH_PER_SECOND = 4
# Messages that are printed again when the size of the terminal has changed.
_KEPT_MESSAGES = 5
# From so many lines on, parts of the display are set apart.
_ROOMY = 16
# Columns: of a curve, and of parameters at least.
_CURVE, _NARROW_CURVE, _LEAST_PARAMETERS = 16, 8, 10
_GAP = "  "


class LiveProgress(StudyProgress):
    """Progress as a display that stays in place on a terminal. Messages and failures scroll above it.

    Args:
        spec: the study.
        console: the terminal.
        seconds_left: as of `StudyProgress`.
        clock: seconds from any start.
        earlier: reads the study, if it has trials of earlier runs.
    """

    def __init__(
        self,
        spec: StudySpec,
        console: Console,
        seconds_left: Callable[[], float | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        earlier: Callable[[], StudyRecord] | None = None,
    ) -> None:
        super().__init__(spec, seconds_left, clock)
        self._console = console
        self._earlier = earlier
        # The Linux console's font lacks most block elements.
        self._ascii = not console.encoding.startswith("utf") or os.environ.get("TERM") == "linux"
        self._messages: deque[Text] = deque(maxlen=_KEPT_MESSAGES)
        # A thread of rich's draws the display while the driver's thread changes what it shows. So what both use is
        # replaced whole, never changed in place. With a lock instead, a message from a signal handler could hang.
        self._live = _ResizedLive(
            _Display(self), self._messages, console=console, refresh_per_second=_REFRESH_PER_SECOND, transient=True
        )

    def study_started(self, progress: Progress) -> None:
        """Show the display."""
        super().study_started(progress)
        if self._earlier is not None and progress.finished + progress.requeued:
            self.summary.take_in_earlier(self._earlier())
        self._live.start()

    def trial_finished(self, job: Job, outcome: Outcome, progress: Progress) -> None:
        """Show a failure above the display."""
        again = progress.requeued > self._progress.requeued
        super().trial_finished(job, outcome, progress)
        if outcome.state == "FAIL" and not again:
            self.message(self.ended(job, outcome))

    def message(self, text: str) -> None:
        """Print a message above the display."""
        shown = Text(self._encodable(presentable(text)))
        self._console.print(shown, soft_wrap=True)
        self._messages.append(shown)

    def close(self) -> None:
        """Remove the display."""
        self._live.stop()

    def display(self, width: int, height: int) -> Iterator[RenderableType]:
        """Yield the lines of the display: what does not fit is left out, the least needed first.

        Args:
            width: columns of the terminal.
            height: lines of the terminal; one is left to the cursor.
        """
        running, roomy = tuple(self._running.values()), height >= _ROOMY
        head: list[RenderableType] = [*self._bar(width), self._counts(len(running), width), self._best(width)]
        room = max(1, height - 1) - len(head) - (2 if roomy else 0)
        table = min(len(running) + 1, 4) if running else 0  # a title and three trials come before all else
        more: list[Text] = []
        for line in (self._ended(width), self._left(width)):
            if line is not None and room - table > 0:
                more.append(line)
                room -= 1
        groups = self._groups(width)
        shown = min(len(groups), max(room // 3, room - len(running) - 1))
        groups = [] if shown < len(groups) and shown < 2 else self._cut_groups(groups, shown)
        room -= len(groups)
        lines = [*([Text()] if roomy else []), *head[:-1], *more, head[-1], *groups]
        if running and room > 1:
            lines += [*([Text()] if roomy else []), *self._table(running, width, room - 1)]
        # On fewer lines than even this takes, the first ones are the most telling.
        yield from lines[: max(1, height - 1)]

    # --- the parts of the display

    def _bar(self, width: int) -> Iterator[RenderableType]:
        progress = self._progress
        word = f"{_GAP}{self.count} {'trial' if self.count == '1' else 'trials'}"
        name = self._cut(self.name, max(8, width - len(word)))
        bar: RenderableType = Text()
        if progress.budget is not None:
            bar = ProgressBar(total=max(progress.budget, 1), completed=progress.finished)
        line = Table.grid(padding=(0, 2), expand=True)
        line.add_column(no_wrap=True)
        line.add_column(ratio=1)
        times = self._times()
        finished = Text.assemble((name, "bold"), word)
        if cell_len(finished.plain) + 14 + len(times[0]) <= width:
            line.add_column(no_wrap=True)
            line.add_row(finished, bar, times[0])
            yield line
            return
        line.add_row(finished, bar)
        yield line
        yield Text(next((text for text in times if len(text) <= width), self._cut(times[-1], width)))

    def _times(self) -> list[str]:
        """Return the time that has passed and the estimate of the end, the longest wording first."""
        elapsed, remaining = exact(self.elapsed), self.remaining
        if remaining is None:
            return [elapsed]
        form = "%H:%M" if remaining.high < 12 * 3600 else "%a %H:%M"

        def at(left: float) -> str:
            return time.strftime(form, time.localtime(time.time() + left))

        left = f"{elapsed}, about {rough_duration(remaining.middle)} left"
        return [f"{left}, until {around(remaining, at)}", f"{left}, until {at(remaining.middle)}", left, elapsed]

    def _counts(self, running: int, width: int) -> Text:
        progress = self._progress
        counts = (
            (progress.complete, "complete", "green"),
            (progress.pruned, "pruned", "yellow"),
            (progress.failed, "failed", "red"),
            (progress.requeued, "requeued", "magenta"),
            (running, "running", "cyan"),
        )
        telling = [one for one in (counts[-1], *counts[:-1]) if one[0]]
        for shown in (counts, telling):
            for gap in ("   ", " "):
                line = Text(gap).join(Text(f"{n} {word}", style=colour if n else "dim") for n, word, colour in shown)
                if cell_len(line.plain) <= width:
                    return line
        return Text(self._cut(line.plain, width))

    def _ended(self, width: int) -> Text | None:
        ended = self.summary.ended.most_common()
        if not ended:
            return None
        return Text(self._cut(f"ended by {', '.join(f'{cause} {n}' for cause, n in ended)}", width), style="dim")

    def _left(self, width: int) -> Text | None:
        """Return what is left of the budget."""
        budget, parts = self._spec.search_budget, []
        if self._progress.budget is not None:
            left = self._progress.budget - self._progress.finished - len(self._running)
            parts.append(f"{count(max(0, left), 'trial')} to start")
        if self._seconds_left is not None:
            parts.append(rough_duration(self._seconds_left - self.elapsed))
        if budget.gpu_hours is not None:
            now, gpus = self._clock(), self._spec.engine.gpus
            spent = self.summary.gpu_seconds + gpus * sum(now - one.since for one in tuple(self._running.values()))
            parts.append(f"{number(max(0.0, budget.gpu_hours - spent / 3600), 3)} of {number(budget.gpu_hours)} GPU h")
        return Text(self._cut(f"budget left: {', '.join(parts)}", width), style="dim") if parts else None

    def _best(self, width: int) -> Text:
        if self._race is not None:
            trials = listing(sorted(self._race.trials))
            return Text(self._cut(f"trains trials {trials} of {self._race.study} again", width), style="dim")
        best, metric = self._progress.best, self.metrics[0].name
        if best is None:
            return Text(self._cut("no trial has completed yet", width), style="dim")
        value, trial = f" {number(best)}", f", trial {self._progress.best_number}"
        name = self._cut(metric, max(8, width - len("best ") - len(value) - len(trial)))
        found = Text.assemble(("best ", "bold"), (f"{name}{value}", "bold green"), trial)
        known, rest = self.summary.best, width - cell_len(found.plain)
        if known is not None and known.number == self._progress.best_number and known.params and rest > 4:
            params = varying(self._spec.space, known.params) or known.params
            found.append(self._cut(f": {configuration(params)}", rest), style="dim")
        return found

    def _groups(self, width: int) -> list[Text]:
        """Return a line for the best trial of each group, the best first; none where there is only one group."""
        groups = self.summary.groups
        if self._spec.group_by is None or self._race is not None or len(groups) < 2:
            return []
        cost = self.metrics[0].cost
        best: list[tuple[str, Best]] = [(name, one) for name, one in groups.items() if one is not None]
        best.sort(key=lambda one: (cost(one[1].value), one[1].number))
        rows = [(name, number(one.value), f"trial {one.number}") for name, one in best]
        rows += [(name, "", "none complete yet") for name, one in groups.items() if one is None]
        widths = [max(cell_len(cell) for cell in column) for column in zip(*rows, strict=True)]
        names = max(6, min(widths[0], width - widths[1] - widths[2] - 8))
        lines = []
        for place, (name, value, trial) in enumerate(rows):
            text = f"{_GAP}{self._padded(name, names)}{_GAP}{value.rjust(widths[1])}{_GAP}{trial.ljust(widths[2])}"
            rest = width - cell_len(text) - len(_GAP)
            if place < len(best) and rest >= _LEAST_PARAMETERS:
                params = configuration(varying(self._spec.space, best[place][1].params, self._spec.group_by))
                text += f"{_GAP}{self._cut(params, rest)}"
            lines.append(Text(self._cut(text.rstrip(), width), style="" if place < len(best) else "dim"))
        return lines

    def _cut_groups(self, groups: Sequence[Text], shown: int) -> list[Text]:
        if shown >= len(groups):
            return list(groups)
        return [*groups[: shown - 1], Text(f"{_GAP}and {len(groups) - shown + 1} more", style="dim")]

    def _table(self, running: Sequence[Running], width: int, rows: int) -> Iterator[Text]:
        """Yield a title and at most `rows` lines of running trials."""
        metric = self.metrics[0].name
        cut = len(running) > rows
        shown = running[: rows - 1] if cut else running
        now = self._clock()
        titles = ["trial", "epoch", metric, "time"]
        cells = [
            [
                str(one.job.number),
                "" if one.step is None else str(one.step),
                self._value(one),
                exact(now - one.since),
            ]
            for one in shown
        ]
        # The title gives way to the values, which are never cut by it.
        longest = max((cell_len(row[2]) for row in cells), default=0)
        titles[2] = self._cut(presentable(metric), max(longest, 12, min(cell_len(metric), width // 5)))
        widths = [max(cell_len(row[place]) for row in (titles, *cells)) for place in range(4)]
        rest = width - sum(widths) - 3 * len(_GAP)
        curve = _CURVE if width >= 100 else _NARROW_CURVE
        if rest < curve + len(_GAP):
            curve = 0
        rest -= curve + len(_GAP) if curve else 0
        params = rest - len(_GAP) if rest - len(_GAP) >= _LEAST_PARAMETERS else 0
        widths[2] = max(6, widths[2] + min(0, rest))
        yield self._row(titles, widths, "curve".ljust(curve) if curve else "", "parameters" if params else "", "dim")
        for one, row in zip(shown, cells, strict=True):
            line = sparkline(self._curves.get(one.job.number, ()), curve, ascii_only=self._ascii) if curve else ""
            text = self._cut(configuration(one.job.params), params) if params else ""
            yield self._row(row, widths, line.ljust(curve), text, "")
        if cut:
            yield Text(f"and {len(running) - len(shown)} more", style="dim")

    def _row(self, cells: Sequence[str], widths: Sequence[int], curve: str, params: str, style: str) -> Text:
        trial, epoch, metric, passed = cells
        parts = [trial.rjust(widths[0]), epoch.rjust(widths[1]), self._padded(metric, widths[2])]
        parts += [curve] if curve else []
        parts += [passed.rjust(widths[3]), params]
        return Text(_GAP.join(parts).rstrip(), style=style)

    def _value(self, trial: Running) -> str:
        """Return the value of the study's first metric if the trial reports it, else of what it reports, with name."""
        name = self.shown_metric(trial.metrics)
        if name is None:
            return ""
        value = number(float(trial.metrics[name]))
        return value if name == self.metrics[0].name else f"{self._cut(name, 20)} {value}"

    # --- text that fits

    def _encodable(self, text: str) -> str:
        encoding = self._console.encoding
        return text.encode(encoding, "replace").decode(encoding)

    def _cut(self, text: str, width: int) -> str:
        """Return a text that takes at most `width` columns."""
        text = self._encodable(presentable(text))
        if cell_len(text) <= width:
            return text
        return f"{set_cell_size(text, width - 3).rstrip()}..." if width > 6 else set_cell_size(text, width)

    def _padded(self, text: str, width: int) -> str:
        return set_cell_size(self._cut(text, width), width)


class _Display:
    """Content that is drawn anew at every refresh, so that the clocks go on between two reports."""

    def __init__(self, progress: LiveProgress) -> None:
        self._progress = progress

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from self._progress.display(*console.size)


class _ResizedLive(Live):
    """Live display that begins on an empty screen, with the last messages, when the terminal's size has changed.

    A terminal wraps what was drawn for another width in a way of its own, so that nothing is known of where it stands.
    """

    def __init__(self, display: _Display, messages: Sequence[Text], **options: object) -> None:
        super().__init__(display, **options)  # type: ignore[arg-type]
        self._messages = messages
        self._size: tuple[int, int] | None = None

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Return what is printed, and the display below it."""
        found = super().process_renderables(renderables)
        size = (self.console.size.width, self.console.size.height)
        if self.console.is_interactive and self._size is not None and size != self._size:
            found[:1] = [Control.home(), Control.clear(), *self._messages]
        self._size = size
        return found
