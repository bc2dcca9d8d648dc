"""Figures that are kept in a study for optuna-dashboard.

optuna-dashboard shows each in a box of its own, half a window wide and 450 pixels high, and does not tell it the theme.
So they have a title, and a light background on which they can be read in any theme.
"""

from __future__ import annotations

import plotly.graph_objects as go

from hpo.analysis.formatting import score
from hpo.analysis.heatmaps import Heatmap, Heatmaps
from hpo.analysis.importance import METHOD, Importance
from hpo.reports.charts import HeatmapChart, cell_places
from hpo.reports.figures.heatmaps import colours, fill, frame_of, ink_on
from hpo.reports.figures.importance import importance_figure
from hpo.reports.figures.shared import cut, layout, literal
from hpo.translation.catalogue import tr

HEIGHT = 450
# More could not be read.
MOST_CELLS, MOST_BARS = 100, 12
INK, GROUND = "#1c2128", "#ffffff"
LONGEST_TITLE = 60


def heatmap_graph(data: Heatmaps, own: Heatmap) -> go.Figure:
    """Draw the means of one group's cells and their n, on the colour scale of all groups.

    It has few digits and no hover text of its own, since it is stored in small pieces.
    """
    places = cell_places(data)
    chart = HeatmapChart(data, own)
    cells = [
        (row, column, cell.mean, cell.n)
        for row, line in enumerate(own.cells)
        for column, cell in enumerate(line)
        if cell.mean is not None
    ]
    across, up = len(data.columns.labels), len(data.rows.labels)
    traces: list[go.Heatmap | go.Scatter] = [
        go.Heatmap(
            z=[[None if cell.mean is None else float(f"{cell.mean:.5g}") for cell in row] for row in own.cells],
            x=list(range(across)),
            y=list(range(up)),
            hovertemplate="%{z}<extra></extra>",
            hoverongaps=False,
            xgap=2,
            ygap=2,
            colorbar={"thickness": 12},
            **colours(chart),
        )
    ]
    if across * up <= MOST_CELLS:
        numbers = go.Scatter(
            x=[column for _, column, _, _ in cells],
            y=[row for row, _, _, _ in cells],
            mode="text",
            text=[f"{score(mean, places)}<br>n {n}" for _, _, mean, n in cells],
            textfont={"size": 11, "color": [ink_on(fill(mean, chart)) for _, _, mean, _ in cells]},
            hoverinfo="skip",
            showlegend=False,
        )
        traces.append(numbers)
    title = tr("{group}: final {metric}, mean and n", group=own.group, metric=data.metric.name)
    look = layout(HEIGHT, xaxis=frame_of(data.columns), yaxis=frame_of(data.rows))
    return _grounded(go.Figure(traces, look), title)


def importance_graph(data: Importance) -> go.Figure:
    """Draw the shares of the most important parameters."""
    shown = Importance(data.metric, data.shares[:MOST_BARS], data.n, data.top)
    title = tr("Importance for {metric}: {method}, n = {n}", metric=data.metric.name, method=METHOD, n=data.n)
    return _grounded(importance_figure(shown), title)


def _grounded(figure: go.Figure, title: str) -> go.Figure:
    place = {"x": 0.02, "y": 1, "yanchor": "top", "pad": {"t": 14}}
    return figure.update_layout(
        height=HEIGHT,
        paper_bgcolor=GROUND,
        plot_bgcolor=GROUND,
        font_color=INK,
        title={"text": literal(cut(title, LONGEST_TITLE)), "font": {"size": 14}, **place},
        margin={"l": 12, "r": 16, "t": 46, "b": 12},
    )
