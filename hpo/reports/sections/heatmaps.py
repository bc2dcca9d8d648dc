"""Two parameters in each group, a number and n in every cell."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hpo.analysis.architecture import Heatmap, Heatmaps, heatmaps
from hpo.analysis.importance import importance
from hpo.analysis.records import StudyRecord
from hpo.analysis.wording import count, decimals, listed, score
from hpo.reports.blocks import Block, Chart, Row, Section, Table, Text
from hpo.reports.sections.shared import for_each


@dataclass(frozen=True)
class HeatmapChart:
    """One of the heatmaps, with what all of them have in common."""

    shared: Heatmaps
    own: Heatmap


@dataclass(frozen=True)
class ColourScale:
    shared: Heatmaps


def heatmap_section(study: StudyRecord) -> Section:
    maps = [heatmaps(study, metric, [name for name, _ in importance(study, metric).shares]) for metric in study.metrics]
    known = [data for data in maps if data is not None]
    if not known:
        text = "No parameter with values of its own is searched, so there is nothing to lay out."
        return Section("Heatmaps", "heatmaps", [Text(text)])
    if not study.finished:
        return Section("Heatmaps", "heatmaps", [Text("No trial has finished yet.")])
    first = known[0]
    several = len(known) > 1
    blocks: list[Block] = [Text(_how_to_read(first, several))]
    for data in known:
        if several:
            same = (data.rows.name, data.columns.name) == (first.rows.name, first.columns.name)
            aside = f" {data.chosen}" if not same else ""
            blocks.append(Text(f"Final {data.metric.name} ({data.metric.direction}):{aside}"))
        blocks += _heatmap_blocks(study, data)
    if first.averaged:
        text = f"Other parameters vary within a cell: {listed(first.averaged)}. A cell with n above 1 averages over "
        blocks.append(Text(text + "them, and two cells may differ because of them."))
    spoken = [axis.name.replace("_", " ") for axis in (first.rows, first.columns) if axis.name]
    title = " by ".join([spoken[0][0].upper() + spoken[0][1:], *spoken[1:]])
    return Section(f"{title}{for_each(study)}", "heatmaps", blocks)


def _heatmap_blocks(study: StudyRecord, data: Heatmaps) -> Iterable[Block]:
    if data.low is not None:
        yield Chart(f"Colour scale of all heatmaps: {data.metric.name}", ColourScale(data), caption=_clipping(data))
    yield Row(
        tuple(
            Chart(
                f"{study.group_by}: {own.group}" if study.group_by else own.group,
                HeatmapChart(data, own),
                heatmap_table(data, own),
                _unplaced(data, own),
            )
            for own in data.maps
        )
    )


def _how_to_read(data: Heatmaps, several: bool) -> str:
    parts = [data.chosen] if data.chosen else []
    parts.append(
        f"The number in a cell is the final {'value' if several else data.metric.name} of its complete trials: of one "
        "trial where n = 1, the mean where n is larger."
    )
    if data.group_by:
        scale = "all heatmaps of a metric share" if several else "all heatmaps share"
        parts.append(f"No cell mixes values of {data.group_by}, and {scale} one colour scale.")
    parts.append(
        "Pruned and failed trials are counted in their cells and never averaged in; empty cells were not tried."
    )
    if any(own.best for own in data.maps):
        parts.append("The best cell of each heatmap is outlined.")
    for axis in (data.rows, data.columns):
        if axis.binned:
            kind = "has many values" if axis.whole else "is continuous"
            steps = "equal steps of its logarithm" if axis.log else "equal steps"
            edges = (
                "" if axis.whole else "; the edges are on the axis, and a bin holds its lower edge, the last bin both"
            )
            parts.append(f"{axis.name} {kind} and is binned in {steps}{edges}.")
    return " ".join(parts)


def _clipping(data: Heatmaps) -> str:
    brighter = "higher" if data.metric.direction == "maximize" else "lower"
    text = f"Yellow is best ({brighter} is better)."
    if data.clipped:
        text += " Some cells lie far beyond the bad end of the scale and have its end colour; their numbers are exact."
    return text


def _unplaced(data: Heatmaps, own: Heatmap) -> str:
    if not own.unplaced:
        return ""
    axes = listed((axis.name for axis in (data.rows, data.columns) if axis.name), "or")
    return f"{count(own.unplaced, 'trial')} of this group had no {axes} and is not shown."


def heatmap_table(data: Heatmaps, own: Heatmap) -> Table:
    """The heatmap in words; the best cell ends in a star."""
    across, down = data.columns.name, data.rows.name
    columns = (f"{down} ↓  {across} →" if across else down, *(data.columns.labels if across else (data.metric.name,)))
    rows = tuple(
        (text, *("; ".join(cell_lines(data, own, i, j)) for j in range(len(own.cells[i]))))
        for i, text in enumerate(data.rows.labels)
    )
    return Table(columns, rows, note="★ the best cell" if own.best else "", folded="The numbers as a table")


def cell_lines(data: Heatmaps, own: Heatmap, row: int, column: int) -> tuple[str, ...]:
    """What stands in a cell, line by line: `0.912`, `n = 2`, `1 pruned`."""
    cell = own.cells[row][column]
    lines: list[str] = []
    if cell.mean is not None:
        star = " ★" if own.best == (row, column) else ""
        lines += [score(cell.mean, cell_places(data)) + star, f"n = {cell.n}"]
    if cell.pruned:
        lines.append(f"{cell.pruned} pruned")
    if cell.failed:
        lines.append(f"{cell.failed} failed")
    return tuple(lines)


def cell_places(data: Heatmaps) -> int:
    return decimals(value for value in (data.low, data.high) if value is not None)
