"""Budget that a study has spent, by what its storage holds.

So a resumed study ends at the same total as an uninterrupted one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from operator import itemgetter
from typing import Any, NamedTuple, Protocol

from hpo.storage.trial_attributes import JOB, OUTCOME, imported_from


class Limits(Protocol):
    """Limits of a budget; None: no limit of that kind."""

    @property
    def trials(self) -> int | None:
        """Finished trials."""

    @property
    def hours(self) -> float | None:
        """Hours in which at least one trial runs."""

    @property
    def gpu_hours(self) -> float | None:
        """Hours of whole GPUs, over all trials."""

    @property
    def by(self) -> datetime | None:
        """The moment from which on no trial starts."""


class Span(NamedTuple):
    """Start and end of an attempt, and the GPU seconds that it cost.

    Attributes:
        started: seconds since the epoch, by the clock of its run (`run_clock`).
        finished: the same.
        gpu_seconds: seconds times the share of a GPU that it held.
        run: mark of the run; two runs may have had clocks that were apart.
    """

    started: float
    finished: float
    gpu_seconds: float
    run: str = ""


def span_of(attributes: Mapping[str, Any]) -> Span | None:
    """Return the span that the Oracle noted in a trial's attributes, or None if it never ended or was imported."""
    job, outcome = attributes.get(JOB), attributes.get(OUTCOME)
    if not job or not outcome or imported_from(attributes):
        return None
    return Span(job["started"], outcome["finished"], outcome["gpu_seconds"], job.get("run", ""))


def span_until(now: float, job: Mapping[str, Any], gpus: float) -> Span:
    """Return the span of an attempt that runs; nothing of it if the clock was set back since it started.

    Args:
        now: seconds since the epoch.
        job: what the Oracle noted when it started.
        gpus: the share of GPUs that it holds.
    """
    finished = max(now, job["started"])
    return Span(job["started"], finished, (finished - job["started"]) * gpus, job.get("run", ""))


def run_clock() -> Callable[[], float]:
    """Return a clock of seconds since the epoch that goes on evenly, whatever is done to the host's clock meanwhile.

    A clock that is set, or a host that sleeps, would otherwise spend the budget of a run at once, or never.
    """
    ahead = time.time() - time.monotonic()
    return lambda: ahead + time.monotonic()


def wall_seconds(spans: Iterable[Span]) -> float:
    """Return the seconds during which at least one attempt ran: of each run the length of the union of its spans.

    Nights in which no driver was running do not count.
    """
    total, ends = 0.0, dict[str, float]()
    for span in sorted(spans, key=itemgetter(0)):
        end = ends.get(span.run, float("-inf"))
        total += max(0.0, span.finished - max(span.started, end))
        ends[span.run] = max(end, span.finished)
    return total


def seconds_left(limits: Limits, spans: Iterable[Span], now: float) -> float | None:
    """Return the seconds in which trials may still start, by the limits of hours and of the clock; None without such.

    Args:
        limits: the budget.
        spans: those of finished and running attempts.
        now: seconds since the epoch.
    """
    ends = [] if limits.hours is None else [3600 * limits.hours - wall_seconds(spans)]
    ends += [] if limits.by is None else [limits.by.timestamp() - now]
    return max(0.0, min(ends)) if ends else None


def exhausted(limits: Limits, taken: int, spans: Iterable[Span], now: float) -> str:
    """Return why no further trial may start, or an empty string.

    Args:
        limits: the budget.
        taken: number of finished and running trials.
        spans: those of finished and running attempts; a running one ends now.
        now: seconds since the epoch.
    """
    if limits.by is not None and now >= limits.by.timestamp():
        return f"the time of the budget has come: {limits.by.astimezone():%Y-%m-%d %H:%M}"
    if limits.trials is not None and taken >= limits.trials:
        return f"the budget of {_amount(limits.trials, 'trial')} is spent"
    if limits.hours is None and limits.gpu_hours is None:
        return ""
    spans = list(spans)
    hours = wall_seconds(spans) / 3600
    if limits.hours is not None and hours >= limits.hours:
        return f"the budget of {_amount(limits.hours, 'hour')} is spent"
    gpu_hours = sum(span.gpu_seconds for span in spans) / 3600
    if limits.gpu_hours is not None and gpu_hours >= limits.gpu_hours:
        return f"the budget of {_amount(limits.gpu_hours, 'GPU hour')} is spent"
    return ""


def _amount(limit: float, unit: str) -> str:
    return f"{limit:.12g} {unit}{'' if limit == 1 else 's'}"
