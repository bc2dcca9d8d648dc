"""Texts and tables that several sections make in the same way."""

from __future__ import annotations

from collections.abc import Callable

from hpo import layout
from hpo.analysis.formatting import decimals, score
from hpo.analysis.records import StudyRecord, TrialRecord
from hpo.reports.blocks import Cell, Link, Table
from hpo.spec.models import Metric
from hpo.translation.catalogue import tr, trn

# Longer tables end in a note of how many rows were left out.
MOST_ROWS = 60


def scores(study: StudyRecord, metric: Metric) -> Callable[[TrialRecord], str]:
    """Return a function that writes final values of `metric`, with the same decimals throughout the report."""
    places = decimals(trial.values[metric.name] for trial in study.complete(metric))
    return lambda trial: score(trial.values[metric.name], places) if metric.name in trial.values else "—"


def for_each(study: StudyRecord, title: str) -> str:
    """Return `title`, a translated one, as `title for each architecture`; unchanged in a study without groups."""
    return tr("{title} for each {group}", title=title, group=study.group_by) if study.group_by else title


def capped(columns: tuple[str, ...], rows: tuple[tuple[Cell, ...], ...], numeric: frozenset[int], **more: str) -> Table:
    """Return a table of at most MOST_ROWS rows, with a note of how many were left out."""
    left = len(rows) - MOST_ROWS
    note = trn("{n} more is left out here.", "{n} more are left out here.", left) if left > 0 else ""
    return Table(columns, rows[:MOST_ROWS], numeric, note=note, **more)


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
