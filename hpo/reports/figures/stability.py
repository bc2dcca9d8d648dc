"""Training stability: a row for each group, a dot for each trial, and the four bands behind them.

Of very many trials it is a row of cells for each group, the darker the more trials are in them.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import plotly.graph_objects as go

from hpo.analysis.formatting import number, percent
from hpo.analysis.stability import BANDS, HALF_STRIP, WORST, Dot, Stabilities, place
from hpo.reports.blocks import Rows
from hpo.reports.figures.density import cell_rows, cells
from hpo.reports.figures.shared import (
    NEUTRAL,
    OKABE_ITO,
    STRIP_HEIGHT,
    axis,
    group_strips,
    jitter,
    layout,
    legend,
    literal,
)
from hpo.translation.catalogue import tr

DOT = {"color": NEUTRAL, "size": 7}
STAR = {"color": OKABE_ITO[0], "symbol": "star", "size": 13}
# Green, blue, amber, vermilion: told apart with any colour vision, and faint enough on white and on black.
COLORS = ("rgba(0,158,115,0.22)", "rgba(86,180,233,0.22)", "rgba(230,159,0,0.22)", "rgba(213,94,0,0.22)")


def stability_figure(data: Stabilities) -> go.Figure:
    """Draw the spreads on an axis of decimal logarithms, so that bands and dots are placed alike."""
    low, high = span = data.span
    edges = [low, *(math.log10(limit) for _, limit in BANDS), high]
    names = [*(f"{tr(name)} ≤ {percent(100 * limit)} %" for name, limit in BANDS), tr(WORST)]
    rect = {"type": "rect", "yref": "paper", "y0": 0, "y1": 1, "line": {"width": 0}, "layer": "below"}
    bands = [{**rect, "x0": edges[k], "x1": edges[k + 1], "fillcolor": color} for k, color in enumerate(COLORS)]
    traces: list[go.Scatter | go.Heatmap] = [_swatch(name, color) for name, color in zip(names, COLORS, strict=True)]
    many = data.densities()
    for row, group in enumerate(data.groups):
        number_of_best = None if group.best is None else group.best.number
        places = [(row + jitter(k, HALF_STRIP), dot) for k, dot in enumerate(group.dots) if dot.stability.word]
        if many:
            traces.append(cells(many[row], NEUTRAL))
        else:
            others = [(y, dot) for y, dot in places if dot.number != number_of_best]
            traces.append(_dots(others, span, DOT, False))
        traces.append(_dots([(y, dot) for y, dot in places if dot.number == number_of_best], span, STAR, True))
    ticks = _ticks(low, high)
    texts = [number(10.0 ** (tick + 2), 3) for tick in ticks]
    title = tr("spread of {metric}, % of its gain", metric=data.series.name)
    frame = {"showgrid": False, "ticks": "outside", "fixedrange": True, "tickangle": 0}
    look = layout(
        STRIP_HEIGHT * len(data.groups) + 140,
        legend=legend(),
        shapes=bands,
        xaxis=axis(title, tickvals=ticks, ticktext=texts, range=[low, high], **frame),
        yaxis=group_strips(group.group for group in data.groups),
    )
    return go.Figure(traces, look)


def _swatch(name: str, color: str) -> go.Scatter:
    """Draw an entry of the legend."""
    marker = {"color": color.replace("0.22", "0.6"), "symbol": "square", "size": 11}
    return go.Scatter(x=[None], y=[None], mode="markers", marker=marker, name=literal(name))


def _dots(
    places: list[tuple[float, Dot]], shown: tuple[float, float], marker: dict[str, Any], best: bool
) -> go.Scatter:
    return go.Scatter(
        x=[place(dot, shown) for _, dot in places],
        y=[y for y, _ in places],
        mode="markers",
        marker=marker,
        customdata=[literal(_hover(dot, best)) for _, dot in places],
        hovertemplate="%{customdata}<extra></extra>",
        showlegend=False,
    )


def _hover(dot: Dot, best: bool) -> str:
    found = dot.stability
    values = {
        "trial": dot.number,
        "spread": percent(100 * (found.spread or 0.0)),
        "word": tr(found.word),
        "deviation": number(found.deviation or 0.0, 3),
    }
    if best:
        return tr("trial {trial} (the best): {word}, {spread} % of the gain; deviation {deviation}", **values)
    return tr("trial {trial}: {word}, {spread} % of the gain; deviation {deviation}", **values)


def _ticks(low: float, high: float) -> list[float]:
    """Return decades, at most about six."""
    first, last = math.ceil(low), math.floor(high)
    return [float(k) for k in range(first, last + 1, max(1, (last - first) // 6))]


def stability_rows(data: Stabilities) -> Rows:
    """Return a row for each trial that is judged, or for each cell."""
    if many := data.densities():
        spreads = [replace(strip, x=tuple(10.0**edge for edge in strip.x)) for strip in many]
        names = (data.group_by or "group", f"spread_of_{data.series.name}", "row")
        return cell_rows([(group.group, own) for group, own in zip(data.groups, spreads, strict=True)], names)
    dots = (
        (group.group, dot.number, dot.stability.deviation, dot.stability.n, dot.stability.spread, dot.stability.word)
        for group in data.groups
        for dot in group.dots
    )
    columns = (data.group_by or "group", "trial", f"sd_{data.series.name}", "epochs", "spread", "reading")
    return Rows(columns, tuple(dots))
