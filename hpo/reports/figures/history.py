"""Optimization history: a dot for each trial, and a line of the best value so far.

Of very many trials it is the density of the complete ones in place of dots.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import plotly.graph_objects as go

from hpo.analysis.formatting import number
from hpo.analysis.optimization_history import History, Point
from hpo.reports.blocks import Rows
from hpo.reports.figures.density import cell_rows, cells
from hpo.reports.figures.shared import (
    NEUTRAL,
    OKABE_ITO,
    OUTLINE,
    axis,
    color_of,
    layout,
    legend,
    literal,
    short,
    symbol_of,
    whole_ticks,
)
from hpo.translation.catalogue import tr, trn


def history_figure(data: History) -> go.Figure:
    """Draw the value of each trial over its number."""
    height = 340 + 18 * len(data.groups)  # room for the legend, one entry a line on a narrow screen
    result = go.Figure(layout=layout(height, dragmode="zoom", legend=legend()))
    last = max(point.number for point in data.points)
    many = data.density()
    if many is not None:
        result.add_trace(cells(many, OKABE_ITO[0], tr("complete")))
    if data.best:
        best = [*(data.best if many is None else data.improvements), (last, data.best[-1][1])]
        result.add_trace(
            go.Scatter(
                x=[trial for trial, _ in best],
                y=[value for _, value in best],
                mode="lines",
                name=tr("best so far"),
                line={"shape": "hv", "color": NEUTRAL if many is None else OUTLINE, "width": 2},
                hoverinfo="skip",
            )
        )
    if many is None:
        result.add_traces(list(_all_dots(data)))
    result.update_xaxes(axis(tr("trial"), range=[-0.02 * last - 0.5, 1.02 * last + 0.5], **whole_ticks(last)))
    result.update_yaxes(axis(data.metric.name))
    if data.beyond or many is not None:
        result.update_yaxes(range=data.shown.padded())
    return result


def _all_dots(data: History) -> Iterator[go.Scatter]:
    pruned = [point for point in data.points if point.state == "PRUNED"]
    if pruned:
        yield _dots(
            pruned, tr("pruned (last report)"), data, color=NEUTRAL, symbol="x-thin", size=7, line={"width": 1.5}
        )
    for index, group in enumerate(data.groups):
        points = [point for point in data.points if point.state == "COMPLETE" and point.group == group]
        if points:
            name = group if data.group_by else tr("complete")
            yield _dots(points, name, data, color=color_of(index), symbol=symbol_of(index), size=8)


def _dots(points: list[Point], name: str, data: History, **marker: Any) -> go.Scatter:
    if "line" in marker:  # the colour of a thin symbol is that of its line
        marker["line"] = {**marker["line"], "color": marker["color"]}
    return go.Scatter(
        x=[point.number for point in points],
        y=[point.value for point in points],
        mode="markers",
        name=short(name),
        marker=marker,
        customdata=[_point_hover(point, data) for point in points],
        hovertemplate="%{customdata}<extra></extra>",
    )


def _point_hover(point: Point, data: History) -> str:
    values = {"trial": point.number, "metric": data.metric.name, "value": number(point.value, 5)}
    if point.state == "PRUNED":
        text = trn(
            "trial {trial}: {metric} {value} when pruned after {n} step",
            "trial {trial}: {metric} {value} when pruned after {n} steps",
            point.steps,
            **values,
        )
    else:
        text = tr("trial {trial}: {metric} {value}", **values)
    return literal(text) + (f"<br>{literal(f'{data.group_by} {point.group}')}" if data.group_by else "")


def history_rows(data: History) -> Rows:
    """Return a row for each trial, with `best_so_far` where one completed, or a row for each cell.

    The value of a pruned trial is the last that it reported.
    """
    if (many := data.density()) is not None:
        return cell_rows([("", many)], (data.group_by or "group", "trial", data.metric.name))
    best = dict(data.best)
    rows = ((p.number, p.state, p.group, p.value, p.steps, best.get(p.number)) for p in data.points)
    return Rows(("trial", "state", data.group_by or "group", data.metric.name, "steps", "best_so_far"), tuple(rows))
