"""The note that optuna-dashboard shows on a study's page: the counts, the best configurations, where
the report is. Short Markdown, kept in the study's storage as optuna-dashboard keeps notes.

optuna-dashboard lets its user edit the note. What somebody wrote below our last line stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpo.analysis.pareto import pareto_front
from hpo.analysis.records import StudyRecord
from hpo.reports import markdown
from hpo.reports.blocks import Section, Table, Text
from hpo.reports.sections.best import best_rows
from hpo.reports.sections.pareto import front_table
from hpo.reports.sections.summary import counts

if TYPE_CHECKING:
    import optuna

MOST_ROWS = 12
LAST_LINE = "*Written by hpo at the end of each run. What you write below this line is kept.*"


def note_of(study: StudyRecord) -> str:
    """The Markdown of the note, without what somebody else wrote."""
    goals = ", ".join(f"{metric.direction} {metric.name}" for metric in study.metrics)
    blocks: list[Text | Table] = [Text(f"{counts(study)}. Goal: {goals}.")]
    if len(study.metrics) > 1:
        front = pareto_front(study)
        if front:
            blocks += [Text("Trials that no other beats in every metric (the Pareto front):"), _cut(front_table(study))]
    elif study.complete(study.metrics[0]):
        rows = best_rows(study, study.metrics[0])
        columns = (study.group_by or "trials", study.metrics[0].name, "trial", "configuration")
        cells = tuple(row[:4] for row in rows)
        best = f"The best trial of each {study.group_by}:" if study.group_by else "The best trial:"
        blocks += [Text(best), _cut(Table(columns, cells, frozenset({1, 2})))]
    if not study.in_state("COMPLETE"):
        blocks.append(Text("No trial has completed yet."))
    blocks.append(Text(f"Full report: {study.directory / 'report.html'}"))
    lines = markdown.lines_of(Section("", "", blocks))
    return "\n".join([*lines, "---", "", LAST_LINE])


def _cut(table: Table) -> Table:
    left = len(table.rows) - MOST_ROWS
    note = f"{left} more are in the report." if left > 0 else ""
    return Table(table.columns, table.rows[:MOST_ROWS], table.numeric, note=note)


def save_note(study: optuna.Study, record: StudyRecord) -> None:
    """Writes the note into the study's storage, if it says anything new. Raises what the storage
    raises."""
    import optuna_dashboard  # takes a second, most of it scikit-learn

    earlier = optuna_dashboard.get_note(study)
    note = joined(note_of(record), earlier)
    if note != earlier:
        optuna_dashboard.save_note(study, note)


def joined(ours: str, earlier: str) -> str:
    """Our note, followed by what somebody wrote into the `earlier` one: below our last line, or all
    of it where that line is not there."""
    _, line, below = earlier.partition(LAST_LINE)
    if line:
        return ours + below
    return f"{ours}\n\n{earlier}" if earlier.strip() else ours
