"""Histories of a study's trials: the rows of each that are its own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hpo import layout
from hpo.storage import history
from hpo.storage.history import Step, mark_of
from hpo.storage.segments import SegmentReader, segment_of
from hpo.storage.trial_attributes import JOB, ORIGIN, lost_attempts

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


class Histories:
    """Histories of a study.

    Args:
        directory: the study's folder.
        trials: all trials, in the order of their numbers.
    """

    def __init__(self, directory: Path, trials: Sequence[FrozenTrial]) -> None:
        self._directory = directory
        self._trials = trials
        self._segments = SegmentReader(directory)

    def path(self, trial: FrozenTrial) -> Path:
        """Return the file that has the history of a trial: its own, or a segment in which those of others are too."""
        own = layout.history_file(self._directory, trial.number)
        return segment_of(self._directory, trial.number) if self._in_segment(trial, own) else Path(own)

    def rows(self, trial: FrozenTrial) -> list[Step]:
        """Return the rows of a trial and of the lost attempts that it went on from, as they were written.

        Those of other trials are left out, of which another study of the same name or a swapped file may hold some.
        """
        own = layout.history_file(self._directory, trial.number)
        # In this order: a driver removes the file after it has written the segment.
        return history.rows(own, self._marks(trial)) or [*history.rows_of(self._in_segment(trial, own))]

    def read(self, trial: FrozenTrial) -> list[Step]:
        """Return the steps of a trial in ascending order, the rows of each put together (see `history.merge`)."""
        return history.merge(self.rows(trial))

    def foreign(self, trial: FrozenTrial) -> list[str]:
        """Return the marks in a trial's history that are neither its own nor those of its lost attempts."""
        own = layout.history_file(self._directory, trial.number)
        there = {row.owner for row in history.rows(own) if row.owner}
        return sorted(there - self._marks(trial))

    def _in_segment(self, trial: FrozenTrial, own: str) -> list[str]:
        """Return the lines of a trial in its segment; none if it has a file of its own."""
        if os.path.lexists(own) or not (mark := mark_in_storage(trial)):
            return []
        return self._segments.lines(trial.number, mark)

    def _marks(self, trial: FrozenTrial) -> set[str]:
        attempts = (self._trials[number] for number in lost_attempts(trial.user_attrs.get(ORIGIN, {}), self._trials))
        return {mark for one in (trial, *attempts) if (mark := mark_in_storage(one))}


def mark_in_storage(trial: FrozenTrial) -> str:
    """Return the mark of a trial as its storage has it; empty if it has not started."""
    started = (trial.user_attrs.get(JOB) or {}).get("started")
    return "" if started is None else mark_of(trial.number, started)
