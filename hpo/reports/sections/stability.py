"""How steady the validation loss was at the end of each training."""

from __future__ import annotations

from hpo.analysis.records import StudyRecord
from hpo.analysis.stability import BANDS, WINDOW, WORDS, WORST, Stabilities, Stability, stabilities
from hpo.analysis.wording import count, listed, number
from hpo.reports.blocks import Block, Cell, Chart, Section, Table, Text


def stability_section(study: StudyRecord) -> Section:
    metric = study.metrics[0]
    data = stabilities(study, metric)
    title = "Training stability"
    if not any(group.best for group in data.groups):
        return Section(title, "stability", [Text("No trial has completed yet, so there is no training to judge.")])
    if not data.series.name:
        return Section(title, "stability", [Text(f"Not shown: {data.series.why_not}.")])
    blocks: list[Block] = [Text(_how_to_read(study, data)), _best_table(study, data)]
    if data.deviations:
        caption = _caption(data)
        chart = Chart(f"Deviation of {data.series.name} in the last epochs", data, _spread_table(study, data), caption)
        blocks.append(chart)
    return Section(title, "stability", blocks)


def _how_to_read(study: StudyRecord, data: Stabilities) -> str:
    bands = listed([*(f"{name} up to {limit:g}" for name, limit in BANDS), f"{WORST} above"])
    by = f" by {study.metrics[0].name}" if len(study.metrics) > 1 else ""
    return (
        f"The sample standard deviation (N - 1) of {data.series.name} over a trial's last {WINDOW} epochs, or over all "
        f"if it has fewer: {bands}. It is in the unit of the loss: deviations of different losses do not compare. "
        f"Pruned trials are not judged. The best trial{by} of each group:"
    )


def _best_table(study: StudyRecord, data: Stabilities) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for group in data.groups:
        found = group.best_stability
        if group.best is None or found is None:
            rows.append((group.group, "—", "—", "—", "no complete trial"))
        else:
            rows.append((group.group, str(group.best.number), *cells(found)))
    columns = (study.group_by or "trials", "trial", "deviation", "epochs", "reading")
    return Table(columns, tuple(rows), frozenset({1, 2, 3}))


def cells(found: Stability) -> tuple[str, str, str]:
    """Deviation, the number of epochs it is of, and its word or why it is not shown."""
    if found.deviation is None:
        return "—", str(found.n), f"not shown: {found.why_not}"
    return number(found.deviation, 3), str(found.n), found.word


def _spread_table(study: StudyRecord, data: Stabilities) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for group in data.groups:
        numbers = ["—"] * 3
        if group.spread is not None:
            numbers = [number(value, 3) for value in (group.spread.median, group.spread.low, group.spread.high)]
        counts = (str(group.count(word)) for word in WORDS)
        rows.append((group.group, str(len(group.dots)), *numbers, *counts))
    columns = (study.group_by or "trials", "n", "median", "min", "max", *WORDS)
    return Table(columns, tuple(rows), frozenset(range(1, len(columns))), note="n: complete trials that are judged.")


def _caption(data: Stabilities) -> str:
    parts = ["A dot is a complete trial, the star the group's best by the metric; the axis is logarithmic."]
    if 0 in data.deviations:
        parts.append("A deviation of 0 is drawn on the left edge.")
    without = sum(group.without for group in data.groups)
    if without:
        verb = "is" if without == 1 else "are"
        why = f"fewer than 2 values of {data.series.name}, or one that is not finite"
        parts.append(f"{count(without, 'complete trial')} {verb} not shown: {why}.")
    return " ".join(parts)
