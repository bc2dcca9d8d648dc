"""`hpo stop`: end a run of a study from elsewhere."""

from __future__ import annotations

import time
from pathlib import Path

import click

from hpo import layout
from hpo.cli.common import answer_or_error, find_study, how_to_continue, runs_option
from hpo.cli.complete import study_names
from hpo.cli.output import say
from hpo.errors import HpoError, StudyNotFound
from hpo.text import count

_LOOK_SECONDS = 0.25


@click.command(
    epilog="""\b
Examples:
  hpo stop quickstart               trials end at their next report
  hpo stop quickstart --now         they end at once
  hpo stop quickstart --wait        returns when the report is written

\b
The next `hpo run` retries the trials that were running.
The driver exits with code 4, and a queue does not start its job again.
Exit code: 0 it is being stopped, or nothing runs; 1 a job still waits in a
queue (the command that cancels it is named), or the driver does not answer.
"""
)
@click.argument("study", shell_complete=study_names)
@click.option("--now", is_flag=True, help="End running trials at once, not at their next report.")
@click.option("--wait", is_flag=True, help="Return when the run has ended, and say where the study stands.")
@runs_option
def stop(study: str, now: bool, wait: bool, runs: Path) -> None:
    """Stop the run of a study, as Ctrl-C does.

    STUDY is a name in the runs folder or a YAML. The study may run on any machine that sees the folder.
    """
    from hpo.control.client import stop as ask
    from hpo.storage.driver_lock import driver_of

    try:
        name = find_study(runs, study)
    except StudyNotFound:
        # It may have been submitted, and not have begun yet.
        if not layout.study_directory(runs, study).joinpath(layout.JOBS).is_dir():
            raise
        _nobody(layout.study_directory(runs, study), study)
        return
    directory = layout.study_directory(runs, name)
    driver = driver_of(directory)
    answer = ask(directory, now)
    if answer is None:
        _nobody(directory, name)
        return
    say(answer_or_error(answer))
    if wait:
        # Not whoever comes after it: a further job may have waited for its end.
        while (there := driver_of(directory)) is not None and there == driver:
            time.sleep(_LOOK_SECONDS)
        say(_standing(runs, name))
    say(how_to_continue(runs, name))


def _nobody(directory: Path, name: str) -> None:
    """No driver; perhaps one will come from a queue."""
    from hpo.cluster.jobs import active_jobs, jobs_of

    nobody = f"no driver is at work on study '{name}'"
    if jobs := active_jobs(jobs_of(directory)):
        lines = [f"{job.label} is {state}; `{job.cancel_command}` cancels it" for job, state in jobs]
        raise HpoError("\n".join([f"{nobody}, but:", *lines]))
    say(f"{nobody}: there is nothing to stop")


def _standing(runs: Path, name: str) -> str:
    from hpo.analysis.records import records_of
    from hpo.cli.study_status import study_status
    from hpo.storage.load_study import load_study

    spec, stored = load_study(runs, name)
    now = study_status(records_of(stored, spec, layout.study_directory(runs, name), histories=False), spec)
    said = f"{now.total} finished: {now.complete} complete, {now.pruned} pruned, {now.failed} failed"
    return f"{said}; {count(now.waiting, 'trial')} in the queue" if now.waiting else said
