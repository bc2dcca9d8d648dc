"""Differences of means of pairs of groups, each with its simultaneous interval, and the line of no difference."""

from __future__ import annotations

import plotly.graph_objects as go

from hpo.analysis.formatting import number
from hpo.analysis.statistics.pairwise import Pair, Pairwise
from hpo.reports.blocks import Rows
from hpo.reports.figures.shared import NEUTRAL, OKABE_ITO, axis, layout, literal, short, strips
from hpo.translation.catalogue import tr

ROW_HEIGHT = 46  # pixels, for two lines of text
LONGEST_GROUP = 20


def pairwise_figure(data: Pairwise) -> go.Figure:
    """Draw a row for each pair: filled where the interval leaves out 0, hollow where it does not."""
    apart = [(row, pair) for row, pair in enumerate(data.pairs) if not pair.low <= 0 <= pair.high]
    together = [(row, pair) for row, pair in enumerate(data.pairs) if pair.low <= 0 <= pair.high]
    traces = [
        _trace(pairs, color, symbol)
        for pairs, color, symbol in ((apart, OKABE_ITO[1], "diamond"), (together, NEUTRAL, "diamond-open"))
        if pairs
    ]
    names = [
        tr("{a}<br>less {b}", a=short(pair.a, LONGEST_GROUP), b=short(pair.b, LONGEST_GROUP)) for pair in data.pairs
    ]
    look = layout(
        ROW_HEIGHT * len(data.pairs) + 70,
        showlegend=False,
        xaxis=axis(tr("difference of means"), fixedrange=True),
        yaxis=strips(names),
        shapes=[_no_difference()],
    )
    return go.Figure(traces, look)


def _no_difference() -> dict[str, object]:
    line = {"color": NEUTRAL, "width": 1.5, "dash": "dash"}
    return {"type": "line", "x0": 0, "x1": 0, "yref": "paper", "y0": 0, "y1": 1, "line": line, "layer": "below"}


def _trace(pairs: list[tuple[int, Pair]], color: str, symbol: str) -> go.Scatter:
    return go.Scatter(
        x=[pair.difference for _, pair in pairs],
        y=[row for row, _ in pairs],
        mode="markers",
        marker={"color": color, "symbol": symbol, "size": 10, "line": {"color": color, "width": 1.5}},
        error_x={
            "type": "data",
            "array": [pair.high - pair.difference for _, pair in pairs],
            "arrayminus": [pair.difference - pair.low for _, pair in pairs],
            "color": color,
            "thickness": 2,
            "width": 5,
        },
        customdata=[literal(_hover(pair)) for _, pair in pairs],
        hovertemplate="%{customdata}<extra></extra>",
    )


def _hover(pair: Pair) -> str:
    numbers = {name: number(getattr(pair, name), 4) for name in ("difference", "low", "high")}
    return tr("{a} less {b}: {difference}, 95 % interval {low} to {high}", a=pair.a, b=pair.b, **numbers)


def pairwise_rows(data: Pairwise) -> Rows:
    """Return a row for each pair."""
    columns = ("group_a", "group_b", "n_a", "n_b", "difference", "low", "high", "corrected_p", "hedges_g", "method")
    return Rows(
        columns,
        tuple((p.a, p.b, p.n_a, p.n_b, p.difference, p.low, p.high, p.p, p.g, data.method) for p in data.pairs),
    )
