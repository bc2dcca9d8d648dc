"""The contract of a tracker: a write-only sink the Oracle calls, in the driver.

Every method does nothing here, so this class is the null tracker too. A tracker that raises is
logged once a kind of error and never fails a trial (see `Trackers`)."""

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
    """Where a study stands. `finished` = complete + pruned + failed counts against the budget;
    `requeued` attempts (lost or interrupted) do not. `best` is None until a trial completed,
    and with several metrics it is the first metric's best."""

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
        return self.complete + self.pruned + self.failed


class Tracker:
    def study_started(self, progress: Progress) -> None:
        """Once, before the first trial of this run; `progress` counts earlier runs."""

    def study_extended(self, spec: StudySpec, progress: Progress) -> None:
        """The budget has grown while the study runs; `spec` has the new one."""

    def trial_started(self, job: Job) -> None: ...

    def reported(self, number: int, step: int, metrics: Mapping[str, float]) -> None: ...

    def trial_finished(self, job: Job, outcome: Outcome, progress: Progress) -> None: ...

    def message(self, text: str) -> None:
        """A sentence for the user: a repair, a retry, a stop."""

    def close(self) -> None: ...


class Trackers(Tracker):
    """Passes each call on to all; what one raises is logged and kept from the others."""

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
        self._each("study_started", progress)

    def study_extended(self, spec: StudySpec, progress: Progress) -> None:
        self._each("study_extended", spec, progress)

    def trial_started(self, job: Job) -> None:
        self._each("trial_started", job)

    def reported(self, number: int, step: int, metrics: Mapping[str, float]) -> None:
        self._each("reported", number, step, metrics)

    def trial_finished(self, job: Job, outcome: Outcome, progress: Progress) -> None:
        self._each("trial_finished", job, outcome, progress)

    def message(self, text: str) -> None:
        self._each("message", text)

    def close(self) -> None:
        self._each("close")
