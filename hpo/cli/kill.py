"""`hpo kill`: end trials at once, for good."""

from __future__ import annotations

from pathlib import Path

import click

from hpo import layout
from hpo.cli.common import answer_or_error, find_study, how_to_continue, runs_option
from hpo.cli.complete import study_names, trial_numbers
from hpo.cli.output import say
from hpo.errors import HpoError


@click.command(
    epilog="""\b
Examples:
  hpo kill quickstart 7             `hpo status` says which run
  hpo kill quickstart 7 9

\b
What the trials reported is kept. So does the Fail button of optuna-dashboard.
"""
)
@click.argument("study", shell_complete=study_names)
@click.argument(
    "trials", metavar="N...", nargs=-1, required=True, type=click.IntRange(min=0), shell_complete=trial_numbers
)
@runs_option
def kill(study: str, trials: tuple[int, ...], runs: Path) -> None:
    """Kill running trials; they are not retried.

    They fail (cause: killed) and count against the budget. With the inline engine a trial ends at its next report.
    """
    from hpo.control.client import kill as ask

    name = find_study(runs, study)
    answer = ask(layout.study_directory(runs, name), sorted(set(trials)))
    if answer is None:
        raise HpoError(f"no driver is at work on study '{name}', so no trial runs. {how_to_continue(runs, name)}")
    say(answer_or_error(answer))
