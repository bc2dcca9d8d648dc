"""Job scripts, made from the templates of the queues."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2

from hpo import layout
from hpo.cluster import job_request
from hpo.cluster.job_request import JobRequest
from hpo.errors import InvalidJobRequest
from hpo.machine import start

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Script:
    """A job script.

    Attributes:
        path: File that it is written to.
        log: File for what it prints.
        text: Content.
    """

    path: Path
    log: Path
    text: str


def write(
    request: JobRequest,
    name: str,
    directory: Path,
    stamp: str,
    arguments: Sequence[str],
    cwd: Path,
    python: str,
    needs_gpu: bool,
) -> Script:
    """Return the script of a job that runs `hpo run`. Nothing is written to disk.

    Args:
        request: What the job asks of the queue.
        name: Name of the job.
        directory: Folder of the study.
        stamp: First part of the names of its files.
        arguments: Arguments of `hpo run`.
        cwd: Folder in which it is called.
        python: Interpreter.
        needs_gpu: True if trials use a GPU.

    Raises:
        InvalidJobRequest: A path cannot be written into a script, or PBS has no time limit.
    """
    jobs = directory / layout.JOBS
    path, log, token, ray_log = (jobs / f"{stamp}{suffix}" for suffix in (".sh", ".log", ".token", ".ray"))
    for written in (path, cwd):
        if not str(written).isprintable():
            raise InvalidJobRequest(f"the folder {str(written)!r} has a name that cannot be written into a job script")
    if request.queue == "pbs":
        if request.time is None:
            raise InvalidJobRequest(
                "--time is missing: PBS gives no notice before it ends a job, so the job must know its limit itself; "
                "expected --time 12:00:00, or time: 12:00:00 in the site file"
            )
        if shlex.quote(str(log)) != str(log):
            raise InvalidJobRequest(
                f"PBS takes no path such as {log}; expected a runs folder without spaces and quotes"
            )
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        # `{#` is in "${#hosts[@]}".
        comment_start_string="{##",
        comment_end_string="##}",
    )
    filters: dict[str, Callable[..., str]] = {
        "quote": lambda value: shlex.quote(str(value)),
        "directive": _directive,
        "days": job_request.days,
        "hours": job_request.hours,
    }
    templates.filters |= filters
    record = json.dumps({"queue": request.queue, "script": str(path), "command": "requeued by its script"})
    gpus = f" --num-gpus={request.gpus}" if request.gpus or not needs_gpu else ""
    text = templates.get_template(f"{request.queue}.sh").render(
        request=request,
        grace=request.seconds_of_grace,
        study=directory.name,
        name=name,
        script=path,
        log=log,
        token=token,
        ray_log=ray_log,
        record=record.removesuffix("}") + ", ",
        jobs_file=jobs / "jobs.jsonl",
        arguments=shlex.join(arguments),
        cwd=cwd,
        python=python,
        package_folder=start.folder_to_add(),
        ray_gpus=gpus,
        limit_by_signal=request.queue == "slurm",
        job_id={"slurm": "$SLURM_JOB_ID", "pbs": "$PBS_JOBID"}[request.queue or ""],
    )
    return Script(path, log, "\n".join(line.rstrip() for line in text.splitlines()) + "\n")


def _directive(path: Path) -> str:
    """Return a path for use after #SBATCH: `%` stands for itself, and spaces do not end it."""
    text = str(path).replace("%", "%%")
    if shlex.quote(text.replace("%", "")) == text.replace("%", ""):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
