"""From plain data to plotly figures. The only module that imports plotly.

Colours: cividis for values, the Okabe-Ito colours that stand out on white and on black for groups.
Backgrounds are transparent and the page gives the text its colour, so a figure fits light and dark.
Texts go through `plain`, because plotly reads some HTML in them."""

from __future__ import annotations

import html
from functools import singledispatch
from typing import Any

import plotly.graph_objects as go
import plotly.offline
from plotly.colors import get_colorscale, sample_colorscale

from hpo.analysis.axes import Axis
from hpo.analysis.effects import Importance
from hpo.analysis.progress import History, Point
from hpo.analysis.wording import count, label, number, numbers, score
from hpo.reports.sections import ColourScale, Front, HeatmapChart, cell_lines, cell_places

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "pentagon")
NEUTRAL = "#808080"
FAINT = "rgba(128, 128, 128, 0.28)"
OUTLINE = "#D55E00"
LONGEST_NAME = 28
LONGEST_TICK = 14
CELL_WIDTH, CELL_HEIGHT = 64, 56  # pixels that the lines of a cell need


def script() -> str:
    """The source of plotly.js, to be inlined once in a page."""
    return str(plotly.offline.get_plotlyjs())


def to_json(figure: go.Figure) -> str:
    return str(figure.to_json())


def plain(text: str) -> str:
    """`text` so that plotly shows it as it is: neither HTML nor, between dollars, TeX."""
    return html.escape(text, quote=False).replace("$", "&#36;")


def _short(text: str, longest: int = LONGEST_NAME) -> str:
    return plain(text if len(text) <= longest else f"{text[: longest - 1]}…")


def least_width(figure: go.Figure) -> int:
    """Pixels below which a figure would be unreadable; 0 if it fits any screen."""
    return int((figure.layout.meta or {}).get("least_width", 0))


@singledispatch
def figure(data: Any) -> go.Figure:
    """The figure of the plain data of a chart; its height in pixels is in its layout."""
    raise TypeError(f"no figure is known for {type(data).__name__}")


def _layout(height: int, **more: Any) -> go.Layout:
    layout = go.Layout(
        template=go.layout.Template(),
        height=height,
        margin={"l": 8, "r": 12, "t": 8, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 12, "color": "#444"},
        hoverlabel={"align": "left"},
        dragmode=False,
    )
    layout.update(more)
    return layout


def _axis(title: str, **more: Any) -> dict[str, Any]:
    return {
        "title": {"text": plain(title), "standoff": 8},
        "automargin": True,
        "gridcolor": FAINT,
        "linecolor": NEUTRAL,
        "zeroline": False,
        **more,
    }


# --- heatmaps


@figure.register
def _(data: HeatmapChart) -> go.Figure:
    shared, own = data.shared, data.own
    rows, columns = len(shared.rows.labels), len(shared.columns.labels)
    trace = go.Heatmap(
        z=[[cell.mean for cell in row] for row in own.cells],
        x=list(range(columns)),
        y=list(range(rows)),
        customdata=[[_hover(data, i, j) for j in range(columns)] for i in range(rows)],
        hovertemplate="%{customdata}<extra></extra>",
        xgap=2,
        ygap=2,
        showscale=False,
        **_colours(data),
    )
    width = max(CELL_WIDTH, *(8 + 7 * min(LONGEST_TICK, len(text)) for text in shared.columns.labels))
    result = go.Figure(trace, _layout(rows * CELL_HEIGHT + 58, meta={"least_width": columns * width + 110}))
    for axis, update in ((shared.columns, result.update_xaxes), (shared.rows, result.update_yaxes)):
        frame = {"showgrid": False, "showline": True, "mirror": True, "fixedrange": True}
        update(_axis(axis.name, **_ticks(axis), range=[-0.5, len(axis.labels) - 0.5], **frame))
    for edge in range(1, rows):
        result.add_hline(edge - 0.5, line={"color": FAINT, "width": 1}, layer="below")
    for edge in range(1, columns):
        result.add_vline(edge - 0.5, line={"color": FAINT, "width": 1}, layer="below")
    for i, row in enumerate(own.cells):
        for j, cell in enumerate(row):
            lines = cell_lines(shared, own, i, j)
            font: dict[str, Any] = {"size": 11}  # without a colour: the page's
            if cell.mean is not None:
                lines = (f"<b>{lines[0]}</b>", *lines[1:])
                font["color"] = _ink_on(_fill(cell.mean, data))
            if lines:
                result.add_annotation(x=j, y=i, text="<br>".join(lines), showarrow=False, font=font)
    if own.best is not None:
        i, j = own.best
        result.add_shape(
            type="rect", x0=j - 0.5, x1=j + 0.5, y0=i - 0.5, y1=i + 0.5, line={"color": OUTLINE, "width": 3}
        )
    return result


def _fill(value: float, data: HeatmapChart) -> tuple[float, float, float]:
    """The colour of a cell as red, green, blue in 0 to 1."""
    low, high = _span(data)
    position = min(1.0, max(0.0, (value - low) / (high - low)))
    if _colours(data)["reversescale"]:
        position = 1 - position
    red, green, blue = sample_colorscale(get_colorscale("Cividis"), [position], colortype="tuple")[0]
    return red, green, blue


def _ink_on(fill: tuple[float, float, float]) -> str:
    """Black or white, whichever has the higher contrast (WCAG 2.2) on `fill`."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in fill]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000000" if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else "#ffffff"


def _hover(data: HeatmapChart, row: int, column: int) -> str:
    shared, cell = data.shared, data.own.cells[row][column]
    where = [(axis.name, axis.labels[k]) for axis, k in ((shared.rows, row), (shared.columns, column)) if axis.name]
    said = [plain(f"{name} {text}") for name, text in where]
    if cell.empty:
        return "<br>".join([*said, "not tried"])
    if cell.mean is not None:
        what = "mean" if cell.n > 1 else "final value"
        said.append(plain(f"{what} of {shared.metric.name}: {number(cell.mean, 6)}"))
    ended = f"{cell.n} complete, {cell.pruned} pruned, {cell.failed} failed"
    return "<br>".join([*said, ended, f"trials {numbers(cell.trials, 8)}"])


def _ticks(axis: Axis) -> dict[str, Any]:
    """Edges between the cells where they are binned, else the values in their middle."""
    if axis.binned and not axis.whole:
        positions: list[float] = [k - 0.5 for k in range(len(axis.edges))]
        texts = [label(float(number(edge, 3))) for edge in axis.edges]
    else:
        positions, texts = list(range(len(axis.labels))), [_short(text, LONGEST_TICK) for text in axis.labels]
    return {"tickvals": positions, "ticktext": texts, "tickangle": 0, "ticks": "outside" if axis.name else ""}


def _colours(data: HeatmapChart | ColourScale) -> dict[str, Any]:
    low, high = _span(data)
    return {
        "zmin": low,
        "zmax": high,
        "colorscale": get_colorscale("Cividis"),
        "reversescale": data.shared.metric.direction == "minimize",
    }


def _span(data: HeatmapChart | ColourScale) -> tuple[float, float]:
    """Ends of the colour scale; a scale of one value is given some width."""
    low, high = data.shared.low, data.shared.high
    if low is None or high is None:
        return 0.0, 1.0
    if low == high:
        margin = abs(low) * 0.01 or 1.0
        return low - margin, high + margin
    return low, high


@figure.register
def _(data: ColourScale) -> go.Figure:
    low, high = _span(data)
    steps = 200
    values = [low + (high - low) * k / (steps - 1) for k in range(steps)]
    trace = go.Heatmap(z=[values], x=values, y=[0], showscale=False, hoverinfo="skip", **_colours(data))
    result = go.Figure(trace, _layout(60, margin={"l": 28, "r": 28, "t": 4, "b": 26}))
    ticks = [low + (high - low) * k / 4 for k in range(5)]
    texts = [score(tick, cell_places(data.shared)) for tick in ticks]
    result.update_xaxes(_axis("", tickvals=ticks, ticktext=texts, showgrid=False, ticks="outside", fixedrange=True))
    result.update_yaxes(visible=False, fixedrange=True)
    return result


# --- optimization history


@figure.register
def _(data: History) -> go.Figure:
    height = 340 + 18 * len(data.groups)  # room for the legend, one entry a line on a narrow screen
    result = go.Figure(layout=_layout(height, hovermode="closest", dragmode="zoom", legend=_legend()))
    last = max(point.number for point in data.points)
    if data.best:
        best = [*data.best, (last, data.best[-1][1])]
        result.add_trace(
            go.Scatter(
                x=[trial for trial, _ in best],
                y=[value for _, value in best],
                mode="lines",
                name="best so far",
                line={"shape": "hv", "color": NEUTRAL, "width": 2},
                hoverinfo="skip",
            )
        )
    pruned = [point for point in data.points if point.state == "PRUNED"]
    if pruned:
        result.add_trace(
            _dots(pruned, "pruned (last report)", data, color=NEUTRAL, symbol="x-thin", size=7, line={"width": 1.5})
        )
    for index, group in enumerate(data.groups):
        points = [point for point in data.points if point.state == "COMPLETE" and point.group == group]
        if points:
            color = OKABE_ITO[index % len(OKABE_ITO)]
            symbol = SYMBOLS[(index + index // len(OKABE_ITO)) % len(SYMBOLS)]
            name = group if data.group_by else "complete"
            result.add_trace(_dots(points, name, data, color=color, symbol=symbol, size=8))
    result.update_xaxes(_axis("trial", range=[-0.02 * last - 0.5, 1.02 * last + 0.5], **_whole_ticks(last)))
    result.update_yaxes(_axis(data.metric.name))
    if data.beyond and data.low is not None and data.high is not None:
        margin = 0.06 * (data.high - data.low)
        result.update_yaxes(range=[data.low - margin, data.high + margin])
    return result


def _dots(points: list[Point], name: str, data: History, **marker: Any) -> go.Scatter:
    if "line" in marker:  # the colour of a thin symbol is that of its line
        marker["line"] = {**marker["line"], "color": marker["color"]}
    return go.Scatter(
        x=[point.number for point in points],
        y=[point.value for point in points],
        mode="markers",
        name=_short(name),
        marker=marker,
        customdata=[_point_hover(point, data) for point in points],
        hovertemplate="%{customdata}<extra></extra>",
    )


def _point_hover(point: Point, data: History) -> str:
    said = f"trial {point.number}: {data.metric.name} {number(point.value, 5)}"
    said += f" when pruned after {count(point.steps, 'step')}" if point.state == "PRUNED" else ""
    return plain(said) + (f"<br>{plain(f'{data.group_by} {point.group}')}" if data.group_by else "")


def _whole_ticks(last: int) -> dict[str, Any]:
    return {"dtick": 1} if last < 8 else {"tickformat": "d"}


def _legend() -> dict[str, Any]:
    return {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom", "bgcolor": "rgba(0,0,0,0)"}


# --- importance


@figure.register
def _(data: Importance) -> go.Figure:
    shares = list(reversed(data.shares))  # plotly draws from the bottom up
    trace = go.Bar(
        x=[share for _, share in shares],
        y=list(range(len(shares))),
        orientation="h",
        marker={"color": OKABE_ITO[0]},
        text=[f"{share:.0%}" if share >= 0.01 else "< 1%" for _, share in shares],
        textposition="outside",
        cliponaxis=False,
        customdata=[plain(f"{name}: {share:.1%}") for name, share in shares],
        hovertemplate="%{customdata}<extra></extra>",
    )
    result = go.Figure(trace, _layout(30 * len(shares) + 64, bargap=0.35))
    top = max(share for _, share in shares)
    result.update_xaxes(_axis("share of the total", range=[0, top * 1.16], tickformat=".0%", nticks=6, fixedrange=True))
    names = [_short(name) for name, _ in shares]
    ticks = {"tickvals": list(range(len(shares))), "ticktext": names, "ticklabelstandoff": 6}
    result.update_yaxes(_axis("", **ticks, showgrid=False, fixedrange=True))
    return result


# --- Pareto front


@figure.register
def _(data: Front) -> go.Figure:
    first, second = data.metrics
    result = go.Figure(layout=_layout(400, hovermode="closest", dragmode="zoom", legend=_legend()))
    kinds = ((False, "complete", NEUTRAL, "circle-open"), (True, "on the front", OKABE_ITO[0], "circle"))
    for on_front, name, color, symbol in kinds:
        points = sorted((point for point in data.points if point[3] == on_front), key=lambda point: point[1])
        if points:
            result.add_trace(
                go.Scatter(
                    x=[point[1] for point in points],
                    y=[point[2] for point in points],
                    mode="lines+markers" if on_front else "markers",
                    name=name,
                    line={"color": color, "width": 1.5, "dash": "dot"},
                    marker={"color": color, "symbol": symbol, "size": 9},
                    customdata=[
                        plain(f"trial {n}: {first.name} {number(x, 5)}, {second.name} {number(y, 5)}")
                        for n, x, y, _ in points
                    ],
                    hovertemplate="%{customdata}<extra></extra>",
                )
            )
    result.update_xaxes(_axis(f"{first.name} ({first.direction})"))
    result.update_yaxes(_axis(f"{second.name} ({second.direction})"))
    return result
