"""Texts and tables that several sections make in the same way."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import TypeVar

from hpo import layout
from hpo.analysis.formatting import decimals, listed, score
from hpo.analysis.records import StudyRecord, TrialRecord
from hpo.analysis.statistics.group_test import F, GroupTest
from hpo.analysis.statistics.pairwise import FEWEST
from hpo.reports.blocks import Block, Cell, Link, Table
from hpo.spec.models import Metric
from hpo.translation.catalogue import tr, trn, whole

T = TypeVar("T")
# Longer tables end in a note of how many rows were left out.
MOST_ROWS = 60
# Of a list of trials so many are shown, the others folded away.
MOST_SHOWN = 20
MOST_FOLDED = 480


def scores(study: StudyRecord, metric: Metric) -> Callable[[TrialRecord], str]:
    """Return a function that writes final values of `metric`, with the same decimals throughout the report."""
    places = decimals(trial.values[metric.name] for trial in study.complete(metric))
    return lambda trial: score(trial.values[metric.name], places) if metric.name in trial.values else "—"


def for_each(study: StudyRecord, title: str) -> str:
    """Return `title`, a translated one, as `title for each architecture`; unchanged in a study without groups."""
    return tr("{title} for each {group}", title=title, group=study.group_by) if study.group_by else title


def capped(
    columns: tuple[str, ...],
    rows: tuple[tuple[Cell, ...], ...],
    numeric: frozenset[int],
    most: int = MOST_ROWS,
    **more: str,
) -> Table:
    """Return a table of at most `most` rows, with a note of how many were left out."""
    return capped_of(columns, rows, lambda row: row, numeric, most, **more)


def capped_of(
    columns: tuple[str, ...],
    items: Sequence[T],
    cells: Callable[[T], tuple[Cell, ...]],
    numeric: frozenset[int],
    most: int = MOST_ROWS,
    **more: str,
) -> Table:
    """Return the same of what there may be very much of: only the rows that are shown are made, by `cells`."""
    left = len(items) - most
    note = trn("{n} more is left out here.", "{n} more are left out here.", left) if left > 0 else ""
    return Table(columns, tuple(map(cells, items[:most])), numeric, note=note, **more)


def top_and_rest(
    study: StudyRecord,
    columns: tuple[str, ...],
    trials: Sequence[TrialRecord],
    cells: Callable[[TrialRecord], tuple[Cell, ...]],
    numeric: frozenset[int],
    title: str,
) -> list[Block]:
    """Return a table of the first MOST_SHOWN trials, and one of the others that is folded away.

    Args:
        study: The study.
        columns: The columns of both.
        trials: The trials that are the rows.
        cells: Returns the row of a trial.
        numeric: Columns to align right.
        title: Title of the folded table.
    """
    blocks: list[Block] = [Table(columns, tuple(map(cells, trials[:MOST_SHOWN])), numeric)]
    if rest := trials[MOST_SHOWN:]:
        command = f"hpo trials {shlex.quote(study.name)} --all"
        elsewhere = trn("{n} more: {command}", "{n} more: {command}", len(rest), command=command)
        blocks.append(capped_of(columns, rest, cells, numeric, MOST_FOLDED, folded=title, elsewhere=elsewhere))
    return blocks


def trial_link(study: StudyRecord, trial: TrialRecord, *names: str) -> Cell:
    """Return the trial's number with a link to the first of these files of its folder that exists.

    If none exists it leads to the folder; without a folder it is no link.
    """
    folder = layout.trial_directory(study.directory, trial.number)
    for path in (*(folder / name for name in names), folder):
        if path.exists():
            return Link(str(trial.number), path.relative_to(study.directory).as_posix())
    return str(trial.number)


def points_beyond_axis(n: int) -> str:
    """Return `2 extreme points lie beyond the axis; double-click to see all.`, for a figure that zooms; empty for 0."""
    if not n:
        return ""
    return trn(
        "{n} extreme point lies beyond the axis; double-click to see all.",
        "{n} extreme points lie beyond the axis; double-click to see all.",
        n,
    )


def values_beyond_axis(n: int) -> str:
    """Return `2 extreme values lie beyond the axis.`; empty for 0."""
    if not n:
        return ""
    return trn("{n} extreme value lies beyond the axis.", "{n} extreme values lie beyond the axis.", n)


def cells_of_many(n: int) -> str:
    """Return how to read the cells that stand for `n` trials."""
    return tr(
        "Cells stand for {n} trials: the stronger its colour, the more of them are in it (on a logarithmic scale).",
        n=whole(n),
    )


def compared(group_by: str, test: GroupTest) -> str:
    """Return the name of the groups, with those that Welch's test and that by ranks leave out."""
    if test.holds == F or not test.left_out:
        return group_by
    return tr("{group} (without {names}: fewer than {n} complete trials)", group=group_by, names=listed(test.left_out),
              n=FEWEST)  # fmt: skip
