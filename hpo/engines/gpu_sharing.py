"""How trials share GPUs: as study.yaml says, or as measured (`gpu: auto`)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpo.trial import OUT_OF_MEMORY, PREEMPTED, Job, Outcome, Report

if TYPE_CHECKING:
    from hpo.engines.gpu_packing import Packer


class Sharing:
    """What study.yaml says: each place has its share, and every trial fits where a place is free."""

    # Whether every trial has the same share.
    fixed = True

    def share(self, job: Job, own: float) -> float:
        """The share of a GPU that the job gets, on whichever; `own` is what study.yaml says."""
        return own

    def fits(self, job: Job, gpu: str, own: float) -> float | None:
        """The share that the job gets of this GPU if it starts there now; None: it has to wait."""
        return own

    def started(self, job: Job, gpu: str, share: float) -> None:
        """A job has begun, on `gpu` (a label that no other GPU of the study has)."""

    def reported(self, report: Report) -> None:
        """A trial has said something."""

    def ended(self, outcome: Outcome) -> tuple[Outcome, float | None]:
        """A trial is over. Returns what is to be told of it, and the GPUs it held (None: what study.yaml says)."""
        return outcome, None


@dataclass
class _Placement:
    job: Job
    gpu: str
    share: float
    since: float  # when it was last heard of
    crowd: int = -1  # as which the GPU was then seen


class Measured(Sharing):
    """`gpu: auto`: who fits beside whom is up to a Packer, which learns from what the trials report."""

    fixed = False

    def __init__(self, packer: Packer, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._packer = packer
        self._say = say
        self._clock = clock
        self._shares: dict[str, float] = {}  # as they were said
        self._tenants: dict[int, _Placement] = {}
        # Counted up whenever somebody comes to a GPU or leaves it.
        self._crowds: dict[str, int] = {}

    def share(self, job: Job, own: float) -> float:
        return self._packer.share(job.params)

    def fits(self, job: Job, gpu: str, own: float) -> float | None:
        neighbours = [tenant for tenant in self._tenants.values() if tenant.gpu == gpu]
        if neighbours and self._packer.alone(job.params):
            return None
        wanted = self.share(job, own)
        return wanted if sum(map(self._held, neighbours)) + wanted <= 1 + 1e-9 else None

    def started(self, job: Job, gpu: str, share: float) -> None:
        self._tenants[job.number] = _Placement(job, gpu, share, self._clock())
        self._changed(gpu)

    def reported(self, report: Report) -> None:
        tenant = self._tenants[report.number]
        now, crowd = self._clock(), self._crowds[tenant.gpu]
        count = sum(other.gpu == tenant.gpu for other in self._tenants.values())
        # The first report of a trial has its start-up in it, and one during which somebody came or went is of neither.
        neighbours = count if crowd == tenant.crowd else None
        rate = report.metrics.get("samples_per_second") or 1 / max(now - tenant.since, 1e-9)
        self._packer.reported(report.number, tenant.job.params, report.gpu_memory or None, rate, neighbours)
        tenant.since, tenant.crowd = now, crowd
        self._tell(tenant.job)

    def ended(self, outcome: Outcome) -> tuple[Outcome, float | None]:
        tenant = self._tenants.pop(outcome.number, None)
        if tenant is None:  # lost before it was heard of
            return outcome, None
        self._changed(tenant.gpu)
        held = self._held(tenant)
        full = outcome.cause == OUT_OF_MEMORY
        if self._packer.finished(outcome.number, tenant.job.params, None, full, held):
            reason = f"{outcome.reason}, with {held:g} of a GPU; it is tried again with more of one"
            outcome = Outcome(outcome.number, "FAIL", cause=PREEMPTED, reason=reason, seconds=outcome.seconds)
        return outcome, held

    def _held(self, tenant: _Placement) -> float:
        """Its share now: the first trial of its kind had the GPU for itself only until its memory was known."""
        return self._packer.share(tenant.job.params) if tenant.share == 1.0 else tenant.share

    def _tell(self, job: Job) -> None:
        """Says what was decided for the group of a job, if that is new."""
        group, share = self._packer.group(job.params), self._packer.share(job.params)
        if share == self._shares.get(group, 1.0):
            return
        self._shares[group] = share
        (row,) = (row for row in self._packer.rows() if row.group == group)
        trials = "one trial has a GPU" if row.level == 1 else f"{row.level} trials share a GPU"
        self._say(f"{group}: {trials} from now on ({row.why})")

    def _changed(self, gpu: str) -> None:
        self._crowds[gpu] = self._crowds.get(gpu, 0) + 1
