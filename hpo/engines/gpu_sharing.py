"""Sharing of GPUs among trials: as study.yaml says, or as measured (`gpu: auto`)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpo.trial import OUT_OF_MEMORY, PREEMPTED, Job, Outcome, Report

if TYPE_CHECKING:
    from hpo.engines.gpu_packing import Packer


class Sharing:
    """Sharing as study.yaml says: each place has its share, and every trial fits where a place is free.

    Attributes:
        fixed: every trial has the same share.
    """

    fixed = True

    def share(self, job: Job, own: float) -> float:
        """Return the share of a GPU that a job gets, on whichever GPU.

        Args:
            job: the trial.
            own: the share that study.yaml says.
        """
        return own

    def fits(self, job: Job, gpu: str, own: float) -> float | None:
        """Return the share of a GPU that a job gets if it starts there now; None: it has to wait.

        Args:
            job: the trial.
            gpu: a label that no other GPU of the study has.
            own: the share that study.yaml says.
        """
        return own

    def started(self, job: Job, gpu: str, share: float) -> None:
        """Note that a job has started on a GPU with this share of it."""

    def reported(self, report: Report) -> None:
        """Note a report of a trial."""

    def ended(self, outcome: Outcome) -> tuple[Outcome, float | None]:
        """Note that a trial has ended.

        Returns:
            The outcome to tell the Oracle, and the share of GPUs that the trial held (None: as study.yaml says).
        """
        return outcome, None


@dataclass
class _Placement:
    """A trial on a GPU."""

    job: Job
    gpu: str
    share: float
    last_step: float  # when its last step was first reported, or its start; by the clock of `Measured`
    gpu_generation: int = -1  # the GPU's counter then
    step: int = -1


class Measured(Sharing):
    """Sharing of `gpu: auto`, where a Packer decides by what the trials report.

    Args:
        packer: decides which trials fit beside each other.
        say: gets sentences for the user.
        clock: seconds from any start.
    """

    fixed = False

    def __init__(self, packer: Packer, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._packer = packer
        self._say = say
        self._clock = clock
        self._announced: dict[str, float] = {}  # by group, the share that the user was told
        self._placements: dict[int, _Placement] = {}
        self._speed_reported = False  # the objective itself says how fast it is
        # Counted up whenever a trial starts or ends on a GPU.
        self._gpu_generations: dict[str, int] = {}

    def share(self, job: Job, own: float) -> float:
        """Return the share that the job's group asks for."""
        return self._packer.share(job.params)

    def fits(self, job: Job, gpu: str, own: float) -> float | None:
        """Return the share of this GPU if the trials there leave room, else None."""
        neighbours = [placement for placement in self._placements.values() if placement.gpu == gpu]
        if neighbours and self._packer.alone(job.params):
            return None
        wanted = self.share(job, own)
        return wanted if sum(map(self._held, neighbours)) + wanted <= 1 + 1e-9 else None

    def started(self, job: Job, gpu: str, share: float) -> None:
        """Note a trial on a GPU."""
        self._placements[job.number] = _Placement(job, gpu, share, self._clock())
        self._count_change(gpu)

    def reported(self, report: Report) -> None:
        """Give the packer the memory and speed of a trial."""
        placement = self._placements[report.number]
        now, generation = self._clock(), self._gpu_generations[placement.gpu]
        count = sum(other.gpu == placement.gpu for other in self._placements.values())
        # The time before a first report has the start-up in it, and one in which a trial came or went has no one count
        # of neighbours.
        neighbours = count if generation == placement.gpu_generation else None
        rate = report.metrics.get("samples_per_second")
        self._speed_reported |= bool(rate)
        begins = report.step != placement.step  # else it is a further piece of the step
        if begins and not self._speed_reported:
            rate = 1 / max(now - placement.last_step, 1e-9)
        self._packer.reported(report.number, placement.job.params, report.gpu_memory or None, rate, neighbours)
        if begins:
            placement.last_step, placement.gpu_generation, placement.step = now, generation, report.step
        self._announce(placement.job)

    def ended(self, outcome: Outcome) -> tuple[Outcome, float | None]:
        """Note the end of a trial. One that ran out of memory in a share of a GPU counts as preempted."""
        placement = self._placements.pop(outcome.number, None)
        if placement is None:  # it was lost before its first report
            return outcome, None
        self._count_change(placement.gpu)
        held = self._held(placement)
        out_of_memory = outcome.cause == OUT_OF_MEMORY
        if self._packer.finished(outcome.number, placement.job.params, None, out_of_memory, held):
            reason = f"{outcome.reason}, with {held:g} of a GPU; it is tried again with more of one"
            outcome = Outcome(outcome.number, "FAIL", cause=PREEMPTED, reason=reason, seconds=outcome.seconds)
        return outcome, held

    def _held(self, placement: _Placement) -> float:
        """Return its share now: the first trial of its group has a GPU to itself only until its memory is known."""
        return self._packer.share(placement.job.params) if placement.share == 1.0 else placement.share

    def _announce(self, job: Job) -> None:
        """Tell the user what was decided for the group of a job, if that is new."""
        group, share = self._packer.group(job.params), self._packer.share(job.params)
        if share == self._announced.get(group, 1.0):
            return
        self._announced[group] = share
        (row,) = (row for row in self._packer.rows() if row.group == group)
        trials = "one trial has a GPU" if row.level == 1 else f"{row.level} trials share a GPU"
        self._say(f"{group}: {trials} from now on ({row.why})")

    def _count_change(self, gpu: str) -> None:
        self._gpu_generations[gpu] = self._gpu_generations.get(gpu, 0) + 1
