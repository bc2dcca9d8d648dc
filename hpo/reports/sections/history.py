"""Every trial in the order tried, and the best so far."""

from __future__ import annotations

from hpo.analysis.progress import History, optimization_history
from hpo.analysis.records import StudyRecord
from hpo.analysis.wording import count, decimals, score
from hpo.reports.blocks import Block, Cell, Chart, Section, Table, Text
from hpo.reports.sections.shared import beyond_axis, capped


def history_section(study: StudyRecord) -> Section:
    blocks: list[Block] = []
    for metric in study.metrics:
        data = optimization_history(study, metric)
        if data.points:
            table = _best_so_far(study, data)
            blocks.append(Chart(f"{metric.name} of each trial", data, table, _history_caption(data)))
        else:
            blocks.append(Text(f"No trial has a value of {metric.name} yet."))
    return Section("Optimization history", "history", blocks)


def _best_so_far(study: StudyRecord, data: History) -> Table:
    """The trials that were the best when they completed."""
    places = decimals(trial.values[data.metric.name] for trial in study.complete(data.metric))
    steps: list[tuple[Cell, ...]] = []
    last: float | None = None
    group_of = {point.number: point.group for point in data.points}
    for trial, value in data.best:
        if value != last:
            steps.append((str(trial), score(value, places), group_of[trial])[: 3 if data.group_by else 2])
            last = value
    columns = ("trial", f"best {data.metric.name} so far", data.group_by or "")[: 3 if data.group_by else 2]
    return capped(columns, tuple(steps), frozenset({0, 1}), folded="Every improvement")


def _history_caption(data: History) -> str:
    parts = []
    if data.best:
        parts.append("The line is the best final value so far.")
    pruned = sum(point.state == "PRUNED" for point in data.points)
    if pruned:
        parts.append("A cross is the last value that a pruned trial reported: it is not a final value.")
    if data.silent:
        parts.append(f"{count(data.silent, 'pruned trial')} reported none.")
    if data.failed:
        parts.append(f"{count(data.failed, 'failed trial')} {'has' if data.failed == 1 else 'have'} no value.")
    parts.append(beyond_axis(data.beyond, "point", zoom=True))
    return " ".join(part for part in parts if part)
