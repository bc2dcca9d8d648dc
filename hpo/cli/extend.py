"""`hpo extend`: a larger budget, also while the study runs."""

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
  hpo extend quickstart --trials +50        50 more than now
  hpo extend quickstart --trials 150        150 in all
  hpo extend quickstart --hours +8 --gpu-hours +10

\b
A running study goes on with it at once. It is kept: `hpo run` of the same
YAML goes on to the larger of its own budget and this one.
"""
)
@click.argument("study", shell_complete=study_names)
@click.option("--trials", metavar="+N", help="Trials: +N more, or N in all.")
@click.option("--hours", metavar="+H", help="Hours of wall time: +H more, or H in all.")
@click.option("--gpu-hours", metavar="+H", help="GPU hours: +H more, or H in all.")
@runs_option
def extend(study: str, trials: str | None, hours: str | None, gpu_hours: str | None, runs: Path) -> None:
    """Extend the budget of a study, also while it runs.

    A study that has finished can be extended too, and goes on with the next `hpo run`.
    """
    from hpo.control.client import extend as ask

    name = find_study(runs, study)
    given = {"trials": trials, "hours": hours, "gpu_hours": gpu_hours}
    wanted = {limit: amount for limit, amount in given.items() if amount is not None}
    if not wanted:
        raise click.UsageError("nothing to extend was named; expected --trials, --hours or --gpu-hours, such as +50")
    answer, driven = ask(layout.study_directory(runs, name), wanted)
    say(answer_or_error(answer) if driven else f"{answer_or_error(answer)}. {how_to_continue(runs, name)}")
