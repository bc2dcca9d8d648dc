"""Section of heatmaps: two parameters in each group, a number and n in every cell."""

from __future__ import annotations

from collections.abc import Iterable

from hpo.analysis.axes import Axis
from hpo.analysis.formatting import listed, number, with_direction
from hpo.analysis.heatmaps import Heatmap, Heatmaps, heatmaps
from hpo.analysis.importance import importance
from hpo.analysis.records import StudyRecord
from hpo.reports.blocks import Block, Chart, Explanation, Row, Section, Table, Text
from hpo.reports.charts import ColourScale, HeatmapChart, cell_lines
from hpo.reports.sections.shared import for_each
from hpo.translation.catalogue import mark, sentences, tr, trn


def heatmap_section(study: StudyRecord) -> Section:
    """Return the heatmaps of each metric, with how to read them."""
    maps = [heatmaps(study, metric, [name for name, _ in importance(study, metric).shares]) for metric in study.metrics]
    known = [data for data in maps if data is not None]
    if not known:
        text = tr("No parameter with values of its own is searched, so there is nothing to lay out.")
        return Section(tr("Heatmaps"), "heatmaps", [Text(text)])
    if not study.finished:
        return Section(tr("Heatmaps"), "heatmaps", [Text(tr("No trial has finished yet."))])
    first = known[0]
    several = len(known) > 1
    blocks: list[Block] = []
    for data in known:
        if several:
            same = (data.rows.name, data.columns.name) == (first.rows.name, first.columns.name)
            what = tr("Final {metric}:", metric=with_direction(data.metric))
            blocks.append(Text(what if same else sentences([what, data.chosen])))
        blocks += _heatmap_blocks(study, data)
    if first.averaged:
        text = tr(
            "Other parameters vary within a cell: {parameters}. A cell with n above 1 averages over them, and two "
            "cells may differ because of them.",
            parameters=listed(first.averaged),
        )
        blocks.append(Text(text))
    blocks.append(Explanation(_how_to_read(first, several)))
    return Section(for_each(study, _title(first)), "heatmaps", blocks)


def _title(data: Heatmaps) -> str:
    """Return a title such as `Learning rate by batch size`."""
    one, other = (_spoken(axis.name) for axis in (data.rows, data.columns))
    one = one[0].upper() + one[1:]
    return tr("{one} by {other}", one=one, other=other) if other else one


def _spoken(name: str) -> str:
    if name == "learning_rate":
        return tr("learning rate")
    return tr("batch size") if name == "batch_size" else name.replace("_", " ")


def _heatmap_blocks(study: StudyRecord, data: Heatmaps) -> Iterable[Block]:
    if data.low is not None:
        title = tr("Colour scale of all heatmaps: {metric}", metric=data.metric.name)
        yield Row((Chart(title, ColourScale(data)),), caption=_clipping(data))  # as wide as one map
    yield Row(
        tuple(
            Chart(
                tr("{parameter}: {value}", parameter=study.group_by, value=own.group) if study.group_by else own.group,
                HeatmapChart(data, own),
                heatmap_table(data, own),
                sentences([_best_mean(data, own), _unplaced(data, own)]),
            )
            for own in data.maps
        )
    )


def _how_to_read(data: Heatmaps, several: bool) -> str:
    parts = [data.chosen] if data.chosen else []
    if several:
        meaning = mark(
            "The number in a cell is the final value of its complete trials: of one trial where n = 1, the mean where "
            "n is larger."
        )
        scale = mark("No cell mixes values of {group}, and all heatmaps of a metric share one colour scale.")
    else:
        meaning = mark(
            "The number in a cell is the final {metric} of its complete trials: of one trial where n = 1, the mean "
            "where n is larger."
        )
        scale = mark("No cell mixes values of {group}, and all heatmaps share one colour scale.")
    parts.append(tr(meaning, metric=data.metric.name))
    if data.group_by:
        parts.append(tr(scale, group=data.group_by))
    parts.append(
        tr("Pruned and failed trials are counted in their cells and never averaged in; empty cells were not tried.")
    )
    if any(own.best for own in data.maps):
        parts.append(tr("The cell of each heatmap's best trial is outlined."))
    parts += [_binning(axis) for axis in (data.rows, data.columns) if axis.binned]
    return sentences(parts)


def _binning(axis: Axis) -> str:
    if axis.whole and axis.log:
        text = mark("{parameter} has many values and is binned in equal steps of its logarithm.")
    elif axis.whole:
        text = mark("{parameter} has many values and is binned in equal steps.")
    elif axis.log:
        text = mark(
            "{parameter} is continuous and is binned by its logarithm. The edges are on the axis; each bin includes "
            "its lower edge, the last bin both edges."
        )
    else:
        text = mark(
            "{parameter} is continuous and is binned in equal steps. The edges are on the axis; each bin includes its "
            "lower edge, the last bin both edges."
        )
    return tr(text, parameter=axis.name)


def _clipping(data: Heatmaps) -> str:
    if data.metric.direction == "maximize":
        text = tr("Yellow is best (higher is better).")
    else:
        text = tr("Yellow is best (lower is better).")
    text = sentences([text, _noise(data)])
    if not data.clipped:
        return text
    beyond = tr("Some cells lie far beyond the bad end of the scale and have its end colour; their numbers are exact.")
    return sentences([text, beyond])


def _noise(data: Heatmaps) -> str:
    """Return what the scale spans, and how much of it is chance."""
    span = number(abs((data.high or 0.0) - (data.low or 0.0)), 2)
    if data.noise is None:
        return tr("The scale spans {span}; no cell has two trials to tell how much of that is chance.", span=span)
    return tr("The scale spans {span}; trials of one cell have a standard deviation of {noise}.",
              span=span, noise=number(data.noise, 2))  # fmt: skip


def _best_mean(data: Heatmaps, own: Heatmap) -> str:
    """Say which cell has the best mean, where it is not that of the best trial."""
    if own.best_mean is None or own.best_mean == own.best:
        return ""
    row, column = own.best_mean
    axes = [(data.rows, row), (data.columns, column)]
    cell = listed(f"{of.name} {of.labels[k]}" for of, k in axes if of.name)
    return tr("The best mean is in another cell: {cell} (n = {n}).", cell=cell, n=own.cells[row][column].n)


def _unplaced(data: Heatmaps, own: Heatmap) -> str:
    if not own.unplaced:
        return ""
    axes = listed((axis.name for axis in (data.rows, data.columns) if axis.name), "or")
    return trn(
        "{n} trial of this group had no {parameters} and is not shown.",
        "{n} trials of this group had no {parameters} and are not shown.",
        own.unplaced,
        parameters=axes,
    )


def heatmap_table(data: Heatmaps, own: Heatmap) -> Table:
    """Return the heatmap as a table; the cell of the best trial ends in a star."""
    across, down = data.columns.name, data.rows.name
    columns = (f"{down} ↓  {across} →" if across else down, *(data.columns.labels if across else (data.metric.name,)))
    rows = tuple(
        (text, *("; ".join(cell_lines(data, own, i, j)) for j in range(len(own.cells[i]))))
        for i, text in enumerate(data.rows.labels)
    )
    note = tr("★ the cell of the best trial") if own.best else ""
    return Table(columns, rows, note=note, folded=tr("The numbers as a table"))
