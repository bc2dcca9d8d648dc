"""Bars of parameter importance."""

from __future__ import annotations

import plotly.graph_objects as go

from hpo.analysis.formatting import rounded_percent
from hpo.analysis.importance import Importance
from hpo.reports.blocks import Rows
from hpo.reports.figures.shared import OKABE_ITO, axis, layout, literal, short
from hpo.translation.catalogue import tr


def importance_figure(data: Importance) -> go.Figure:
    """Draw a bar for each parameter, the largest share on top."""
    shares = list(reversed(data.shares))  # plotly draws from the bottom up
    trace = go.Bar(
        x=[share for _, share in shares],
        y=list(range(len(shares))),
        orientation="h",
        marker={"color": OKABE_ITO[0]},
        text=[rounded_percent(share) for _, share in shares],
        textposition="outside",
        cliponaxis=False,
        customdata=[literal(f"{name}: {rounded_percent(share, 1)}") for name, share in shares],
        hovertemplate="%{customdata}<extra></extra>",
    )
    result = go.Figure(trace, layout(30 * len(shares) + 64, bargap=0.35))
    top = max(share for _, share in shares)
    across = axis(tr("share of the total"), range=[0, top * 1.16], tickformat=".0%", nticks=6, fixedrange=True)
    result.update_xaxes(across)
    names = [short(name) for name, _ in shares]
    ticks = {"tickvals": list(range(len(shares))), "ticktext": names, "ticklabelstandoff": 6}
    result.update_yaxes(axis("", **ticks, showgrid=False, fixedrange=True))
    return result


def importance_rows(data: Importance) -> Rows:
    """Return a row for each parameter."""
    return Rows(("parameter", "share"), data.shares)
