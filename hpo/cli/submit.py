"""`hpo submit`: a study as a job of SLURM or PBS."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpo.cli.common import (
    emit,
    follow_up,
    json_option,
    labelled,
    runs_option,
    set_option,
    study_file_argument,
    trials_option,
)
from hpo.cli.output import echo, echo_document, say, say_document
from hpo.text import count

if TYPE_CHECKING:
    from hpo.cluster.job_request import JobRequest
    from hpo.cluster.jobs import Job
    from hpo.cluster.submit import Submission


@click.command(
    epilog="""\b
Examples:
  hpo submit study.yaml --time 12:00:00 --gpus 2 --cpus 16 --partition gpu
  hpo submit study.yaml --pbs --time 12h --nodes 4 --gpus 4 --partition batch
  hpo submit study.yaml --time 24h --extra '--qos=long' --extra '--mail-type=END'
  hpo submit study.yaml --trials 200 --set constants.epochs=80
  hpo submit study.yaml --dry-run                 print the script, submit nothing

\b
The job runs `hpo run study.yaml`. Shortly before its time limit running trials
end at their next report and are saved; the job then goes back in the queue,
until the budget is spent. `hpo stop` ends it for good. Jobs of one study wait
for each other.

\b
Site file, for what is the same every time: $HPO_SITE, else
~/.config/hpo/site.yaml. Its keys are queue (slurm or pbs), setup (a list of
shell lines before hpo, such as module load), and the long options above.

\b
Exit code: 0 submitted, 1 the queue refused it, 2 the study or an option is wrong.
""",
)
@study_file_argument
@click.option("--slurm", "queue", flag_value="slurm", help="Submit with sbatch.")
@click.option("--pbs", "queue", flag_value="pbs", help="Submit with qsub.  [default: the one that is here]")
@click.option("--nodes", type=int, metavar="N", help="Nodes; with several, Ray runs over them.  [default: 1]")
@click.option("--gpus", type=int, metavar="N", help="GPUs of each node.")
@click.option("--cpus", type=int, metavar="N", help="CPUs of each node.  [default: what engine.workers need]")
@click.option("--mem", metavar="SIZE", help="Memory of each node, such as 64G.")
@click.option("--time", metavar="TIME", help="Time limit: 12:00:00, 1-12:00:00, 90m, 12h.")
@click.option("--partition", metavar="NAME", help="Partition; with PBS, the queue.")
@click.option("--account", metavar="NAME", help="Account that pays.")
@click.option("--extra", multiple=True, metavar="OPTION", help="Option of the queue itself, such as '--qos=long'.")
@click.option("--grace", type=int, metavar="SECONDS", help="Time to save before the limit.  [default: a tenth of it]")
@click.option("--requeues", type=int, metavar="N", help="Times it goes back in the queue at most.  [default: 100]")
@set_option
@trials_option
@runs_option
@click.option("--dry-run", is_flag=True, help="Print the script and change nothing.")
@json_option
@click.pass_context
def submit(
    context: click.Context,
    /,
    study: str,
    overrides: tuple[str, ...],
    trials: int | None,
    runs: Path,
    dry_run: bool,
    as_json: bool,
    **given: Any,
) -> int:
    """Submit a study to SLURM or PBS.

    The study is checked first. The job is put in the queue again until its budget is spent.
    """
    from hpo.cluster import submit as action

    settings = overrides if trials is None else (*overrides, f"budget.trials={trials}")
    submission = action.prepare(study, settings, _request(given), runs)
    for sentence in submission.warnings:
        echo(f"warning: {sentence}", err=True)
    if dry_run:
        if as_json:
            emit(_document(submission, None) | {"script_text": submission.script.text})
        else:
            echo_document(submission.script.text, nl=False)
        return 0
    job = action.submit(submission, shlex.join(context.obj or ("hpo", *sys.argv[1:])))
    if as_json:
        emit(_document(submission, job), say_document)
    else:
        say(_text(submission, job, runs))
    return 0


def _request(given: dict[str, Any]) -> JobRequest:
    """Return the request of the site file, with what the command line gives."""
    from pydantic import ValidationError

    from hpo.cluster.job_request import JobOptions
    from hpo.cluster.site import site_request
    from hpo.errors import InvalidJobRequest
    from hpo.validation import problems_in

    try:
        options = JobOptions.model_validate({name: value for name, value in given.items() if value != ()})
    except ValidationError as error:
        sentences = [f"--{keys[0]}: {message}" for keys, message in problems_in(error, JobOptions)]
        raise InvalidJobRequest("\n".join(sentences)) from None
    return site_request().updated(options)


def _text(submission: Submission, job: Job, runs: Path) -> str:
    from hpo.cluster.job_request import hours

    request = submission.request
    each = " each" if request.nodes > 1 else ""
    asked = [
        count(request.nodes, "node"),
        f"{count(request.cpus, 'CPU')}{each}" if request.cpus else "",
        f"{count(request.gpus, 'GPU')}{each}" if request.gpus else "",
        f"{request.mem}{each}" if request.mem else "",
        hours(request.time) if request.time else "",
    ]
    study = shlex.quote(submission.study)
    lines = [("submitted", f"{job.label} ({', '.join(filter(None, asked))})")]
    if submission.earlier:
        waited = ", ".join(f"{one.label} ({state})" for one, state in submission.earlier)
        lines.append(("waits", f"for {waited}, submitted earlier for this study"))
    lines += [
        ("script", job.script),
        ("log", str(submission.script.log)),
        ("watch", follow_up(f"status {study}", runs)),
        ("", follow_up(f"logs {study} --follow", runs)),
        ("", job.watch_command),
        ("stop", follow_up(f"stop {study}", runs)),
    ]
    return labelled(lines)


def _document(submission: Submission, job: Job | None) -> dict[str, Any]:
    return {
        "study": submission.study,
        "queue": submission.request.queue,
        "job": job and job.id,
        "script": submission.script.path,
        "log": submission.script.log,
        "nodes": submission.request.nodes,
        "cpus": submission.request.cpus,
        "gpus": submission.request.gpus,
        "time": submission.request.time,
        "grace": submission.request.seconds_of_grace,
        "waits_for": [{"job": one.id, "state": state} for one, state in submission.earlier],
        "warnings": list(submission.warnings),
    }
