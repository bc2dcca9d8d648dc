"""Standing of a study: its counts, its best trial, what was spent and when it ends."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from hpo.analysis.confirmation import own_race
from hpo.analysis.forecast import rest_of
from hpo.analysis.formatting import duration, number, rough_duration
from hpo.analysis.records import StudyRecord, TrialRecord
from hpo.analysis.study_status import StudyStatus, study_status
from hpo.control.requests import read_steering
from hpo.errors import HpoError
from hpo.storage.budget import Span, wall_seconds
from hpo.storage.driver_lock import driver_text
from hpo.ui.live import LiveStudy, Snapshot

# An estimated end stands so long: it is of minutes, and estimating takes a moment.
_STANDS_SECONDS = 10.0


@dataclass(frozen=True)
class Standing:
    """Standing of a study.

    Attributes:
        snapshot: The study.
        state: running, paused, finished or stopped.
        counts: Its counts.
        best: The best value, with the name of its metric; empty without one.
        spent: What it took so far.
        left: When it is thought to end; empty where that is not known.
        driver: Who is at work on it; empty if nobody is.
        paused: Since when it is paused, and by whom; empty if it is not.
        trouble: Why the driver's state cannot be read; empty if it can.
    """

    snapshot: Snapshot
    state: str
    counts: StudyStatus
    best: str
    spent: str
    left: str
    driver: str
    paused: str
    trouble: str

    @property
    def mark(self) -> tuple[str, ...]:
        """Values that change when anything of it does that is shown, but for the time spent."""
        return (self.snapshot.version, self.left, self.paused, self.trouble)

    @property
    def share(self) -> float | None:
        """Part of the trials of the budget that has finished, 0 to 1; None without such a budget."""
        return min(1.0, self.counts.finished / self.counts.budget) if self.counts.budget else None


class Standings:
    """Standing of a study, worked out again when it has changed.

    Args:
        study: The study.
    """

    def __init__(self, study: LiveStudy) -> None:
        self._study = study
        self._lock = threading.Lock()
        self._kept: Standing | None = None
        self._left: tuple[float, float | None, float] = (float("-inf"), None, 0.0)

    def now(self) -> Standing:
        """Return where it stands now. Raises as `LiveStudy.now` does."""
        snapshot = self._study.now()
        with self._lock:
            running = snapshot.driver is not None
            if self._kept is None or running or self._kept.snapshot.version != snapshot.version:
                self._kept = self._standing(snapshot)
            return self._kept

    def _standing(self, snapshot: Snapshot) -> Standing:
        record, spec = snapshot.record, snapshot.spec
        known = self._kept
        same = known is not None and known.snapshot.version == snapshot.version
        counts = known.counts if known is not None and same else study_status(record, spec)
        paused, trouble = "", ""
        try:
            pause = read_steering(record.directory).paused
            paused = "" if pause is None else str(pause)
        except HpoError as error:
            trouble = str(error)
        state = "running"
        if paused:
            state = "paused"
        elif snapshot.driver is None:
            state = "finished" if counts.budget is not None and counts.finished >= counts.budget else "stopped"
        return Standing(
            snapshot,
            state,
            counts,
            _best(record, counts),
            _spent(snapshot),
            self._left_text(snapshot) if state == "running" else "",
            "" if snapshot.driver is None else driver_text(snapshot.driver),
            paused,
            trouble,
        )

    def _left_text(self, snapshot: Snapshot) -> str:
        """Return when a study that runs is thought to end: `about 12 min (10 min to 15 min)`."""
        now = time.time()
        estimated = self._left[0]
        if now - estimated > _STANDS_SECONDS:
            rest = rest_of(snapshot.record, snapshot.spec, now)
            self._left = (now, *((None, 0.0) if rest is None else (rest.seconds.middle, rest.seconds.high)))
        at, middle, high = self._left
        if middle is None:
            return ""
        passed = now - at
        usual, most = rough_duration(middle - passed), rough_duration(high - passed)
        return f"about {usual}" if usual == most else f"about {usual}, at most {most}"


def gpu_seconds_so_far(snapshot: Snapshot, trial: TrialRecord, now: float) -> float:
    """Return the GPU seconds that a running trial has cost."""
    return 0.0 if trial.started is None else max(0.0, now - trial.started) * snapshot.spec.engine.gpus


def _best(record: StudyRecord, counts: StudyStatus) -> str:
    """Return the best value; of a race none, whose best training has the luckiest seed."""
    if counts.best is None or own_race(record) is not None:
        return ""
    metric = record.metrics[0].name
    return f"{metric} {number(counts.best.values[metric])}"


def _spent(snapshot: Snapshot) -> str:
    record, now = snapshot.record, time.time()
    spans = [*record.spans, *(_running(record, snapshot, now))]
    gpu = sum(span.gpu_seconds for span in spans)
    text = duration(wall_seconds(spans))
    return f"{text}, {duration(gpu)} of GPU" if gpu else text


def _running(record: StudyRecord, snapshot: Snapshot, now: float) -> list[Span]:
    if snapshot.driver is None:
        return []
    return [
        Span(trial.started, max(now, trial.started), gpu_seconds_so_far(snapshot, trial, now))
        for trial in record.in_state("RUNNING")
        if trial.started is not None
    ]
