"""The Pareto front of the first two metrics."""

from __future__ import annotations

import plotly.graph_objects as go

from hpo.analysis.pareto import Front
from hpo.analysis.wording import number
from hpo.reports.figures.shared import NEUTRAL, OKABE_ITO, axis, layout, legend, plain


def front_figure(data: Front) -> go.Figure:
    first, second = data.metrics
    result = go.Figure(layout=layout(400, dragmode="zoom", legend=legend()))
    kinds = ((False, "complete", NEUTRAL, "circle-open"), (True, "on the front", OKABE_ITO[0], "circle"))
    for on_front, name, color, symbol in kinds:
        points = sorted((point for point in data.points if point[3] == on_front), key=lambda point: point[1])
        if points:
            result.add_trace(
                go.Scatter(
                    x=[point[1] for point in points],
                    y=[point[2] for point in points],
                    mode="lines+markers" if on_front else "markers",
                    name=name,
                    line={"color": color, "width": 1.5, "dash": "dot"},
                    marker={"color": color, "symbol": symbol, "size": 9},
                    customdata=[
                        plain(f"trial {n}: {first.name} {number(x, 5)}, {second.name} {number(y, 5)}")
                        for n, x, y, _ in points
                    ],
                    hovertemplate="%{customdata}<extra></extra>",
                )
            )
    result.update_xaxes(axis(f"{first.name} ({first.direction})"))
    result.update_yaxes(axis(f"{second.name} ({second.direction})"))
    return result
