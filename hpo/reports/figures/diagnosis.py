"""The curves of one training with what led to its verdict."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from hpo.analysis.training.curves import Curve, drawn
from hpo.reports.blocks import Rows
from hpo.reports.charts import DiagnosisChart, DiagnosisPanel
from hpo.reports.figures.shared import (
    NEUTRAL,
    OKABE_ITO,
    curve_mode,
    epoch_axis,
    epoch_margin,
    layout,
    legend,
    log_axis,
    panel_axis,
    star,
    value_at_epoch,
)
from hpo.translation.catalogue import mark, tr

PANEL_HEIGHT = 170
BAND = "rgba(213, 94, 0, 0.13)"
LOOKS = {
    "train_": (mark("train"), OKABE_ITO[4], "dash", "circle"),
    "val_": (mark("validation"), OKABE_ITO[0], "solid", "square"),
    "": (mark("value"), OKABE_ITO[2], "solid", "diamond"),
}


def diagnosis_figure(data: DiagnosisChart) -> go.Figure:
    """Draw panels above each other, with one axis of epochs and a band from where the evidence begins."""
    traces: list[go.Scatter] = []
    axes: dict[str, Any] = {}
    named: set[str] = set()
    shapes: list[dict[str, Any]] = []
    count = len(data.panels)
    steps = [step for panel in data.panels for curve in panel.curves for step in curve.steps]
    first, last = min(steps), max(steps)
    room = epoch_margin(first, last)
    keep = tuple(step for step in (data.best, data.since) if step is not None)
    for row, panel in enumerate(data.panels):
        which, up = panel_axis(row, count, panel.title, **_scale(panel))
        axes |= up
        for curve in panel.curves:
            traces.append(_trace(drawn(curve, keep=keep), named, which))
            if curve.name == data.metric:
                traces += _star(curve, data.best, which)
        if panel.level is not None:
            line = {"color": NEUTRAL, "width": 1, "dash": "dot"}
            ends = {"x0": first - room, "x1": last + room, "y0": panel.level, "y1": panel.level}
            shapes.append({"type": "line", "yref": which, "line": line, "layer": "below", **ends})
    if data.since is not None:
        ends = {"x0": data.since, "x1": last + room, "y0": 0, "y1": 1}
        shapes.append(
            {"type": "rect", "yref": "paper", "fillcolor": BAND, "line": {"width": 0}, "layer": "below", **ends}
        )
    look = layout(
        PANEL_HEIGHT * count + 90,
        legend=legend(),
        dragmode="zoom",
        xaxis=epoch_axis(first, last, count),
        shapes=shapes,
        **axes,
    )
    return go.Figure(traces, look)


def diagnosis_rows(data: DiagnosisChart) -> Rows:
    """Return a row for each epoch of each curve."""
    return Rows(
        ("metric", "epoch", "value"),
        tuple(
            (curve.name, step, value)
            for panel in data.panels
            for curve in panel.curves
            for step, value in zip(curve.steps, curve.values, strict=True)
        ),
    )


def _scale(panel: DiagnosisPanel) -> dict[str, Any]:
    if not panel.log:
        return {}
    values = [value for curve in panel.curves for _, value in curve.finite]
    return log_axis(min(values), max(values))


def _trace(curve: Curve, named: set[str], which: str) -> go.Scatter:
    kind = next(prefix for prefix in ("train_", "val_", "") if curve.name.startswith(prefix))
    name, color, dash, symbol = LOOKS[kind]
    first = kind not in named
    named.add(kind)
    return go.Scatter(
        x=curve.steps,
        y=curve.values,
        mode=curve_mode(curve.steps),
        name=tr(name),
        legendgroup=kind or "bare",
        showlegend=first,
        yaxis=which,
        line={"color": color, "width": 2, "dash": dash},
        marker={"color": color, "size": 5, "symbol": symbol},
        hovertemplate=value_at_epoch(curve.name),
    )


def _star(curve: Curve, best: int | None, which: str) -> list[go.Scatter]:
    value = next((value for step, value in curve.finite if step == best), None)
    return [] if value is None or best is None else [star(curve.name, best, value, which)]
