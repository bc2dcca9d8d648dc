"""The Pareto front of the first two metrics; of very many trials the others are cells, the darker the more trials."""

from __future__ import annotations

import plotly.graph_objects as go

from hpo.analysis.formatting import number, with_direction
from hpo.analysis.pareto import Front
from hpo.reports.blocks import Rows
from hpo.reports.figures.density import cells
from hpo.reports.figures.shared import NEUTRAL, OKABE_ITO, axis, layout, legend, literal
from hpo.translation.catalogue import tr


def front_figure(data: Front) -> go.Figure:
    """Draw the complete trials, those on the front joined."""
    first, second = data.metrics
    result = go.Figure(layout=layout(400, dragmode="zoom", legend=legend()))
    many = data.density()
    others = [] if many else sorted((point for point in data.points if not point[3]), key=lambda point: point[1])
    kinds = (
        (False, others, tr("complete"), NEUTRAL, "circle-open"),
        (True, data.on_front, tr("on the front"), OKABE_ITO[0], "circle"),
    )
    if many:
        result.add_trace(cells(many, NEUTRAL, tr("complete")))
    for on_front, points, name, color, symbol in kinds:
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
                        literal(
                            tr(
                                "trial {n}: {first} {x}, {second} {y}",
                                n=n,
                                first=first.name,
                                x=number(x, 5),
                                second=second.name,
                                y=number(y, 5),
                            )
                        )
                        for n, x, y, _ in points
                    ],
                    hovertemplate="%{customdata}<extra></extra>",
                )
            )
    result.update_xaxes(axis(with_direction(first)))
    result.update_yaxes(axis(with_direction(second)))
    return result


def front_rows(data: Front) -> Rows:
    """Return a row for each complete trial; of very many only for those on the front that are drawn."""
    points = data.points if data.density() is None else data.on_front
    return Rows(("trial", *(metric.name for metric in data.metrics), "on_front"), points)
