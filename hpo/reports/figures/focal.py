"""Bars of parts that add up to 100 %."""

from __future__ import annotations

import plotly.graph_objects as go

from hpo.analysis.formatting import rounded_percent
from hpo.reports.blocks import Rows
from hpo.reports.charts import StackedShares
from hpo.reports.figures.shared import OKABE_ITO, axis, layout, legend, literal
from hpo.translation.catalogue import tr

BAR = 44  # pixels of one
# By the number of segments: the last is what the eye should find.
COLORS = {2: (OKABE_ITO[5], OKABE_ITO[1]), 3: (OKABE_ITO[5], OKABE_ITO[4], OKABE_ITO[1])}
PATTERNS = {2: ("", "/"), 3: ("", ".", "/")}
STROKES = {"fgcolor": "#000000", "fgopacity": 0.3, "size": 7, "solidity": 0.2}
LEAST_WRITTEN = 0.12  # narrower segments have their number in the table alone


def stacked_figure(data: StackedShares) -> go.Figure:
    """Draw a horizontal bar for each share, split into its segments."""
    kinds = len(data.segments)
    places = list(range(len(data.bars)))
    traces = [
        go.Bar(
            x=[100 * parts[k] for parts in data.parts],
            y=places,
            orientation="h",
            name=tr(segment),
            marker={
                "color": COLORS[kinds][k],
                "pattern": {"shape": PATTERNS[kinds][k], "fillmode": "overlay", **STROKES},
                "line": {"color": "#ffffff", "width": 1},
            },
            text=[rounded_percent(parts[k]) if parts[k] >= LEAST_WRITTEN else "" for parts in data.parts],
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            textfont={"color": "#000000"},
            customdata=[literal(f"{tr(bar)}, {tr(segment)}") for bar in data.bars],
            hovertemplate="%{customdata}: %{x:.3g} %<extra></extra>",
        )
        for k, segment in enumerate(data.segments)
    ]
    names = [literal(tr(bar)).replace(", ", ",<br>") for bar in data.bars]
    look = layout(
        BAR * len(data.bars) + 90,
        barmode="stack",
        bargap=0.3,
        legend=legend() | {"traceorder": "normal"},
        xaxis=axis("", range=[0, 100], ticksuffix=" %", fixedrange=True),
        yaxis=axis("", tickvals=places, ticktext=names, autorange="reversed", showgrid=False, fixedrange=True),
    )
    return go.Figure(traces, look)


def stacked_rows(data: StackedShares) -> Rows:
    """Return a row for each segment."""
    found = (
        (bar, segment, 100 * part)
        for bar, parts in zip(data.bars, data.parts, strict=True)
        for segment, part in zip(data.segments, parts, strict=True)
    )
    return Rows(("of", "part", "percent"), tuple(found))
