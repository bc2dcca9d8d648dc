"""What several sections need: how scores are written, how long a table may be."""

from __future__ import annotations

from collections.abc import Callable

from hpo.analysis.records import StudyRecord, TrialRecord
from hpo.analysis.wording import count, decimals, score
from hpo.reports.blocks import Cell, Table
from hpo.spec import Metric

# Longer tables end in a note of how many rows were left out.
MOST_ROWS = 60


def scores(study: StudyRecord, metric: Metric) -> Callable[[TrialRecord], str]:
    """How final values of `metric` are written: with the same decimals throughout the report."""
    places = decimals(trial.values[metric.name] for trial in study.complete(metric))
    return lambda trial: score(trial.values[metric.name], places) if metric.name in trial.values else "—"


def for_each(study: StudyRecord) -> str:
    """` for each architecture`, or nothing in a study without groups."""
    return f" for each {study.group_by}" if study.group_by else ""


def capped(
    columns: tuple[str, ...], rows: tuple[tuple[Cell, ...], ...], numeric: frozenset[int], **more: str
) -> Table:
    note = f"{len(rows) - MOST_ROWS} more are left out here." if len(rows) > MOST_ROWS else ""
    return Table(columns, rows[:MOST_ROWS], numeric, note=note, **more)


def beyond_axis(n: int, noun: str, zoom: bool = False) -> str:
    """`2 extreme points lie beyond the axis.`; empty of none."""
    if not n:
        return ""
    how = "; double-click to see all" if zoom else ""
    return f"{count(n, f'extreme {noun}')} {'lies' if n == 1 else 'lie'} beyond the axis{how}."
