"""Section of the Pareto front of a study of several metrics."""

from __future__ import annotations

from hpo.analysis.formatting import configuration, duration, listed, with_direction
from hpo.analysis.pareto import front_of, pareto_front
from hpo.analysis.records import StudyRecord
from hpo.reports.blocks import Chart, Section, Table, Text
from hpo.reports.sections.shared import capped, cells_of_many, scores
from hpo.translation.catalogue import sentences, tr, trn, whole


def pareto_section(study: StudyRecord) -> Section | None:
    """Return the front, or None for a study of one metric."""
    if len(study.metrics) < 2:
        return None
    front = pareto_front(study)
    title = tr("Pareto front")
    if not front:
        return Section(title, "pareto", [Text(tr("No trial has completed yet, so there is no front."))])
    text = trn(
        "{n} trial that no other beats in all of {goals}.",
        "{n} trials that no other beats in all of {goals}.",
        len(front),
        goals=listed(with_direction(metric) for metric in study.metrics),
    )
    caption = tr("Complete trials; those on the front are joined.")
    if len(study.metrics) > 2:
        caption = sentences([caption, tr("Shown are the first two metrics.")])
    data = front_of(study)
    if data.density() is not None:
        caption = sentences([caption, cells_of_many(len(data.points) - len(front))])
    if (drawn := len(data.on_front)) < len(front):
        part = tr("Of {n} trials on the front {drawn} are drawn, evenly spaced along it.", n=whole(len(front)),
                  drawn=whole(drawn))  # fmt: skip
        caption = sentences([caption, part])
    return Section(title, "pareto", [Text(text), Chart(title, data, caption=caption), front_table(study)])


def front_table(study: StudyRecord) -> Table:
    """Return the trials of the front, the best by the first metric first."""
    writers = [scores(study, metric) for metric in study.metrics]
    rows = tuple(
        (str(t.number), *(write(t) for write in writers), configuration(t.params), duration(t.seconds))
        for t in pareto_front(study)
    )
    columns = (tr("trial"), *(m.name for m in study.metrics), tr("configuration"), tr("time"))
    numeric = frozenset({0, *range(1, len(study.metrics) + 1), len(study.metrics) + 2})
    return capped(columns, rows, numeric)
