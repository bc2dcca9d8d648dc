"""Jobs of a study: runs/<study>/jobs/jobs.jsonl has a line for each that was submitted."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hpo import layout
from hpo.cluster import pbs, slurm
from hpo.cluster.job_request import QUEUES
from hpo.machine.files import parse_json, plain_opener, read_plain

JOBS_FILE = "jobs.jsonl"

# Of a study that was requeued often, so many are asked after.
_LAST = 10


@dataclass(frozen=True)
class Job:
    """A submitted job.

    Attributes:
        queue: slurm or pbs.
        id: Id that the queue gave it.
        submitted: Seconds since the epoch.
        script: Path of its script.
        command: Command that submitted it.
    """

    queue: str
    id: str
    submitted: float
    script: str
    command: str = ""

    @property
    def label(self) -> str:
        """Name for messages, such as `SLURM job 17`."""
        return f"{QUEUES[self.queue]} job {self.id}"

    @property
    def cancel_command(self) -> str:
        """Command that cancels the job."""
        return f"{'scancel' if self.queue == 'slurm' else 'qdel'} {self.id}"

    @property
    def watch_command(self) -> str:
        """Command that shows the job."""
        return f"{'squeue -j' if self.queue == 'slurm' else 'qstat'} {self.id}"

    def state(self) -> str | None:
        """Return PENDING, RUNNING and so on; None if the queue no longer has it or does not answer within 2 s."""
        return states_of([self]).get(self.id)


def record_job(study_directory: Path, job: Job) -> None:
    """Add a job to the list of its study."""
    with open(study_directory / layout.JOBS / JOBS_FILE, "a", encoding="utf-8", opener=plain_opener) as file:
        file.write(json.dumps(asdict(job)) + "\n")


def jobs_of(study_directory: Path) -> list[Job]:
    """Return the jobs of a study, the newest last; lines that hold no job are left out."""
    try:
        lines = read_plain(study_directory / layout.JOBS / JOBS_FILE).decode(errors="replace").splitlines()
    except OSError:
        return []
    return [job for line in lines if (job := _job(line)) is not None]


def _job(line: str) -> Job | None:
    try:
        entry = parse_json(line)
        job = Job(
            queue=str(entry["queue"]),
            id=str(entry["id"]),
            submitted=float(entry["submitted"]),
            script=str(entry["script"]),
            command=str(entry.get("command", "")),
        )
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return None
    return job if job.queue in QUEUES and job.id and math.isfinite(job.submitted) else None


def states_of(jobs: Sequence[Job]) -> dict[str, str]:
    """Return the states of the jobs that wait or run, by id; takes at most 2 s for each queue."""
    found: dict[str, str] = {}
    for name, queue in (("slurm", slurm), ("pbs", pbs)):
        ids = [job.id for job in jobs if job.queue == name][-_LAST:]
        if ids:
            found |= queue.states(ids)
    return found


def state_of(entry: Job | Mapping[str, Any]) -> str | None:
    """Return `Job.state` of a job, or of a line of jobs.jsonl."""
    job = entry if isinstance(entry, Job) else _job(json.dumps(dict(entry)))
    return None if job is None else job.state()


def active_jobs(jobs: Sequence[Job]) -> list[tuple[Job, str]]:
    """Return the jobs that wait or run, each with its state."""
    states = states_of(jobs)
    return [(job, states[job.id]) for job in jobs if job.id in states]
