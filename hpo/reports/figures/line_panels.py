"""Lines of one training by epoch, in panels above each other with one axis of epochs."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from hpo.analysis.training.curves import drawn
from hpo.reports.blocks import Rows
from hpo.reports.charts import (
    CHANGED,
    CROSS_ENTROPY,
    FOCAL,
    PLAIN,
    SAMPLES,
    TRAIN,
    VALIDATION,
    LinePanel,
    LinePanels,
    NamedLine,
)
from hpo.reports.figures.shared import (
    NEUTRAL,
    OKABE_ITO,
    curve_mode,
    epoch_axis,
    epoch_rule,
    layout,
    legend,
    literal,
    log_axis,
    panel_axis,
)
from hpo.translation.catalogue import tr

PANEL_HEIGHT = 150
LOOKS = {
    TRAIN: (OKABE_ITO[4], "dash", "circle"),
    VALIDATION: (OKABE_ITO[0], "solid", "square"),
    PLAIN: (OKABE_ITO[2], "dash", "diamond"),
    CHANGED: (OKABE_ITO[3], "solid", "triangle-up"),
    SAMPLES: (NEUTRAL, "dot", "circle"),
    CROSS_ENTROPY: (OKABE_ITO[2], "dash", "diamond"),
    FOCAL: (OKABE_ITO[3], "solid", "triangle-up"),
}


def line_panels_figure(data: LinePanels) -> go.Figure:
    """Draw the panels above each other, with the best epoch marked."""
    traces: list[go.Scatter] = []
    axes: dict[str, Any] = {}
    named: set[str] = set()
    count = len(data.panels)
    for row, panel in enumerate(data.panels):
        which, up = panel_axis(row, count, panel.title, **_scale(panel))
        axes |= up
        for line in panel.lines:
            traces.append(_trace(line, line.of not in named, which, data.best))
            named.add(line.of)
    steps = [step for panel in data.panels for line in panel.lines for step in line.curve.steps]
    first, last = min(steps), max(steps)
    return go.Figure(
        traces,
        layout(
            PANEL_HEIGHT * count + 90,
            legend=legend(),
            xaxis=epoch_axis(first, last, count),
            shapes=[] if data.best is None else [epoch_rule(data.best)],
            annotations=[] if data.best is None else [_best(data.best, first, last)],
            **axes,
        ),
    )


def _scale(panel: LinePanel) -> dict[str, Any]:
    if not panel.log:
        return {}
    values = [value for line in panel.lines for _, value in line.curve.finite]
    return log_axis(min(values), max(values))


def _trace(line: NamedLine, first: bool, which: str, best: int | None) -> go.Scatter:
    color, dash, symbol = LOOKS[line.of]
    curve = drawn(line.curve, keep=() if best is None else (best,))
    epoch = tr("epoch {epoch}", epoch="%{x}")
    return go.Scatter(
        x=curve.steps,
        y=curve.values,
        mode=curve_mode(curve.steps),
        name=tr(line.of),
        legendgroup=line.of,
        showlegend=first,
        yaxis=which,
        line={"color": color, "width": 2, "dash": dash},
        marker={"color": color, "size": 5, "symbol": symbol},
        hovertemplate=f"{literal(tr(line.of))} %{{y:.4g}}<br>{epoch}<extra></extra>",
    )


def _best(epoch: int, first: int, last: int) -> dict[str, Any]:
    """Return a star at the foot of the line, on the side where there is room for its text."""
    right = epoch - first > (last - first) / 2
    text = f"{literal(tr('best epoch'))} ★" if right else f"★ {literal(tr('best epoch'))}"
    place = {"x": epoch, "xanchor": "right" if right else "left", "yref": "paper", "y": 0, "yanchor": "bottom"}
    return {**place, "text": text, "showarrow": False, "font": {"size": 11}}


def line_panels_rows(data: LinePanels) -> Rows:
    """Return a row for each epoch of each line, as far as they are drawn."""
    keep = () if data.best is None else (data.best,)
    curves = [drawn(line.curve, keep=keep) for panel in data.panels for line in panel.lines]
    points = ((c.name, step, value) for c in curves for step, value in zip(c.steps, c.values, strict=True))
    return Rows(("line", "epoch", "value"), tuple(points))
