"""Final values of each group: a row of dots for each, a diamond for the median with the quartiles.

Of very many trials it is a row of cells for each, the darker the more trials are in them.
"""

from __future__ import annotations

import plotly.graph_objects as go

from hpo.analysis.comparison import Comparison, GroupFinals
from hpo.analysis.formatting import number
from hpo.analysis.summary_statistics import Spread
from hpo.reports.blocks import Rows
from hpo.reports.figures.density import cell_rows, cells
from hpo.reports.figures.shared import (
    STRIP_HEIGHT,
    axis,
    color_of,
    group_strips,
    jitter,
    layout,
    literal,
    median_text,
    quartile_bars,
    short,
)
from hpo.translation.catalogue import tr


def comparison_figure(data: Comparison) -> go.Figure:
    """Draw the final values of all groups below each other."""
    traces: list[go.Scatter | go.Heatmap] = []
    many = data.densities()
    for row, group in enumerate(data.groups):
        traces.append(cells(many[row], color_of(row)) if many else _dots(row, group))
        if group.spread is not None and group.spread.n > 1:
            traces.append(_median(row, group.group, group.spread))
    look = layout(
        STRIP_HEIGHT * len(data.groups) + 60,
        showlegend=False,
        xaxis=axis(data.metric.name, fixedrange=True, range=data.shown.padded() if data.beyond or many else None),
        yaxis=group_strips(group.group for group in data.groups),
    )
    return go.Figure(traces, look)


def _dots(row: int, group: GroupFinals) -> go.Scatter:
    return go.Scatter(
        x=[value for _, value in group.finals],
        y=[row - 0.1 + jitter(k, 0.2) for k in range(len(group.finals))],
        mode="markers",
        marker={"color": color_of(row), "size": 7, "opacity": 0.85},
        customdata=[
            literal(tr("trial {n}: {value}", n=trial, value=number(value, 5))) for trial, value in group.finals
        ],
        hovertemplate="%{customdata}<extra></extra>",
    )


def _median(row: int, name: str, found: Spread) -> go.Scatter:
    """Draw the median below the dots, with a bar over the quartiles if there are any."""
    text = median_text(found.median, found.quartiles, found.n)
    return go.Scatter(
        x=[found.median],
        y=[row + 0.28],
        mode="markers",
        marker={"color": color_of(row), "symbol": "diamond", "size": 10},
        error_x=quartile_bars([found.median], [found.quartiles]),
        hovertemplate=f"{short(name)}<br>{literal(text)}<extra></extra>",
    )


def comparison_rows(data: Comparison) -> Rows:
    """Return a row for each complete trial, or each cell."""
    if many := data.densities():
        names = (data.group_by or "group", data.metric.name, "row")
        return cell_rows([(group.group, own) for group, own in zip(data.groups, many, strict=True)], names)
    finals = ((group.group, trial, value) for group in data.groups for trial, value in group.finals)
    return Rows((data.group_by or "group", "trial", data.metric.name), tuple(finals))
