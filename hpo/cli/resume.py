"""`hpo resume`: a paused study goes on."""

from __future__ import annotations

from pathlib import Path

import click

from hpo import layout
from hpo.cli.common import answer_or_error, find_study, how_to_continue, runs_option
from hpo.cli.complete import study_names
from hpo.cli.output import say


@click.command(
    epilog="""\b
Examples:
  hpo resume quickstart
  hpo resume quickstart && hpo submit quickstart.yaml --slurm
"""
)
@click.argument("study", shell_complete=study_names)
@runs_option
def resume(study: str, runs: Path) -> None:
    """Resume a paused study.

    If no driver is running, the next `hpo run` or `hpo submit` no longer waits.
    """
    from hpo.control.client import resume as ask

    name = find_study(runs, study)
    answer, driven = ask(layout.study_directory(runs, name))
    say(answer_or_error(answer) if driven else f"{answer_or_error(answer)}. {how_to_continue(runs, name)}")
