"""Section on how steady the validation loss was at the end of each training."""

from __future__ import annotations

from hpo.analysis.formatting import listed, number
from hpo.analysis.records import StudyRecord
from hpo.analysis.stability import BANDS, WINDOW, WORDS, WORST, Stabilities, Stability, stabilities
from hpo.reports.blocks import Block, Cell, Chart, Section, Table, Text
from hpo.translation.catalogue import sentences, tr, trn


def stability_section(study: StudyRecord) -> Section:
    """Return the stability of the best trial of each group, and of all complete trials."""
    metric = study.metrics[0]
    data = stabilities(study, metric)
    title = tr("Training stability")
    if not any(group.best for group in data.groups):
        return Section(title, "stability", [Text(tr("No trial has completed yet, so there is no training to judge."))])
    if not data.series.name:
        return Section(title, "stability", [Text(tr("Not shown: {why}.", why=data.series.why_not))])
    blocks: list[Block] = [Text(_how_to_read(study, data)), _best_table(study, data)]
    if data.deviations:
        caption = _caption(data)
        name = tr("Deviation of {metric} in the last epochs", metric=data.series.name)
        blocks.append(Chart(name, data, _spread_table(study, data), caption))
    return Section(title, "stability", blocks)


def _how_to_read(study: StudyRecord, data: Stabilities) -> str:
    up_to = [tr("{word} up to {limit}", word=tr(word), limit=f"{limit:g}") for word, limit in BANDS]
    above = tr("{word} above", word=tr(WORST))
    text = tr(
        "The sample standard deviation (N - 1) of {metric} over a trial's last {n} epochs, or over all if it has "
        "fewer: {bands}. It is in the unit of the loss: deviations of different losses do not compare. Pruned "
        "trials are not judged.",
        metric=data.series.name,
        n=WINDOW,
        bands=listed([*up_to, above]),
    )
    best = tr("The best trial of each group:")
    if len(study.metrics) > 1:
        best = tr("The best trial by {metric} of each group:", metric=study.metrics[0].name)
    return sentences([text, best])


def _best_table(study: StudyRecord, data: Stabilities) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for group in data.groups:
        found = group.best_stability
        if group.best is None or found is None:
            rows.append((group.group, "—", "—", "—", tr("no complete trial")))
        else:
            rows.append((group.group, str(group.best.number), *stability_cells(found)))
    columns = (study.group_by or tr("trials"), tr("trial"), tr("deviation"), tr("epochs"), tr("reading"))
    return Table(columns, tuple(rows), frozenset({1, 2, 3}))


def stability_cells(found: Stability) -> tuple[str, str, str]:
    """Return the deviation, the number of epochs it is of, and its word or why it is not shown."""
    if found.deviation is None:
        return "—", str(found.n), tr("not shown: {why}", why=found.why_not)
    return number(found.deviation, 3), str(found.n), tr(found.word)


def _spread_table(study: StudyRecord, data: Stabilities) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for group in data.groups:
        numbers = ["—"] * 3
        if group.spread is not None:
            numbers = [number(value, 3) for value in (group.spread.median, group.spread.low, group.spread.high)]
        counts = (str(group.count(word)) for word in WORDS)
        rows.append((group.group, str(len(group.dots)), *numbers, *counts))
    shown = "n", tr("median"), tr("min"), tr("max"), *(tr(word) for word in WORDS)
    columns = (study.group_by or tr("trials"), *shown)
    note = tr("n: complete trials that are judged.")
    return Table(columns, tuple(rows), frozenset(range(1, len(columns))), note)


def _caption(data: Stabilities) -> str:
    parts = [tr("A dot is a complete trial, the star the group's best by the metric; the axis is logarithmic.")]
    if 0 in data.deviations:
        parts.append(tr("A deviation of 0 is drawn on the left edge."))
    without = sum(group.without for group in data.groups)
    if without:
        left_out = trn(
            "{n} complete trial is not shown: fewer than 2 values of {metric}, or one that is not finite.",
            "{n} complete trials are not shown: fewer than 2 values of {metric}, or one that is not finite.",
            without,
            metric=data.series.name,
        )
        parts.append(left_out)
    return sentences(parts)
