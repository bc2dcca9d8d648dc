"""Effect of one parameter in one group: a dot for each trial, median and quartiles of each value or bin.

Of very many trials it is their density in place of dots.
"""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from hpo.analysis.axes import Axis
from hpo.analysis.effects import ROOM, Level
from hpo.analysis.formatting import label, number
from hpo.reports.blocks import Rows
from hpo.reports.charts import EffectChart
from hpo.reports.figures.density import cell_rows, cells
from hpo.reports.figures.shared import (
    NEUTRAL,
    axis,
    color_of,
    jitter,
    layout,
    literal,
    median_text,
    quartile_bars,
    ticks,
)
from hpo.translation.catalogue import tr

HEIGHT = 250
ASIDE = 0.16  # how far dots of one value are put aside, in cells
SMALL: dict[str, Any] = {"showarrow": False, "font": {"size": 10}}


def effect_figure(data: EffectChart) -> go.Figure:
    """Draw the final values of one group over the values of one parameter."""
    shared, own = data.shared, data.own
    color = color_of(shared.groups.index(own))
    count = len(shared.axis.labels)
    across = axis(shared.axis.name, **_few_ticks(shared.axis), range=[-0.56, count - 0.44], fixedrange=True)
    many = shared.density(own)
    counts = [
        {"x": cell, "y": 1, "yref": "paper", "yanchor": "bottom", "text": f"n {level.n}", **SMALL}
        for cell, level in enumerate(own.levels)
        if not level.empty
    ]
    return go.Figure(
        [_dots(data, color) if many is None else cells(many, NEUTRAL), _medians(data, color)],
        layout(
            HEIGHT,
            showlegend=False,
            margin={"l": 8, "r": 20, "t": 24, "b": 8},
            xaxis=across | {"showgrid": shared.axis.binned},
            yaxis=axis("", range=shared.shown.padded(ROOM), fixedrange=True),
            annotations=counts,
        ),
    )


def _dots(data: EffectChart, color: str) -> go.Scatter:
    of, dots = data.shared.axis, data.own.dots
    apart = 0.0 if of.binned else ASIDE
    return go.Scatter(
        x=[round(dot.position + jitter(k, apart), 4) for k, dot in enumerate(dots)],
        y=[dot.value for dot in dots],
        mode="markers",
        marker={"color": color, "size": 6, "opacity": 0.5},
        customdata=[
            literal(
                tr(
                    "trial {n}: {value} at {parameter} {setting}",
                    n=dot.number,
                    value=number(dot.value, 5),
                    parameter=of.name,
                    setting=label(dot.parameter),
                )
            )
            for dot in dots
        ],
        hovertemplate="%{customdata}<extra></extra>",
    )


def _medians(data: EffectChart, color: str) -> go.Scatter:
    """Draw medians from two trials on: one trial is its own dot, where it is, and no line goes through it."""
    of, levels = data.shared.axis, data.own.levels
    medians = [level.median if level.n > 1 else None for level in levels]
    return go.Scatter(
        x=list(range(len(levels))),
        y=medians,
        mode="lines+markers" if _ordered(of) else "markers",
        line={"color": color, "width": 1.5, "dash": "dot"},
        marker={"color": color, "symbol": "diamond", "size": 11},
        error_y=quartile_bars(medians, [level.quartiles for level in levels]),
        customdata=[_hover(of, text, level) for text, level in zip(of.labels, levels, strict=True)],
        hovertemplate="%{customdata}<extra></extra>",
    )


def _ordered(of: Axis) -> bool:
    """Return True if the values have an order, so that a line between their medians has a meaning."""
    return of.binned or all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in of.values)


def _hover(of: Axis, text: str, level: Level) -> str:
    if level.median is None:
        return ""
    others = tr("{pruned} pruned, {failed} failed", pruned=level.pruned, failed=level.failed)
    middle = median_text(level.median, level.quartiles, level.n)
    return "<br>".join(literal(line) for line in (f"{of.name} {text}", middle, others))


def _few_ticks(of: Axis) -> dict[str, Any]:
    """Keep every second label where all of them would not fit a small panel."""
    every = ticks(of)
    step = 1 + (sum(len(text) + 2 for text in every["ticktext"]) > 40)
    return {**every, "tickvals": every["tickvals"][::step], "ticktext": every["ticktext"][::step]}


def effect_rows(data: EffectChart) -> Rows:
    """Return a row for each complete trial, or each cell; the diamonds are the medians of its `level`."""
    shared, own = data.shared, data.own
    names = (shared.group_by or "group", shared.axis.name, shared.metric.name)
    if (many := shared.density(own)) is not None:
        return cell_rows([(own.group, many)], names)
    levels = (shared.axis.labels[shared.axis.cell_of(dot.parameter) or 0] for dot in own.dots)
    dots = tuple(
        (own.group, dot.number, label(dot.parameter), level, dot.value)
        for dot, level in zip(own.dots, levels, strict=True)
    )
    return Rows((shared.group_by or "group", "trial", shared.axis.name, "level", shared.metric.name), dots)
