"""Curves by epoch: the best trial of a group with its losses and metrics, and all trials of a group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from hpo.analysis.formatting import number
from hpo.analysis.training.curves import Curve, Line, Panel, drawn
from hpo.reports.blocks import Rows
from hpo.reports.charts import LinesChart, TrainingChart
from hpo.reports.figures.shared import (
    OKABE_ITO,
    axis,
    curve_mode,
    epoch_axis,
    epoch_rule,
    layout,
    legend,
    literal,
    log_axis,
    panel_axis,
    short,
    star,
    value_at_epoch,
)
from hpo.translation.catalogue import mark, tr

PANEL_HEIGHT = 170
LINES_HEIGHT = 300
LOOKS = {
    mark("train"): (OKABE_ITO[4], "dash"),
    mark("validation"): (OKABE_ITO[0], "solid"),
    "": (OKABE_ITO[2], "solid"),
}


def training_figure(data: TrainingChart) -> go.Figure:
    """Draw panels above each other, with one axis of epochs."""
    shared, own = data.shared, data.own
    panels = len(shared.panels)
    traces: list[go.Scatter] = []
    axes: dict[str, Any] = {}
    named: set[str] = set()
    for row, (panel, curves) in enumerate(zip(shared.panels, own.curves, strict=True)):
        which, up = panel_axis(row, panels, panel.title, **_scale(panel))
        axes |= up
        for curve in curves:
            kind = _kind(curve.name)
            traces.append(_curve(drawn(curve, keep=_known(own.best)), kind, (kind or curve.name) not in named, which))
            named.add(kind or curve.name)
            best = next((v for s, v in curve.finite if s == own.best and curve.name == shared.metric.name), None)
            if best is not None and own.best is not None:
                traces.append(star(curve.name, own.best, best, which))
    look = layout(
        PANEL_HEIGHT * panels + 90,
        legend=legend(),
        dragmode="zoom",
        xaxis=epoch_axis(shared.first, shared.last, panels),
        shapes=[epoch_rule(own.best)] if own.best is not None else [],
        **axes,
    )
    return go.Figure(traces, look)


def _kind(name: str) -> str:
    if name.startswith("train_"):
        return "train"
    return "validation" if name.startswith("val_") else ""


def _known(step: int | None) -> tuple[int, ...]:
    return () if step is None else (step,)


def _curve(curve: Curve, kind: str, first: bool, which: str) -> go.Scatter:
    color, dash = LOOKS[kind]
    return go.Scatter(
        x=curve.steps,
        y=curve.values,
        mode=curve_mode(curve.steps),
        name=tr(kind) if kind else short(curve.name),
        legendgroup=kind or curve.name,
        showlegend=first,
        yaxis=which,
        line={"color": color, "width": 2, "dash": dash},
        marker={"color": color, "size": 4},
        hovertemplate=value_at_epoch(curve.name),
    )


def _scale(panel: Panel) -> dict[str, Any]:
    low, high = panel.shown.low, panel.shown.high
    if not panel.log or low is None or high is None:
        return {"range": panel.shown.padded()}
    return log_axis(low, high)


# --- all trials

# State, name, colour of the line, symbol and size of its end.
ENDS = (
    ("COMPLETE", mark("complete"), "rgba(128,128,128,0.8)", "circle", 4),
    ("PRUNED", mark("pruned"), "rgba(204,121,167,0.85)", "x-thin", 6),
    ("FAIL", mark("failed"), "rgba(213,94,0,0.85)", "x", 6),
)


def lines_figure(data: LinesChart) -> go.Figure:
    """Draw a line for each trial of one group; its end shows how the trial ended."""
    shared, own = data.shared, data.own
    traces: list[go.Scatter] = []
    for state, name, color, symbol, size in ENDS:
        lines = [line for line in own.lines if line.state == state and line.number != own.best]
        if lines:
            traces += [_thin(lines, tr(name), color), _ends(lines, tr(name), color, symbol, size)]
    traces += [_thick(line) for line in own.lines if line.number == own.best]
    up = axis("", range=shared.shown.padded())
    across = epoch_axis(shared.first, shared.last)
    return go.Figure(traces, layout(LINES_HEIGHT, legend=legend(), dragmode="zoom", xaxis=across, yaxis=up))


def _thick(line: Line) -> go.Scatter:
    return go.Scatter(
        x=line.curve.steps,
        y=line.curve.values,
        mode="lines+markers" if len(line.curve.steps) == 1 else "lines",
        name=tr("best: trial {n}", n=line.number),
        line={"color": OKABE_ITO[0], "width": 3},
        hovertemplate=value_at_epoch(tr("trial {n}:", n=line.number)),
    )


def _thin(lines: Sequence[Line], name: str, color: str) -> go.Scatter:
    """Draw all lines as one trace with gaps: a hundred traces would be slow."""
    return go.Scatter(
        x=[step for line in lines for step in (*line.curve.steps, None)],
        y=[value for line in lines for value in (*line.curve.values, None)],
        mode="lines",
        name=name,
        legendgroup=name,
        line={"color": color, "width": 1},
        hoverinfo="skip",
    )


def _ends(lines: Sequence[Line], name: str, color: str, symbol: str, size: int) -> go.Scatter:
    last = [line.curve.finite[-1] for line in lines]
    return go.Scatter(
        x=[step for step, _ in last],
        y=[value for _, value in last],
        mode="markers",
        name=name,
        legendgroup=name,
        showlegend=False,
        marker={"color": color, "symbol": symbol, "size": size, "line": {"color": color, "width": 1.5}},
        customdata=[
            literal(
                tr(
                    "trial {n}, {state}: {value} at epoch {epoch}",
                    n=line.number,
                    state=name,
                    value=number(value, 5),
                    epoch=step,
                )
            )
            for line, (step, value) in zip(lines, last, strict=True)
        ],
        hovertemplate="%{customdata}<extra></extra>",
    )


def training_rows(data: TrainingChart) -> Rows:
    """Return a row for each epoch of each curve, as far as they are drawn."""
    own = data.own
    points = (
        (own.group, own.trial.number, curve.name, step, value)
        for curves in own.curves
        for shown in curves
        for curve in [drawn(shown, keep=_known(own.best))]
        for step, value in zip(curve.steps, curve.values, strict=True)
    )
    return Rows((data.shared.group_by or "group", "trial", "metric", "epoch", "value"), tuple(points))


def lines_rows(data: LinesChart) -> Rows:
    """Return a row for each epoch of each trial, as far as they are drawn."""
    points = (
        (data.own.group, line.number, line.state, step, value)
        for line in data.own.lines
        for step, value in zip(line.curve.steps, line.curve.values, strict=True)
    )
    return Rows((data.shared.group_by or "group", "trial", "state", "epoch", data.shared.metric.name), tuple(points))
