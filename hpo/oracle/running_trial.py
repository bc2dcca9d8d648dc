"""A running trial as the Oracle sees it, and the red flags that watch over it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna

from hpo import layout
from hpo.machine.files import write_atomically
from hpo.oracle.notices import TrialWatch
from hpo.red_flags.monitor import RedFlagMonitor, raised_from
from hpo.spec.models import StudySpec
from hpo.storage import history
from hpo.storage.faults import concerns_trial_alone
from hpo.storage.history import Step
from hpo.storage.trial_attributes import FLAGS, ORIGIN, SEGMENT, continued_from
from hpo.text import one_line
from hpo.trial import Job, Stop


@dataclass
class Attempt:
    """An attempt at a configuration, as the Oracle holds it.

    Attributes:
        origin: where its configuration came from (`trial_attributes.ORIGIN`).
    """

    trial: optuna.Trial
    job: Job
    origin: Mapping[str, Any]


@dataclass
class RunningTrial(Attempt):
    """A trial that an engine runs.

    Attributes:
        steps: those whose first metric Optuna was given.
        stop: the answer to a report that was to be the last, but for an interruption.
        fault: why what the trial says cannot be kept, so that it fails; or empty.
        lost: files of its folder that could not be written.
        waits: with its last report it came to a rung at which it is to wait (`hpo.oracle.promotions`).
        segment_end: the step at which it is ended as a segment of a member's training; None: it is not.
    """

    history: history.Writer
    monitor: RedFlagMonitor
    watch: TrialWatch
    steps: set[int] = field(default_factory=set)
    stop: Stop | None = None
    fault: str = ""
    lost: set[str] = field(default_factory=set)
    waits: bool = False
    segment_end: int | None = None

    @property
    def segment(self) -> Mapping[str, Any]:
        """Its place in a population (`trial_attributes.SEGMENT`); empty without one."""
        place: Mapping[str, Any] = self.origin.get(SEGMENT, {})
        return place

    @property
    def continued(self) -> Mapping[str, Any]:
        """The place from which a person had it go on; empty of any other trial."""
        return continued_from({ORIGIN: self.origin})

    def keep(self, what: str, write: Callable[[], object]) -> str:
        """Write a file of the trial's folder.

        Args:
            what: what is written, in a word.
            write: writes it.

        Returns:
            Why it cannot be kept, the first time; else an empty string.

        Raises:
            OSError: the disk is to blame, so that no other trial could be written either.
        """
        try:
            write()
        except OSError as error:
            if not concerns_trial_alone(error, self.job.directory):
                raise
            if what not in self.lost:
                self.lost.add(what)
                return f"the {what} of trial {self.job.number} cannot be kept: {one_line(error)}"
        return ""

    def write_error(self, text: str) -> None:
        """Write a traceback, or the whole of a reason that was cut. Nothing is written if it is empty."""
        if text:
            layout.make_trial_directory(self.job.directory)
            write_atomically(self.job.directory / layout.ERROR, text)  # a pipe in its place would wait for a reader


def monitor_of(
    spec: StudySpec, job: Job, started: float, earlier: Sequence[Step], lost: Mapping[str, Any]
) -> RedFlagMonitor:
    """Return the red flags over a trial.

    Args:
        spec: has the rules.
        job: the trial.
        started: when it starts, in seconds since the epoch.
        earlier: the rows that its earlier attempts reported. Their time counts from their first report on.
        lost: attributes of the last of these attempts, with the red flags that it raised.
    """
    times: dict[int, list[float]] = {}
    for step in earlier:
        times.setdefault(step.attempt, []).append(step.time)
    seconds = sum(max(each) - min(each) for each in times.values())
    first = spec.metrics[0]
    monitor = RedFlagMonitor(
        spec.red_flags, job.params, job.constants, first.name, first.direction == "maximize", started, seconds
    )
    monitor.raised += map(raised_from, lost.get(FLAGS, ()))
    return monitor
