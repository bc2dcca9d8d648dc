"""What several sections need: how scores are written, how long a table may be."""

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
    """How final values of `metric` are written: with the same decimals throughout the report."""
    places = decimals(trial.values[metric.name] for trial in study.complete(metric))
    return lambda trial: score(trial.values[metric.name], places) if metric.name in trial.values else "—"


def for_each(study: StudyRecord, title: str) -> str:
    """`title`, a translated one, `for each architecture`; as it is in a study without groups."""
    return tr("{title} for each {group}", title=title, group=study.group_by) if study.group_by else title


def capped(columns: tuple[str, ...], rows: tuple[tuple[Cell, ...], ...], numeric: frozenset[int], **more: str) -> Table:
    left = len(rows) - MOST_ROWS
    note = trn("{n} more is left out here.", "{n} more are left out here.", left) if left > 0 else ""
    return Table(columns, rows[:MOST_ROWS], numeric, note=note, **more)


def trial_link(study: StudyRecord, trial: TrialRecord, *names: str) -> Cell:
    """The trial's number, leading to the first of these files of its folder that is there, else to the folder, if it
    is there."""
    folder = layout.trial_directory(study.directory, trial.number)
    for path in (*(folder / name for name in names), folder):
        if path.exists():
            return Link(str(trial.number), path.relative_to(study.directory).as_posix())
    return str(trial.number)


def points_beyond_axis(n: int) -> str:
    """Of a figure that zooms: `2 extreme points lie beyond the axis; double-click to see all.`; empty of none."""
    if not n:
        return ""
    return trn(
        "{n} extreme point lies beyond the axis; double-click to see all.",
        "{n} extreme points lie beyond the axis; double-click to see all.",
        n,
    )


def values_beyond_axis(n: int) -> str:
    """`2 extreme values lie beyond the axis.`; empty of none."""
    if not n:
        return ""
    return trn("{n} extreme value lies beyond the axis.", "{n} extreme values lie beyond the axis.", n)
