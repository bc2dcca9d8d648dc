"""Final values of each group: a row for each group, a dot for each trial, a diamond for the mean with its deviation."""

from __future__ import annotations

import plotly.graph_objects as go

from hpo.analysis.comparison import Comparison, GroupFinals
from hpo.analysis.formatting import number
from hpo.analysis.summary_statistics import Spread
from hpo.reports.blocks import Rows
from hpo.reports.figures.shared import (
    STRIP_HEIGHT,
    axis,
    color_of,
    group_strips,
    jitter,
    layout,
    literal,
    padded,
    short,
)
from hpo.translation.catalogue import tr


def comparison_figure(data: Comparison) -> go.Figure:
    """Draw the final values of all groups below each other."""
    traces: list[go.Scatter] = []
    for row, group in enumerate(data.groups):
        traces.append(_dots(row, group))
        if group.spread is not None:
            traces.append(_mean(row, group.group, group.spread))
    look = layout(
        STRIP_HEIGHT * len(data.groups) + 60,
        showlegend=False,
        xaxis=axis(data.metric.name, fixedrange=True, range=padded(data.shown) if data.beyond else None),
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


def _mean(row: int, name: str, found: Spread) -> go.Scatter:
    """Draw the mean below the dots, with a bar of one standard deviation to either side if there is one."""
    bar = {"array": [found.deviation], "thickness": 2, "width": 4}
    mean = number(found.mean, 5)
    text = tr("mean {mean}, n = {n}", mean=mean, n=found.n)
    if found.deviation is not None:
        text = tr("mean {mean}, sd {sd}, n = {n}", mean=mean, sd=number(found.deviation, 3), n=found.n)
    return go.Scatter(
        x=[found.mean],
        y=[row + 0.28],
        mode="markers",
        marker={"color": color_of(row), "symbol": "diamond", "size": 10},
        error_x=None if found.deviation is None else bar,
        hovertemplate=f"{short(name)}<br>{literal(text)}<extra></extra>",
    )


def comparison_rows(data: Comparison) -> Rows:
    """Return a row for each complete trial."""
    finals = ((group.group, trial, value) for group in data.groups for trial, value in group.finals)
    return Rows((data.group_by or "group", "trial", data.metric.name), tuple(finals))
