"""Submission of a study as a job: checked, written as a script, given to the queue."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from types import ModuleType

from hpo import layout
from hpo.cluster import pbs, slurm
from hpo.cluster.job_request import JobRequest
from hpo.cluster.jobs import Job, active_jobs, jobs_of, record_job
from hpo.cluster.script import Script, write
from hpo.control.requests import read_steering
from hpo.errors import HpoError, InvalidJobRequest, StudyChanged
from hpo.machine.access import reason
from hpo.spec import identity
from hpo.spec.load import load_spec
from hpo.spec.models import StudySpec
from hpo.storage import trial_attributes
from hpo.storage.driver_lock import driver_of
from hpo.storage.load_study import load_study
from hpo.text import redact

_QUEUES: dict[str, ModuleType] = {"slurm": slurm, "pbs": pbs}


@dataclass(frozen=True)
class Submission:
    """A job that is ready to be submitted.

    Attributes:
        study: Name of the study.
        directory: Folder of the study.
        cwd: Folder in which the job runs.
        request: Request with the defaults filled in, except those of the queue.
        script: Script of the job.
        warnings: Sentences about what is probably a mistake.
        earlier: Jobs of the study that wait or run, with their states.
    """

    study: str
    directory: Path
    cwd: Path
    request: JobRequest
    script: Script
    warnings: tuple[str, ...]
    earlier: tuple[tuple[Job, str], ...]


def prepare(study: str, overrides: Sequence[str], request: JobRequest, runs: Path) -> Submission:
    """Check the study and the request, and make the script, but do not write it to disk.

    Raises:
        SpecError: The study has mistakes.
        StudyChanged: The study has trials of another search.
        InvalidJobRequest: The request cannot be met.
        HpoError: The runs folder cannot be read.
    """
    spec = load_spec(study, overrides)
    request = replace(request, queue=request.queue or _queue_here())
    if request.cpus is None and spec.engine.workers is not None:
        request = replace(request, cpus=ceil(spec.engine.workers / request.nodes) * (spec.engine.cpu or 1))
    for override in overrides:
        if redact(override) != override:
            raise InvalidJobRequest(
                f"--set {redact(override)}: a password would be written into the job script; leave it out, and give it "
                "where the database client looks for it ($PGPASSWORD, ~/.pgpass)"
            )
    if request.nodes > 1:
        if spec.engine.address is not None:
            raise InvalidJobRequest(
                f"engine.address is {spec.engine.address}, a Ray that runs already, so {request.nodes} nodes would be "
                "idle; leave it out to start Ray over them, or give --nodes 1 for the driver alone"
            )
        # The engine that the job will have, with the keys of this one.
        load_spec(study, [*overrides, "engine.name=ray", "engine.address=127.0.0.1:6379"])
    directory = layout.study_directory(runs, spec.name)
    _refuse_changes(spec, runs)
    cwd = Path.cwd()
    script = write(
        request,
        name=job_name(directory),
        directory=directory,
        stamp=_stamp(directory),
        arguments=_arguments(spec, overrides, runs),
        cwd=cwd,
        python=sys.executable,
        needs_gpu=bool(spec.engine.gpu),
    )
    earlier = tuple(active_jobs(jobs_of(directory)))
    warnings = (*_warnings(spec, request), *_conflicts(spec.name, directory, earlier))
    return Submission(spec.name, directory, cwd, request, script, warnings, earlier)


def submit(submission: Submission, command: str) -> Job:
    """Write the script and give it to the queue; `command` is recorded as what submitted it.

    Raises:
        HpoError: The queue refuses the job; the script is removed then.
    """
    script, queue = submission.script, submission.request.queue or ""
    try:
        script.path.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(script.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o700), "w", encoding="utf-8") as file:
            file.write(script.text)
    except OSError as error:
        raise HpoError(f"{script.path} cannot be written ({reason(error)}), so nothing was submitted") from None
    same = [job for job, _ in submission.earlier if job.queue == queue]
    try:
        number = _QUEUES[queue].submit(script.path, submission.cwd, same[-1].id if same else None)
    except HpoError:
        script.path.unlink()
        raise
    job = Job(queue, number, time.time(), str(script.path), redact(command))
    record_job(submission.directory, job)
    return job


def _conflicts(name: str, directory: Path, earlier: Sequence[tuple[Job, str]]) -> Iterator[str]:
    """Yield sentences about what may end the job as soon as it starts."""
    if read_steering(directory).paused:
        yield f"the study is paused, and its jobs end at once; `hpo resume {name}` goes on"
    driver = driver_of(directory)
    if driver is not None and not earlier:
        where = f"process {driver.get('pid', '?')} on {driver.get('host', '?')}"
        yield f"{where} is at work on the study; a job that starts before it has ended ends at once"


def job_name(directory: Path) -> str:
    """Return `hpo-<study>-<mark>`; the mark is different for each runs folder."""
    mark = hashlib.sha256(os.fsencode(directory.parent.resolve())).hexdigest()[:6]
    return f"hpo-{directory.name}-{mark}"


def _queue_here() -> str:
    here = [name for name, queue in _QUEUES.items() if shutil.which(queue.COMMAND)]
    if len(here) == 1:
        return here[0]
    commands = " and ".join(queue.COMMAND for queue in _QUEUES.values())
    found = "both are here" if here else "neither is here"
    raise InvalidJobRequest(
        f"which queue? Of the commands {commands} {found}; expected --slurm or --pbs, or queue: in the site file"
    )


def _arguments(spec: StudySpec, overrides: Sequence[str], runs: Path) -> list[str]:
    settings = [word for override in overrides for word in ("--set", override)]
    return [os.path.abspath(spec.source), "--runs", str(runs), *settings]


def _stamp(directory: Path) -> str:
    """Return a name made from the time that no other script of the study has."""
    now = time.strftime("%Y%m%d-%H%M%S")
    names = [now, *(f"{now}-{number}" for number in range(2, 1000))]
    return next(name for name in names if not (directory / layout.JOBS / f"{name}.sh").exists())


def _refuse_changes(spec: StudySpec, runs: Path) -> None:
    """Raises StudyChanged if the study has trials of another search, which the job would refuse to go on with."""
    try:
        stored = load_study(runs, spec.name)[1]
    except HpoError:
        return  # a new study, or one whose storage is not seen from here
    recorded = stored.user_attrs.get(trial_attributes.IDENTITY)
    changes = identity.changes(recorded, spec.identity()) if recorded else []
    # One none of whose trials has completed begins anew.
    if changes and any(trial.state.name == "COMPLETE" for trial in stored.get_trials(deepcopy=False)):
        raise StudyChanged(
            f"{spec.source}: study '{spec.name}' has trials, and what was searched has changed since:\n  "
            + "\n  ".join(changes)
            + f"\nUndo the change, or give it another name: --set name={spec.name}-2"
        )


def _warnings(spec: StudySpec, request: JobRequest) -> Iterator[str]:
    gpu = spec.engine.gpu
    typed = any("gpu" in option for option in request.extra)  # asked for in the queue's own words
    if (request.gpus or typed) and not gpu:
        yield "the job asks for GPUs, but engine.gpu is 0, so no trial sees one (--set engine.gpu=1)"
    if gpu and not request.gpus and not typed:
        yield f"engine.gpu is {gpu}, but the job asks for no GPU (--gpus 1)"
    if request.nodes > 1 and spec.engine.name == "inline":
        yield "engine is inline, which is for one process; on several nodes the study runs on Ray nevertheless"
    if request.time is None:
        yield "no --time is given, so the job has the limit of its partition"
    if request.nodes == 1 and spec.engine.workers is not None and request.cpus is not None:
        needed = spec.engine.workers * (spec.engine.cpu or 1)
        if request.cpus < needed:
            yield f"the engine's workers need {needed} CPUs, and the job asks for {request.cpus} (--cpus {needed})"
