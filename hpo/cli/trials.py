"""`hpo trials`: list the trials of a study."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpo.analysis.failures import ended_by
from hpo.analysis.formatting import columns_of, configuration, duration, number
from hpo.cli.common import aligned, find_study, json_option, runs_option, study_argument
from hpo.cli.output import echo, echo_document
from hpo.text import count, listing, nearest

if TYPE_CHECKING:
    from hpo.analysis.records import StudyRecord, TrialRecord

MOST_SHOWN = 20
# Heads of the table that are no keys.
_HEADS = {"epochs": "steps", "time": "seconds"}


@click.command(
    epilog="""\b
Examples:
  hpo trials                             complete trials, the best first
  hpo trials quickstart --all            pruned, failed and running ones too
  hpo trials quickstart --sort time      by run time; --sort learning_rate works too
  hpo trials quickstart --csv > trials.csv
  hpo trials --json | jq '.[] | select(.state == "FAIL") | .reason'

\b
Keys of --sort: any metric (the best first), any parameter, trial, state, group,
epochs, time, started, seed, cause. Trials that lack it come last.
"""
)
@study_argument
@click.option("--sort", metavar="KEY", help="Sort by this column.  [default: the first metric]")
@click.option("--all", "everything", is_flag=True, help="All trials, not only the 20 best that are complete.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, a column a parameter, of all trials, unrounded.")
@runs_option
@json_option
def trials(study: str | None, sort: str | None, everything: bool, as_csv: bool, runs: Path, as_json: bool) -> None:
    """List the trials of a study, the best first.

    It prints the number, state, group, metrics, epochs, run time and parameters of each trial, and why it ended.
    STUDY is a name in the runs folder or a YAML; by default the study last driven.
    """
    from hpo.analysis.records import read_study
    from hpo.analysis.trial_rows import row_columns, sort_keys, sorted_by, trial_row, trial_table
    from hpo.reports.blocks import Rows
    from hpo.reports.csv import to_csv
    from hpo.reports.to_json import Each, document

    record = read_study(runs, find_study(runs, study), histories=False)
    columns = row_columns(record, record.trials)
    keys = sort_keys(record, columns)
    key = record.metrics[0].name if sort is None else sort
    if key not in keys:  # as the table or the CSV calls it
        key = _HEADS.get(key, key.removeprefix("values_").removeprefix("params_"))
    if key not in keys:
        hint = nearest(key, [*keys, *_HEADS]) or f" Expected {listing(keys, len(keys))}."
        raise click.UsageError(f"--sort: trials of '{record.name}' have no '{key}'.{hint}")
    whole = as_csv or as_json or everything
    found = sorted_by(record, key, (trial for trial in record.trials if whole or trial.state == "COMPLETE"))
    if as_json:
        for piece in document(Each(lambda trial: {"trial": trial.number} | trial_row(trial), found), indent=2):
            echo_document(piece, nl=False)
    elif as_csv:
        heads, lines = trial_table(record, found)
        echo_document(to_csv(Rows(tuple(heads), lines)).replace("\r\n", "\n"), nl=False)
    elif not record.trials:
        echo(f"study '{record.name}' has no trial yet", err=True)
    else:
        shown = found if everything else found[:MOST_SHOWN]
        echo("\n".join(_table(record, shown)))
        if left := len(record.trials) - len(shown):
            echo(f"{count(left, 'more trial')}; --all shows all", err=True)


def _table(record: StudyRecord, found: Sequence[TrialRecord]) -> list[str]:
    """Return aligned lines, on a terminal none longer than it is wide."""
    from hpo.analysis.groups import group_labels

    group_of = group_labels(record)
    groups = [record.group_by] if record.group_by else []
    metrics = [metric.name for metric in record.metrics]
    rows = [("trial", "state", *groups, *metrics, "epochs", "time", "parameters")]
    for trial in found:
        own = [group_of.get(trial.number, "")] if groups else []
        values = [number(trial.values[name]) if name in trial.values else "" for name in metrics]
        time = "" if trial.seconds is None else duration(trial.seconds)
        params = configuration(trial.params, without=groups) if trial.params else ""
        ended = ", ".join(filter(None, [_origin(trial), ended_by(trial)]))
        rows.append(
            (
                str(trial.number),
                trial.state,
                *own,
                *values,
                str(trial.steps),
                time,
                f"{ended}; {params}" if ended else params,
            )
        )
    right = (0, *range(2 + len(groups), 4 + len(groups) + len(metrics)))
    return [_fitting(line) for line in aligned(rows, right)]


def _origin(trial: TrialRecord) -> str:
    """Return where an imported trial was trained; empty of one of this study."""
    return "" if trial.imported is None else f"imported ({trial.imported.study}, {trial.imported.trial})"


def _fitting(line: str) -> str:
    if not sys.stdout.isatty():
        return line
    width = shutil.get_terminal_size().columns
    return line if columns_of(line) <= width else f"{line[: max(0, width - 3)]}..."
