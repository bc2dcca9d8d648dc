"""Schedules of a parameter over the steps, a line for each lineage of a population."""

from __future__ import annotations

import plotly.graph_objects as go

from hpo.analysis.formatting import number
from hpo.reports.blocks import Rows
from hpo.reports.charts import ScheduleChart, ScheduleLine
from hpo.reports.figures.shared import NEUTRAL, OUTLINE, axis, epoch_margin, layout, legend, literal, whole_ticks
from hpo.translation.catalogue import tr


def schedule_figure(data: ScheduleChart) -> go.Figure:
    """Draw the values of a parameter by step, the lineage of the best trial thick and last."""
    figure = go.Figure(layout=layout(300, legend=legend()))
    for index, line in enumerate(data.lines):
        figure.add_trace(_trace(line, index == 0))
    steps = [step for line in data.lines for step, _ in line.points]
    room = epoch_margin(min(steps), max(steps))
    ends = [min(steps) - room, max(steps) + room]
    figure.update_xaxes(axis(tr("step"), range=ends, **whole_ticks(max(steps) - min(steps))))
    figure.update_yaxes(axis(data.parameter, type="log" if data.log else "linear"))
    return figure


def _trace(line: ScheduleLine, first: bool) -> go.Scatter:
    hover = [
        literal(tr("member {member}, step {step}: {value}", member=line.member, step=step, value=number(value)))
        for step, value in line.points
    ]
    return go.Scatter(
        x=[step for step, _ in line.points],
        y=[value for _, value in line.points],
        mode="lines+markers",
        name=tr("best trial") if line.best else tr("other members"),
        legendgroup="best" if line.best else "others",
        showlegend=line.best or first,
        line={"shape": "hvh", "color": OUTLINE if line.best else NEUTRAL, "width": 3 if line.best else 1},
        marker={"size": 6 if line.best else 3},
        customdata=hover,
        hovertemplate="%{customdata}<extra></extra>",
    )


def schedule_rows(data: ScheduleChart) -> Rows:
    """Return a row for each step of each lineage."""
    rows = [(line.member, line.best, step, value) for line in data.lines for step, value in line.points]
    return Rows(("member", "best", "step", data.parameter), tuple(rows))
