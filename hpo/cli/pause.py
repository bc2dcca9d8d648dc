"""`hpo pause`: no new trials, until `hpo resume`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from hpo import layout
from hpo.cli.common import answer_or_error, find_study, follow_up, runs_option
from hpo.cli.complete import study_names
from hpo.cli.output import say


@click.command(
    epilog="""\b
Examples:
  hpo pause quickstart              running trials run to their end
  hpo pause quickstart --now        they end at their next report, and are retried
  hpo resume quickstart             the study goes on

\b
The driver stays where it is and waits; its GPUs are free once no trial runs.
It stays paused when its driver ends: `hpo run` waits too, and a job of a
queue ends at once (exit code 4).
"""
)
@click.argument("study", shell_complete=study_names)
@click.option("--now", is_flag=True, help="Running trials end at their next report and are retried later.")
@runs_option
def pause(study: str, now: bool, runs: Path) -> None:
    """Pause a study: no new trials start.

    STUDY is a name in the runs folder or a YAML. The study may run on any machine that sees the folder.
    """
    from hpo.control.client import pause as ask

    name = find_study(runs, study)
    answer, _ = ask(layout.study_directory(runs, name), now)
    say(f"{answer_or_error(answer)}. `{follow_up(f'resume {shlex.quote(name)}', runs)}` goes on")
