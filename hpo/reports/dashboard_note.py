"""The note that optuna-dashboard shows on a study's page: what was found, best configurations, the report's place.

It is short Markdown, kept in the study's storage as optuna-dashboard keeps notes. optuna-dashboard lets its user edit
the note: what somebody wrote below our last line stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hpo import layout
from hpo.analysis.failures import causes_of, warnings_of
from hpo.analysis.formatting import goal
from hpo.analysis.pareto import pareto_front
from hpo.analysis.records import StudyRecord
from hpo.reports import markdown
from hpo.reports.blocks import Findings, Section, Table, Text
from hpo.reports.sections.best import best_rows
from hpo.reports.sections.found import findings
from hpo.reports.sections.pareto import front_table
from hpo.reports.sections.red_flag_regions import region_sentences
from hpo.reports.sections.setup import counts
from hpo.translation.catalogue import LANGUAGES, file_stem, language, mark, tr, trn

if TYPE_CHECKING:
    import optuna

MOST_ROWS, MOST_REGIONS = 12, 3
LAST_LINE = mark("*Written by hpo at the end of each run. What you write below this line is kept.*")


def note_of(study: StudyRecord) -> str:
    """Return the Markdown of the note, without what somebody else wrote."""
    goals = tr(", ").join(goal(metric) for metric in study.metrics)
    blocks: list[Text | Table | Findings] = [Text(tr("{counts}. Goal: {goals}.", counts=counts(study), goals=goals))]
    blocks.append(Findings(findings(study)))
    if len(study.metrics) > 1:
        front = pareto_front(study)
        if front:
            blocks.append(Text(tr("Trials that no other beats in every metric (the Pareto front):")))
            blocks.append(_cut(front_table(study)))
    elif study.complete(study.metrics[0]):
        rows = best_rows(study, study.metrics[0])
        columns = (study.group_by or tr("trials"), study.metrics[0].name, tr("trial"), tr("configuration"))
        cells = tuple(row[:4] for row in rows)
        best = tr("The best trial:")
        if study.group_by:
            best = tr("The best trial of each {group}:", group=study.group_by)
        blocks += [Text(best), _cut(Table(columns, cells, frozenset({1, 2})))]
    blocks += _early_ends(study)
    blocks.append(Text(tr("Full report: {path}", path=study.directory / f"{file_stem(layout.REPORT)}.html")))
    lines = markdown.lines_of(Section("", "", blocks))
    return "\n".join([*lines, "---", "", tr(LAST_LINE)])


def _early_ends(study: StudyRecord) -> list[Text | Table]:
    """Return the causes that ended trials early, the warnings, and the regions in which red flags are raised."""
    blocks: list[Text | Table] = []
    causes = causes_of(study)
    if causes:
        rows = tuple((cause.name, str(len(cause.trials)), cause.meaning) for cause in causes)
        columns = (tr("cause"), tr("trials"), tr("meaning"))
        blocks += [Text(tr("Ended early:")), _cut(Table(columns, rows, frozenset({1})))]
    warned = warnings_of(study)
    if warned:
        flags = tr(", ").join(f"{name} {n}" for name, n in warned.items())
        blocks.append(Text(tr("Red flags that only warned, in so many trials: {flags}.", flags=flags)))
    return [*blocks, *map(Text, region_sentences(study, MOST_REGIONS))]


def _cut(table: Table) -> Table:
    left = len(table.rows) - MOST_ROWS
    note = trn("{n} more is in the report.", "{n} more are in the report.", left) if left > 0 else ""
    return Table(table.columns, table.rows[:MOST_ROWS], table.numeric, note=note)


def save_note(study: optuna.Study, record: StudyRecord) -> None:
    """Write the note into the study's storage, unless it says nothing new.

    Raises:
        Exception: What the storage raises.
    """
    import optuna_dashboard  # takes a second, most of it scikit-learn

    earlier = optuna_dashboard.get_note(study)
    note = merge_notes(note_of(record), earlier)
    if note != earlier:
        optuna_dashboard.save_note(study, note)


def merge_notes(ours: str, earlier: str) -> str:
    """Return our note, followed by what somebody else wrote into the earlier one.

    That is the text below our last line, in whichever language an earlier run wrote it; all of the earlier note if it
    has no such line.
    """
    for line in _last_lines():
        if line in earlier:
            return ours + earlier.partition(line)[2]
    return f"{ours}\n\n{earlier}" if earlier.strip() else ours


def _last_lines() -> Iterator[str]:
    for code in LANGUAGES:
        with language(code):
            yield tr(LAST_LINE)
