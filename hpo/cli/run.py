"""`hpo run`: drive a study to the end of its budget, showing how it goes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import click

from hpo.cli.common import emit, json_option, runs_option, set_option, study_file_argument, trials_option
from hpo.cli.confirm import confirm_at_end, confirmation
from hpo.cli.display import Display, display_options
from hpo.cli.drive import command_line, drive_study, show_ending
from hpo.cli.output import say_document


@click.command(
    epilog="""\b
Examples:
  hpo run study.yaml                              run it, or go on where it stopped
  hpo run study.yaml --trials 3 --set constants.epochs=2
                                                  a quick look before the long run
  hpo run study.yaml --trials 200                 more trials for a finished study
  hpo run study.yaml --workers 4 --set engine.gpu=0.5
  hpo run study.yaml --set 'engine={name: ray, address: auto}'
  hpo run study.yaml --new-name second            the same search as a study of its own
  hpo run study.yaml --retry-failed               when a bug is fixed: what failed, again
  hpo run study.yaml --json --quiet | jq .progress.best
  hpo run study.yaml --quiet --log-file ~/search.log
                                                  nothing but the end; the rest into a file

\b
Ctrl-C once ends the running trials at their next report and keeps them for
the next run, twice stops at once; the same command again goes on. From
elsewhere: hpo status, logs, pause, resume, stop, kill, extend.
Exit code: 0 the budget is spent and a trial completed, 1 it failed or
its report could not be written, 2 the study is wrong, 3 another driver runs it, 4 ended by hpo stop, or
interrupted while paused, 130 interrupted.
""",
)
@study_file_argument
@set_option
@trials_option
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Trials at a time (engine.workers).")
@click.option("--new-name", metavar="NAME", help="Run it under another name, as a study of its own.")
@click.option("--strict", is_flag=True, help="Refuse to go on if the objective's files have changed.")
@click.option("--retry-failed", is_flag=True, help="Try the configurations of failed trials again, first of all.")
@runs_option
@json_option
@display_options
@click.pass_context
def run(
    context: click.Context,
    study: str,
    overrides: tuple[str, ...],
    trials: int | None,
    workers: int | None,
    new_name: str | None,
    strict: bool,
    retry_failed: bool,
    runs: Path,
    as_json: bool,
    quiet: bool,
    log_file: Path | None,
) -> int:
    """Run a study, or go on with it.

    Finished trials stay finished: the same command again goes on to the same total of trials.
    """
    from hpo.spec.load import load_with_hints

    spec, hints = load_with_hints(study, [*overrides, *_shorthands(trials, workers, new_name)])
    # With --json stdout carries the document alone.
    out: IO[str] = sys.stderr if as_json else sys.stdout
    display = Display(out, command_line(context), quiet, log_file, as_json)
    driven = drive_study(context, spec, runs, hints=hints, strict=strict, retry_failed=retry_failed, display=display)
    confirmed = confirm_at_end(context, driven, runs, display)
    if display.shows_end:
        show_ending(driven, runs, out)
    if as_json:
        emit(driven.document() | ({"confirmation": confirmation(runs, spec.name)} if confirmed else {}), say_document)
    return driven.code or (confirmed.code if confirmed else 0)


def _shorthands(trials: int | None, workers: int | None, new_name: str | None) -> Iterator[str]:
    if trials is not None:
        yield f"budget.trials={trials}"
    if workers is not None:
        yield f"engine.workers={workers}"
    if new_name is not None:
        # Quoted, so that a name such as 2024 or null stays text.
        yield "name='" + new_name.replace("'", "''") + "'"
