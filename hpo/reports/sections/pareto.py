"""The Pareto front of a study of several metrics."""

from __future__ import annotations

from hpo.analysis.pareto import front_of, pareto_front
from hpo.analysis.records import StudyRecord
from hpo.analysis.wording import configuration, count, duration, listed
from hpo.reports.blocks import Chart, Section, Table, Text
from hpo.reports.sections.shared import capped, scores


def pareto(study: StudyRecord) -> Section | None:
    if len(study.metrics) < 2:
        return None
    front = pareto_front(study)
    if not front:
        return Section("Pareto front", "pareto", [Text("No trial has completed yet, so there is no front.")])
    goals = listed(f"{metric.name} ({metric.direction})" for metric in study.metrics)
    text = f"{count(len(front), 'trial')} that no other beats in all of {goals}."
    shown = " Shown are the first two metrics." if len(study.metrics) > 2 else ""
    chart = Chart("Pareto front", front_of(study), caption=f"Complete trials; those on the front are joined.{shown}")
    return Section("Pareto front", "pareto", [Text(text), chart, front_table(study)])


def front_table(study: StudyRecord) -> Table:
    """The trials of the front, the best of the first metric first."""
    writers = [scores(study, metric) for metric in study.metrics]
    rows = tuple(
        (str(t.number), *(write(t) for write in writers), configuration(t.params), duration(t.seconds))
        for t in pareto_front(study)
    )
    columns = ("trial", *(m.name for m in study.metrics), "configuration", "time")
    numeric = frozenset({0, *range(1, len(study.metrics) + 1), len(study.metrics) + 2})
    return capped(columns, rows, numeric)
