"""A study that is kept up to date: only what has changed is read again.

A trial that has ended is read once. Of those that run, the storage and the history are read again when they have
changed.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna

from hpo import layout
from hpo.analysis.records import StudyRecord, TrialRecord, record_of, steps_in, study_record
from hpo.search.study_view import trials_of, view_of
from hpo.spec.load import load_spec
from hpo.spec.models import StudySpec
from hpo.storage.driver_lock import driver_of
from hpo.storage.histories import Histories
from hpo.storage.journal_replay import NOTHING
from hpo.storage.open import open_storage, storage_file, storage_url

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from hpo.analysis.records import Alike
    from hpo.storage.history import Step

_NUMBERS = itertools.count(1)
# A storage and a driver are looked at no more often, however many pages are open.
LOOK_SECONDS = 1.0
# Files of a study, beside its histories, of which pages show something.
_SHOWN = (layout.STEERING, f"{layout.REPORT}.html", layout.JOBS)


@dataclass(frozen=True)
class Snapshot:
    """A study as it was when it was looked at.

    Attributes:
        record: All that is known of it.
        spec: What its study.yaml says.
        driver: Who is at work on it; None if nobody is.
        version: Changes when anything of it has changed.
        finished: Changes when a trial has ended.
    """

    record: StudyRecord
    spec: StudySpec
    driver: Mapping[str, Any] | None
    version: str
    finished: str


class SharedStorages:
    """Storages, each opened once for all of its studies."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[optuna.storages.BaseStorage, threading.RLock]] = {}
        self._lock = threading.Lock()

    def of(self, url: str) -> tuple[optuna.storages.BaseStorage, threading.RLock]:
        """Return a storage, and the lock of whoever reads it. Raises StorageError."""
        with self._lock:
            if url not in self._open:
                self._open[url] = (open_storage(url, readonly=True), threading.RLock())
            return self._open[url]


@dataclass
class _Kept:
    """Records read of a study, kept until its study.yaml changes."""

    spec: StudySpec
    view: optuna.Study
    lock: threading.RLock
    files: Sequence[str]  # of the storage, which change when it does; none of a server
    alike: Alike = field(default_factory=dict)
    records: list[TrialRecord] = field(default_factory=list)
    seen: dict[int, object] = field(default_factory=dict)  # of trials that have not ended, by number
    read: Callable[[FrozenTrial], Sequence[Step]] | None = None  # the steps of a trial
    place: object = None  # of the trials in their storage, which may be replaced
    place_number: int = 0
    record: StudyRecord | None = None
    number: int = 0  # of the record, among all of this process
    storage_mark: object = None


class LiveStudy:
    """A study of a runs folder.

    Args:
        runs: The runs folder.
        name: The study's name.
        storages: Storages that studies share.
        clock: Seconds from any start.
    """

    def __init__(
        self, runs: Path, name: str, storages: SharedStorages, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.name = name
        self.directory = layout.study_directory(runs, name)
        self._shown = [os.path.join(self.directory, name) for name in _SHOWN]
        self._runs = runs
        self._storages = storages
        self._clock = clock
        self._lock = threading.Lock()
        self._looked = float("-inf")
        self._snapshot: Snapshot | None = None
        self._kept: _Kept | None = None
        self._spec_mark: object = None

    def now(self) -> Snapshot:
        """Return the study as it is now.

        Raises:
            HpoError: It cannot be read; the sentence says why.
            OSError: The system refuses a file.
            KeyError: It is not in its storage.
        """
        with self._lock:
            if self._snapshot is None or self._clock() - self._looked >= LOOK_SECONDS:
                try:
                    self._snapshot = self._look()
                except Exception:
                    # It may have been deleted and made again.
                    self._snapshot = self._kept = None
                    self._snapshot = self._look()
                self._looked = self._clock()
            return self._snapshot

    def look_again(self) -> None:
        """Have the next `now` look, because something was changed."""
        with self._lock:
            self._looked = float("-inf")

    def _look(self) -> Snapshot:
        kept = self._up_to_date()
        changed = self._read_trials(kept)
        if changed or kept.record is None:
            trials = trials_of(kept.view)
            with kept.lock:
                kept.record = study_record(kept.view, kept.spec, self.directory, trials, tuple(kept.records))
            kept.number = next(_NUMBERS)
        driver = driver_of(self.directory)
        ended = sum(trial.state not in ("RUNNING", "WAITING") for trial in kept.records)
        finished = _digest(self._spec_mark, kept.place_number, ended)
        version = _digest(finished, kept.number, driver and sorted(driver.items()), *map(mark_of, self._shown))
        return Snapshot(kept.record, kept.spec, driver, version, finished)

    def _up_to_date(self) -> _Kept:
        """Return what is kept of the study; of one that was replaced nothing."""
        recorded = self.directory / layout.SPEC
        mark = mark_of(recorded)
        if self._kept is None or mark != self._spec_mark:
            spec = load_spec(recorded, locate=False)
            url = storage_url(spec, self._runs)
            storage, lock = self._storages.of(url)
            with lock:
                study = optuna.load_study(study_name=self.name, storage=storage)
            file = storage_file(url)
            files = [] if file is None else [str(file), f"{file}-wal"]
            self._kept, self._spec_mark = _Kept(spec, view_of(study), lock, files), mark
        return self._kept

    def _read_trials(self, kept: _Kept) -> bool:
        """Read the trials that are new or have not ended; return True if anything is different."""
        beside = tuple(map(mark_of, kept.files))
        unchanged = bool(beside) and kept.storage_mark == beside
        with kept.lock:
            if unchanged and not kept.seen:
                return False
            stored = trials_of(kept.view)
            trials = kept.view._storage.trials  # type: ignore[attr-defined]
            replaced = trials.version != kept.place or len(stored) < len(kept.records)
            if replaced or kept.read is None:
                kept.read = steps_in(Histories(self.directory, stored))  # the view goes on with its list of trials
                kept.place, kept.records, kept.seen = trials.version, [], {}
                kept.place_number = next(_NUMBERS)
            kept.storage_mark = beside
            changed = replaced
            for number in [*kept.seen, *range(len(kept.records), len(stored))]:
                changed = self._read_trial(kept, stored[number], kept.read) or changed
        return changed

    def _read_trial(self, kept: _Kept, trial: FrozenTrial, read: Callable[[FrozenTrial], Sequence[Step]]) -> bool:
        file = mark_of(layout.history_file(self.directory, trial.number))
        mark = (trial.state, len(trial.intermediate_values), len(trial.user_attrs), len(trial.params), file)
        if kept.seen.get(trial.number) == mark:
            return False
        if trial.state.is_finished():
            kept.seen.pop(trial.number, None)
            # The steps that pages show are those of its history; the storage is this process's own and writes nothing.
            trial.intermediate_values = NOTHING
        else:
            kept.seen[trial.number] = mark
        names = [metric.name for metric in kept.spec.metrics]
        record = record_of(trial, kept.spec, names, read, kept.alike)
        kept.records[trial.number : trial.number + 1] = [record]
        return True


def mark_of(path: str | Path) -> object:
    """Return what changes when a file does; None without it."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
