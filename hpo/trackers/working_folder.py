"""Watch over the driver's working folder, which its workers and helpers begin in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hpo.machine.working_folder import leave_removed
from hpo.trackers.base import Progress, Tracker
from hpo.trial import Job, Outcome


class WorkingFolder(Tracker):
    """Tracker that looks before and after each trial whether the working folder is there; else another one is taken.

    A run may take days: a queue's temporary folder, or one that its user tidies away, is removed meanwhile.

    Args:
        directory: the study's folder, to go on in.
        say: called with a sentence for the user.
    """

    def __init__(self, directory: Path, say: Callable[[str], None]) -> None:
        self._directory, self._say = directory, say

    def trial_started(self, job: Job) -> None:
        """Look before a worker starts."""
        self._look()

    def trial_finished(self, job: Job, outcome: Outcome, progress: Progress) -> None:
        """Look before others note the end, and before the report."""
        self._look()

    def close(self) -> None:
        """Look before others write what is left."""
        self._look()

    def _look(self) -> None:
        if sentence := leave_removed(self._directory):
            self._say(sentence)
