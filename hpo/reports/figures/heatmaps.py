"""Heatmaps on one colour scale. They use cividis, which reads the same with any colour vision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.colors import get_colorscale, sample_colorscale

from hpo.analysis.axes import Axis
from hpo.analysis.formatting import number, numbers, score
from hpo.analysis.heatmaps import Heatmap, Heatmaps
from hpo.reports.blocks import Rows
from hpo.reports.charts import ColourScale, HeatmapChart, cell_lines, cell_places
from hpo.reports.figures.shared import FAINT, LONGEST_TICK, OUTLINE, axis, layout, literal, ticks
from hpo.translation.catalogue import tr

CELL_WIDTH, CELL_HEIGHT, LINE_HEIGHT = 64, 56, 15  # pixels that a cell and a line in it need


def heatmap_figure(data: HeatmapChart) -> go.Figure:
    """Draw one group's heatmap, with the numbers in its cells and the best trial's cell outlined."""
    shared, own = data.shared, data.own
    rows, columns = len(shared.rows.labels), len(shared.columns.labels)
    trace = go.Heatmap(
        z=[[cell.mean for cell in row] for row in own.cells],
        x=list(range(columns)),
        y=list(range(rows)),
        customdata=[[_hover(data, i, j) for j in range(columns)] for i in range(rows)],
        hovertemplate="%{customdata}<extra></extra>",
        xgap=2,
        ygap=2,
        showscale=False,
        **colours(data),
    )
    rule = {"type": "line", "line": {"color": FAINT, "width": 1}, "layer": "below"}
    across = [{**rule, "xref": "paper", "x0": 0, "x1": 1, "y0": k - 0.5, "y1": k - 0.5} for k in range(1, rows)]
    down = [{**rule, "yref": "paper", "y0": 0, "y1": 1, "x0": k - 0.5, "x1": k - 0.5} for k in range(1, columns)]
    return go.Figure(
        trace,
        layout(
            rows * _cell_height(shared) + 58,
            meta={"least_width": _least_width(shared)},
            xaxis=frame_of(shared.columns),
            yaxis=frame_of(shared.rows),
            shapes=[*across, *down, *_outline(own)],
            annotations=_numbers(data),
        ),
    )


def _least_width(shared: Heatmaps) -> int:
    """Return the pixels below which a map could not be read."""
    labels = shared.columns.labels
    return len(labels) * max(CELL_WIDTH, *(8 + 7 * min(LONGEST_TICK, len(text)) for text in labels)) + 110


def _cell_height(shared: Heatmaps) -> int:
    """Return the height that fits the cells of all heatmaps, so that these stay alike."""
    cells = (cell for own in shared.maps for row in own.cells for cell in row)
    lines = max((2 * (cell.mean is not None) + bool(cell.pruned) + bool(cell.failed) for cell in cells), default=0)
    return max(CELL_HEIGHT, LINE_HEIGHT * lines + 4)


def frame_of(of: Axis) -> dict[str, Any]:
    """Return an axis of cells, with a frame around the map."""
    frame = {"showgrid": False, "showline": True, "mirror": True, "fixedrange": True}
    return axis(of.name, **ticks(of), range=[-0.5, len(of.labels) - 0.5], **frame)


def _outline(own: Heatmap) -> list[dict[str, Any]]:
    if own.best is None:
        return []
    i, j = own.best
    corners = {"x0": j - 0.5, "x1": j + 0.5, "y0": i - 0.5, "y1": i + 0.5}
    return [{"type": "rect", **corners, "line": {"color": OUTLINE, "width": 3}}]


def _numbers(data: HeatmapChart) -> list[dict[str, Any]]:
    """Return the texts in the cells."""
    shared, own = data.shared, data.own
    found: list[dict[str, Any]] = []
    for i, row in enumerate(own.cells):
        for j, cell in enumerate(row):
            lines = cell_lines(shared, own, i, j)
            font: dict[str, Any] = {"size": 11}  # without a colour: the page's
            if cell.mean is not None:
                lines = (f"<b>{lines[0]}</b>", *lines[1:])
                font["color"] = ink_on(fill(cell.mean, data))
            if lines:
                found.append({"x": j, "y": i, "text": "<br>".join(lines), "showarrow": False, "font": font})
    return found


def fill(value: float, data: HeatmapChart) -> tuple[float, float, float]:
    """Return the colour of a cell as red, green, blue in 0 to 1."""
    low, high = _span(data)
    position = min(1.0, max(0.0, (value - low) / (high - low)))
    if colours(data)["reversescale"]:
        position = 1 - position
    red, green, blue = sample_colorscale(get_colorscale("Cividis"), [position], colortype="tuple")[0]
    return red, green, blue


def ink_on(fill: tuple[float, float, float]) -> str:
    """Return black or white, whichever has the higher contrast (WCAG 2.2) on `fill`."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in fill]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000000" if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else "#ffffff"


def _hover(data: HeatmapChart, row: int, column: int) -> str:
    shared, cell = data.shared, data.own.cells[row][column]
    where = [(of.name, of.labels[k]) for of, k in ((shared.rows, row), (shared.columns, column)) if of.name]
    lines = [literal(f"{name} {text}") for name, text in where]
    if cell.empty:
        return "<br>".join([*lines, tr("not tried")])
    if cell.mean is not None:
        values = {"metric": shared.metric.name, "value": number(cell.mean, 6)}
        if cell.n > 1:
            lines.append(literal(tr("mean of {metric}: {value}", **values)))
        else:
            lines.append(literal(tr("final value of {metric}: {value}", **values)))
    ended = tr(
        "{complete} complete, {pruned} pruned, {failed} failed",
        complete=cell.n,
        pruned=cell.pruned,
        failed=cell.failed,
    )
    return "<br>".join([*lines, ended, tr("trials {numbers}", numbers=numbers(cell.trials, 8))])


def colours(data: HeatmapChart | ColourScale) -> dict[str, Any]:
    """Return the colour scale that all heatmaps of the metric share, as plotly takes it."""
    low, high = _span(data)
    return {
        "zmin": low,
        "zmax": high,
        "colorscale": get_colorscale("Cividis"),
        "reversescale": data.shared.metric.direction == "minimize",
    }


def _span(data: HeatmapChart | ColourScale) -> tuple[float, float]:
    """Return the ends of the colour scale; a scale of one value is given some width."""
    low, high = data.shared.low, data.shared.high
    if low is None or high is None:
        return 0.0, 1.0
    if low == high:
        margin = abs(low) * 0.01 or 1.0
        return low - margin, high + margin
    return low, high


def scale_figure(data: ColourScale) -> go.Figure:
    """Draw the colour scale alone."""
    low, high = _span(data)
    steps = 200
    values = [low + (high - low) * k / (steps - 1) for k in range(steps)]
    trace = go.Heatmap(z=[values], x=values, y=[0], showscale=False, hoverinfo="skip", **colours(data))
    look = layout(60, margin={"l": 28, "r": 28, "t": 4, "b": 26}, meta={"least_width": _least_width(data.shared)})
    result = go.Figure(trace, look)
    values_shown = [low + (high - low) * k / 4 for k in range(5)]
    texts = [score(tick, cell_places(data.shared)) for tick in values_shown]
    frame = {"showgrid": False, "ticks": "outside", "fixedrange": True}
    result.update_xaxes(axis("", tickvals=values_shown, ticktext=texts, **frame))
    result.update_yaxes(visible=False, fixedrange=True)
    return result


def heatmap_rows(data: HeatmapChart) -> Rows:
    """Return a row for each cell that was tried."""
    shared, own = data.shared, data.own
    columns = (shared.group_by or "group", shared.rows.name or "-", shared.columns.name or "-")
    numbers = ("n", f"mean_{shared.metric.name}", "pruned", "failed", "trials")
    cells = (
        (own.group, shared.rows.labels[i], shared.columns.labels[j], c.n, c.mean, c.pruned, c.failed, _listed(c.trials))
        for i, row in enumerate(own.cells)
        for j, c in enumerate(row)
        if not c.empty
    )
    return Rows((*columns, *numbers), tuple(cells))


def _listed(trials: Sequence[int]) -> str:
    return " ".join(map(str, trials))
