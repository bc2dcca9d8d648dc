"""Cells that are the darker the more trials are in them, in place of a dot for each of very many trials."""

from __future__ import annotations

import math
from collections.abc import Iterable

import plotly.graph_objects as go
from plotly.colors import hex_to_rgb

from hpo.analysis.density import Density
from hpo.reports.blocks import Rows
from hpo.translation.catalogue import tr

FAINTEST = 0.18


def cells(data: Density, color: str, name: str = "") -> go.Heatmap:
    """Draw the cells in one colour, by the logarithm of their counts; empty ones are left out.

    Args:
        data: The counts.
        color: Of the fullest cell, such as `#0072B2`.
        name: In the legend; empty: it is not in it.
    """
    red, green, blue = hex_to_rgb(color)
    scale = [[part, f"rgba({red}, {green}, {blue}, {FAINTEST + (1 - FAINTEST) * part:.2f})"] for part in (0.0, 1.0)]
    hover = tr("trials: {n}", n="%{customdata}")
    most = max((count for row in data.counts for count in row), default=1)
    return go.Heatmap(
        x=data.x,
        y=data.y,
        z=[[round(math.log10(count), 2) if count else None for count in row] for row in data.counts],
        zmin=0,
        zmax=math.log10(max(most, 2)),
        colorscale=scale,
        showscale=False,
        name=name,
        showlegend=bool(name),
        customdata=data.counts,
        hoverongaps=False,
        hovertemplate=f"{hover}<extra></extra>",
    )


def cell_rows(parts: Iterable[tuple[str, Density]], columns: tuple[str, ...]) -> Rows:
    """Return a row for each cell that holds a trial.

    Args:
        parts: Groups, each with its cells.
        columns: Names of the group, of the horizontal and of the vertical axis.
    """
    group, x, y = columns
    names = (group, f"{x}_from", f"{x}_to", f"{y}_from", f"{y}_to", "trials")
    return Rows(names, tuple((name, *cell) for name, data in parts for cell in data.cells))
