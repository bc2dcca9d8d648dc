"""Figures of the gradient norms: histograms of a few epochs, and maps by epoch and bin."""

from __future__ import annotations

import math
from typing import Any

import plotly.graph_objects as go
from plotly.colors import get_colorscale

from hpo.analysis.formatting import number
from hpo.reports.blocks import Rows
from hpo.reports.charts import EpochMap, GradientHistograms
from hpo.reports.figures.shared import OKABE_ITO, axis, layout, literal, whole_ticks
from hpo.translation.catalogue import tr

PANEL_HEIGHT = 110
GAP = 0.14  # between panels, as a share of one
MAP_HEIGHT = 300


def histograms_figure(data: GradientHistograms) -> go.Figure:
    """Draw a panel for each epoch, on common axes."""
    count = len(data.epochs)
    top = 1.06 * max(share for _, shares in data.epochs for share in shares)
    traces: list[go.Bar] = []
    axes: dict[str, Any] = {}
    for row, (epoch, shares) in enumerate(data.epochs):
        which = "y" if row == 0 else f"y{row + 1}"
        high, low = 1 - (row + GAP) / count if row else 1.0, 1 - (row + 1) / count
        title = axis(tr("epoch {epoch}", epoch=epoch), range=[0, top], ticksuffix=" %", nticks=4, fixedrange=True)
        axes[which.replace("y", "yaxis")] = title | {"domain": [low, high]}
        bins = len(shares)
        traces.append(
            go.Bar(
                x=[(k + 0.5) / bins for k in range(bins)],
                y=[float(f"{share:.4g}") for share in shares],
                width=[0.94 / bins] * bins,
                yaxis=which,
                marker={"color": OKABE_ITO[0]},
                hovertemplate="g %{x:.3g}: %{y:.3g} %<extra></extra>",
                showlegend=False,
            )
        )
    across = axis(tr("g, the norm of the gradient"), range=[0, 1], fixedrange=True)
    lowest = {"anchor": "y" if count == 1 else f"y{count}"}
    return go.Figure(traces, layout(PANEL_HEIGHT * count + 70, xaxis=across | lowest, **axes))


def histograms_rows(data: GradientHistograms) -> Rows:
    """Return a row for each bin of each epoch."""
    found = (
        (epoch, k / len(shares), (k + 1) / len(shares), share)
        for epoch, shares in data.epochs
        for k, share in enumerate(shares)
    )
    return Rows(("epoch", "from", "to", "percent_of_samples"), tuple(found))


def epoch_map_figure(data: EpochMap) -> go.Figure:
    """Draw the values by epoch and bin, coloured by their logarithm."""
    bins, epochs = len(data.values), data.epochs
    trace = go.Heatmap(
        z=[[None if value is None else math.log10(value) for value in row] for row in data.values],
        x=epochs,
        y=[(k + 0.5) / bins for k in range(bins)],
        customdata=[["" if value is None else number(value, 3) for value in row] for row in data.values],
        hovertemplate=f"{tr('epoch {epoch}', epoch='%{x}')}<br>g %{{y:.3g}}<br>%{{customdata}}<extra></extra>",
        hoverongaps=False,
        colorscale=get_colorscale("Cividis"),
        colorbar={"title": {"text": literal(data.title), "side": "top"}, "thickness": 12, **_ticks(data)},
    )
    frame = {"showgrid": False, "fixedrange": True}
    across = axis(tr("epoch"), **whole_ticks(epochs[-1] - epochs[0]), **frame)
    return go.Figure(trace, layout(MAP_HEIGHT, xaxis=across, yaxis=axis("g", range=[0, 1], **frame)))


def _ticks(data: EpochMap) -> dict[str, Any]:
    """Return ticks of the colour bar at 1, 2 or 5 times a power of ten, as many as there is room for."""
    known = [value for row in data.values for value in row if value is not None]
    low, high = min(known), max(known)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 2, 5), (1,)):
        ticks = [step * 10.0**k for k in decades for step in steps if low <= step * 10.0**k <= high]
        if 2 <= len(ticks) <= 8:
            return {"tickvals": [math.log10(tick) for tick in ticks], "ticktext": [number(tick, 3) for tick in ticks]}
    ends = sorted({low, high})
    return {"tickvals": [math.log10(end) for end in ends], "ticktext": [number(end, 3) for end in ends]}


def epoch_map_rows(data: EpochMap) -> Rows:
    """Return a row for each epoch and bin, as far as they are drawn."""
    bins = len(data.values)
    found = (
        (epoch, k / bins, (k + 1) / bins, value)
        for k, row in enumerate(data.values)
        for epoch, value in zip(data.epochs, row, strict=True)
        if value is not None
    )
    return Rows(("epoch", "from", "to", data.column), tuple(found))
