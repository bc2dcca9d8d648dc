"""`hpo resume`: a paused study goes on."""

from __future__ import annotations

from pathlib import Path

import click

from hpo import layout
from hpo.cli.common import find_study, go_on, obeyed, runs_option


@click.command(
    epilog="""\b
Examples:
  hpo resume quickstart
  hpo resume quickstart && hpo submit quickstart.yaml --slurm
"""
)
@click.argument("study")
@runs_option
def resume(study: str, runs: Path) -> None:
    """Resume a paused study.

    If no driver is running, the next `hpo run` or `hpo submit` no longer waits.
    """
    from hpo.control.client import resume as ask

    name = find_study(runs, study)
    answer, driven = ask(layout.study_directory(runs, name))
    click.echo(obeyed(answer) if driven else f"{obeyed(answer)}. {go_on(runs, name)}")
