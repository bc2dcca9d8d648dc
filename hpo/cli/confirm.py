"""`hpo confirm`: train the best configurations again with fresh seeds, and say which of them is best."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from hpo.cli.common import aligned, emit, find_study, json_option, runs_option, study_argument
from hpo.cli.display import Display, display_options
from hpo.cli.drive import Driven, command_line, drive_study
from hpo.cli.output import echo, say, say_document

if TYPE_CHECKING:
    from hpo.analysis.confirmation import Confirmation
    from hpo.spec.models import StudySpec


@click.command(
    epilog="""\b
Examples:
  hpo confirm quickstart                     the 5 best and the first, 5 seeds
  hpo confirm quickstart --top 3 --seeds 10
  hpo confirm quickstart --per-group         the best of each architecture
  hpo confirm abr --resplit                  other splits of the data too
  hpo confirm --json | jq .confirmation.winner

\b
It is a study of its own, STUDY.confirm, which hpo status, logs, pause, stop,
extend and submit take too. Interrupted or killed, the same command goes on;
with a larger --seeds or --top it goes on to more.
Exit code: as of `hpo run`.
"""
)
@study_argument
@click.option(
    "--top", type=click.IntRange(min=1), metavar="N", help="How many of the best are trained again.  [default: 5]"
)
@click.option(
    "--seeds",
    type=click.IntRange(min=2),
    metavar="N",
    help="Seeds at most that choose, and as many that estimate the winner.  [default: 5]",
)
@click.option("--per-group", is_flag=True, default=None, help="The best of each value of group_by, in a race each.")
@click.option("--resplit", is_flag=True, default=None, help="Split the data anew with each seed (constants.data.seed).")
@runs_option
@json_option
@display_options
@click.pass_context
def confirm(
    context: click.Context,
    study: str | None,
    top: int | None,
    seeds: int | None,
    per_group: bool | None,
    resplit: bool | None,
    runs: Path,
    as_json: bool,
    quiet: bool,
    log_file: Path | None,
) -> int:
    """Train the best configurations again with fresh seeds.

    All are trained with the same seeds, none of which the search has used, beside the study's first configuration.
    Those that are clearly worse are left behind. The winner is trained with further seeds, which say how good it is.
    STUDY is a name in the runs folder or a YAML; by default the study last driven.
    """
    from hpo.actions.confirm import plan_confirmation

    name = searched_study(runs, find_study(runs, study))
    spec = plan_confirmation(runs, name, top, seeds, per_group, resplit)
    out: IO[str] = sys.stderr if as_json else sys.stdout
    display = Display(out, command_line(context), quiet, log_file, as_json)
    driven = run_confirmation(context, spec, runs, name, display)
    if as_json:
        emit(driven.document() | {"confirmation": confirmation(runs, name)}, say_document)
    return driven.code


def searched_study(runs: Path, name: str) -> str:
    """Return the study that a study confirms, if that is there; of any other study its own name."""
    from hpo import layout
    from hpo.spec.load import load_spec
    from hpo.spec.racing import is_race, race_of

    if not name.endswith(layout.CONFIRM):
        return name
    spec = load_spec(layout.study_directory(runs, name) / layout.SPEC, locate=False)
    found = race_of(spec).study if is_race(spec) else name
    return found if found in layout.studies_in(runs) else name


def run_confirmation(context: click.Context, spec: StudySpec, runs: Path, name: str, display: Display) -> Driven:
    """Drive a confirmation, score the winner on held-out data, and write the reports of both studies again."""
    driven = drive_study(context, spec, runs, display=display)
    _finish(runs, name, spec.name, display)
    return driven


def _finish(runs: Path, name: str, own: str, display: Display) -> None:
    from hpo.actions.confirm import finish_confirmation

    for sentence in finish_confirmation(runs, name, own):
        echo(sentence, err=True)
    found = confirmation(runs, own)
    if found is not None and display.shows_end:
        say("\n" + confirmation_text(found), file=display.out)


def confirm_at_end(context: click.Context, driven: Driven, runs: Path, display: Display) -> Driven | None:
    """Confirm the best configurations of a study whose search has ended, if its study.yaml says so.

    A study that is a confirmation itself, as `hpo submit` runs it, is finished as `hpo confirm` does it.
    """
    from hpo.spec.racing import is_race, race_of

    spec = driven.spec
    if is_race(spec):
        _finish(runs, race_of(spec).study, spec.name, display)
        return None
    if not spec.confirms or driven.code or not driven.result.done:
        return None
    from hpo.actions.confirm import plan_at_end

    planned = plan_at_end(runs, spec)
    if planned is None:
        echo(f"nothing of the budget is left to confirm the best; `hpo confirm {spec.name}` does it beyond", err=True)
        return None
    if display.shows_end:
        say("", file=display.out)
    return run_confirmation(context, planned, runs, spec.name, display)


def confirmation(runs: Path, name: str) -> Confirmation | None:
    """Return how a study was confirmed; None if it was not."""
    from hpo.analysis.confirmation import confirmation_of
    from hpo.analysis.records import read_study

    return confirmation_of(read_study(runs, name))


def confirmation_text(found: Confirmation) -> str:
    """Return the table of a confirmation and what follows from it."""
    from hpo.reports.sections.confirmation import confirmation_sentences, confirmation_table

    table = confirmation_table(found)
    rows = [table.columns, *(tuple(map(str, row)) for row in table.rows)]
    return "\n".join([*aligned(rows, right=tuple(table.numeric)), "", *confirmation_sentences(found)])
