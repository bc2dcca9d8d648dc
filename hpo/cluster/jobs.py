"""The jobs of a study: runs/<study>/jobs/jobs.jsonl has a line for each that was submitted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hpo import layout
from hpo.cluster import pbs, slurm
from hpo.cluster.job_request import QUEUES

JOBS_FILE = "jobs.jsonl"

# Of a study that was requeued often, so many are asked after.
_LAST = 10


@dataclass(frozen=True)
class Job:
    """`queue`: slurm or pbs. `submitted`: seconds since the epoch. `command`: what submitted it."""

    queue: str
    id: str
    submitted: float
    script: str
    command: str = ""

    @property
    def label(self) -> str:
        """`SLURM job 17`"""
        return f"{QUEUES[self.queue]} job {self.id}"

    @property
    def cancel_command(self) -> str:
        return f"{'scancel' if self.queue == 'slurm' else 'qdel'} {self.id}"

    @property
    def watch_command(self) -> str:
        return f"{'squeue -j' if self.queue == 'slurm' else 'qstat'} {self.id}"

    def state(self) -> str | None:
        """PENDING, RUNNING and so on; None if the queue no longer has it, or cannot be asked here. At most 2 s."""
        return states_of([self]).get(self.id)


def note(study_directory: Path, job: Job) -> None:
    with (study_directory / layout.JOBS / JOBS_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(job)) + "\n")


def jobs_of(study_directory: Path) -> list[Job]:
    """The jobs that were submitted for a study, the newest last; lines that are no job's are left out."""
    try:
        lines = (study_directory / layout.JOBS / JOBS_FILE).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    return [job for line in lines if (job := _job(line)) is not None]


def _job(line: str) -> Job | None:
    try:
        entry = json.loads(line)
        job = Job(
            queue=str(entry["queue"]),
            id=str(entry["id"]),
            submitted=float(entry["submitted"]),
            script=str(entry["script"]),
            command=str(entry.get("command", "")),
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return job if job.queue in QUEUES and job.id else None


def states_of(jobs: Sequence[Job]) -> dict[str, str]:
    """The states of those that wait or run, by id, the newest ones asked after. At most 2 s a queue."""
    found: dict[str, str] = {}
    for name, queue in (("slurm", slurm), ("pbs", pbs)):
        ids = [job.id for job in jobs if job.queue == name][-_LAST:]
        if ids:
            found |= queue.states(ids)
    return found


def state_of(entry: Job | Mapping[str, Any]) -> str | None:
    """`Job.state` of a job, or of a line of jobs.jsonl."""
    job = entry if isinstance(entry, Job) else _job(json.dumps(dict(entry)))
    return None if job is None else job.state()


def alive(jobs: Sequence[Job]) -> list[tuple[Job, str]]:
    """The jobs that wait or run, each with its state."""
    states = states_of(jobs)
    return [(job, states[job.id]) for job in jobs if job.id in states]
