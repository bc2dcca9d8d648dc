"""Curves of an evaluation, and images of the items that it was worst and best at."""

from __future__ import annotations

import plotly.graph_objects as go

from hpo.reports.blocks import Rows
from hpo.reports.charts import EvaluationCurve, Pictures
from hpo.reports.figures.shared import NEUTRAL, OKABE_ITO, OUTLINE, axis, layout, literal, short

HEIGHT = 320
PICTURE = 150  # pixels of a row of images


def curve_figure(data: EvaluationCurve) -> go.Figure:
    """Draw a curve on the unit square, with what chance would give."""
    chance = go.Scatter(
        x=[x for x, _ in data.chance],
        y=[y for _, y in data.chance],
        mode="lines",
        line={"color": NEUTRAL, "dash": "dot", "width": 1},
        hoverinfo="skip",
    )
    curve = go.Scatter(
        x=[x for x, _ in data.points],
        y=[y for _, y in data.points],
        mode="lines+markers" if data.dots else "lines",
        line={"color": OKABE_ITO[0], "width": 2},
        hovertemplate="%{x:.3f}, %{y:.3f}<extra></extra>",
    )
    traces = [chance, curve]
    if data.mark is not None:
        marker = {"color": OUTLINE, "size": 10, "symbol": "diamond"}
        hover = "%{x:.3f}, %{y:.3f}<extra></extra>"
        traces.append(
            go.Scatter(x=[data.mark[0]], y=[data.mark[1]], mode="markers", marker=marker, hovertemplate=hover)
        )
    frame = {"range": [-0.02, 1.02], "fixedrange": True}
    look = layout(HEIGHT, showlegend=False, xaxis=axis(data.x, **frame), yaxis=axis(data.y, **frame))
    return go.Figure(traces, look)


def curve_rows(data: EvaluationCurve) -> Rows:
    """Return the points of the curve."""
    return Rows(data.columns, data.points)


def pictures_figure(data: Pictures) -> go.Figure:
    """Draw images side by side, a row an item."""
    n, m = len(data.rows), len(data.columns)
    images = [
        {
            "source": source,
            **{"xref": "x", "yref": "y", "x": column, "y": -row, "sizex": 0.94, "sizey": 0.94},
            **{"xanchor": "center", "yanchor": "middle", "sizing": "contain"},
        }
        for row, (_, sources) in enumerate(data.rows)
        for column, source in enumerate(sources)
    ]
    frame = {"showgrid": False, "fixedrange": True, "ticks": "", "showline": False}
    columns = {"tickvals": list(range(m)), "ticktext": [literal(name) for name in data.columns], "side": "top"}
    rows = {"tickvals": [-row for row in range(n)], "ticktext": [short(name) for name, _ in data.rows]}
    look = layout(
        PICTURE * n + 50,
        images=images,
        showlegend=False,
        xaxis=axis("", range=[-0.5, m - 0.5], **columns, **frame),
        yaxis=axis("", range=[-n + 0.5, 0.5], **rows, **frame),
    )
    # Without a trace plotly draws no axes.
    return go.Figure([go.Scatter(x=[None], y=[None])], look)
