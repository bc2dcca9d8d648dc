"""Trackers: write-only sinks that the Oracle calls in the driver.

A tracker that raises is logged once for each kind of error, and never fails a trial (see `Trackers`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpo.trial import Job, Outcome

if TYPE_CHECKING:
    from hpo.spec.models import StudySpec

_log = logging.getLogger("hpo")


@dataclass(frozen=True)
class Progress:
    """Progress of a study.

    `finished` = complete + pruned + failed counts against the budget; `requeued` attempts do not.

    Attributes:
        budget: Trials that the budget allows; None if it names no number of trials.
        complete: Trials that completed.
        pruned: Trials that were pruned.
        failed: Trials that failed.
        requeued: Attempts that were lost or interrupted, and are tried again, or that waited at a rung and went on.
        running: Trials that run now.
        best: Best value of the first metric; None until a trial completed.
        best_number: The trial that reached it.
    """

    budget: int | None
    complete: int
    pruned: int
    failed: int
    requeued: int
    running: int
    best: float | None
    best_number: int | None

    @property
    def finished(self) -> int:
        """Trials that count against the budget."""
        return self.complete + self.pruned + self.failed


class Tracker:
    """Tracker that does nothing; subclasses override what they write."""

    def study_started(self, progress: Progress) -> None:
        """Note the start of a run, before its first trial; `progress` counts earlier runs."""

    def study_extended(self, spec: StudySpec, progress: Progress) -> None:
        """Note that the budget has grown while the study runs; `spec` has the new one."""

    def trial_started(self, job: Job) -> None:
        """Note that a trial starts."""

    def reported(self, number: int, step: int, metrics: Mapping[str, float]) -> None:
        """Note the metrics that a trial reported for a step."""

    def trial_finished(self, job: Job, outcome: Outcome, progress: Progress) -> None:
        """Note how a trial ended."""

    def trial_promoted(self, outcome: Outcome, progress: Progress) -> None:
        """Note that a trial that ended so, pruned, does not count: it goes on under another number."""

    def message(self, text: str) -> None:
        """Take a sentence for the user: a repair, a retry, a stop."""

    def close(self) -> None:
        """Write what is left, at the end of a run."""


class Trackers(Tracker):
    """Several trackers as one: each call goes to all; what one raises is logged and kept from the others."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self._trackers = tuple(trackers)
        self._logged: set[str] = set()

    def _each(self, method: str, *args: object) -> None:
        for tracker in self._trackers:
            try:
                getattr(tracker, method)(*args)
            except Exception as error:
                what = f"{type(tracker).__name__}.{method}: {type(error).__name__}"
                if what not in self._logged:
                    self._logged.add(what)
                    _log.warning("%s: %s (said once; the study goes on)", what, error)

    def study_started(self, progress: Progress) -> None:
        """Pass the call on."""
        self._each("study_started", progress)

    def study_extended(self, spec: StudySpec, progress: Progress) -> None:
        """Pass the call on."""
        self._each("study_extended", spec, progress)

    def trial_started(self, job: Job) -> None:
        """Pass the call on."""
        self._each("trial_started", job)

    def reported(self, number: int, step: int, metrics: Mapping[str, float]) -> None:
        """Pass the call on."""
        self._each("reported", number, step, metrics)

    def trial_finished(self, job: Job, outcome: Outcome, progress: Progress) -> None:
        """Pass the call on."""
        self._each("trial_finished", job, outcome, progress)

    def trial_promoted(self, outcome: Outcome, progress: Progress) -> None:
        """Pass the call on."""
        self._each("trial_promoted", outcome, progress)

    def message(self, text: str) -> None:
        """Pass the call on."""
        self._each("message", text)

    def close(self) -> None:
        """Pass the call on."""
        self._each("close")
