"""Layout, axes and colours that the figures have in common.

Colours are cividis for values, and for groups the Okabe-Ito colours that stand out on white and on black. Backgrounds
are transparent and the page gives the text its colour, so that a figure fits light and dark. Texts go through
`literal`, because plotly reads some HTML in them.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from typing import Any

import plotly.graph_objects as go

from hpo.analysis.axes import Axis, edge_texts
from hpo.analysis.formatting import number
from hpo.translation.catalogue import tr

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "pentagon")
NEUTRAL = "#808080"
FAINT = "rgba(128, 128, 128, 0.28)"
OUTLINE = "#D55E00"
LONGEST_NAME = 28
LONGEST_TICK = 14
LONGEST_STRIP = 24
STRIP_HEIGHT = 52  # pixels of one row of dots
PANEL_GAP = 0.12  # between panels above each other, as a share of one
LONGEST_PANEL_TITLE = 22  # characters beside a panel
FEWEST_TICKS, MOST_LOG_TICKS = 3, 6
# Curves of more points have no markers.
FEW_POINTS = 30


def literal(text: str) -> str:
    """Escape a text so that plotly shows it as it is: neither as HTML nor, between dollars, as TeX."""
    return html.escape(text, quote=False).replace("$", "&#36;")


def short(text: str, longest: int = LONGEST_NAME) -> str:
    """Return a text cut to `longest` characters and escaped for plotly."""
    return literal(cut(text, longest))


def cut(text: str, longest: int) -> str:
    """Return a text cut to `longest` characters, the last of them an ellipsis."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def color_of(index: int) -> str:
    """Return the colour of the `index`-th group, the same in every figure."""
    return OKABE_ITO[index % len(OKABE_ITO)]


def symbol_of(index: int) -> str:
    """Return the symbol of the `index`-th group, the same in every figure."""
    return SYMBOLS[(index + index // len(OKABE_ITO)) % len(SYMBOLS)]


def layout(height: int, **more: Any) -> go.Layout:
    """Return the usual layout.

    Give axes, shapes and annotations here rather than to the figure: adding them one by one is slow.
    """
    usual: dict[str, Any] = {
        "template": go.layout.Template(),
        "height": height,
        "margin": {"l": 8, "r": 12, "t": 8, "b": 8},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 12, "color": "#444"},
        "hoverlabel": {"align": "left"},
        "hovermode": "closest",
        "dragmode": False,
    }
    return go.Layout(**(usual | more))


def axis(title: str, **more: Any) -> dict[str, Any]:
    """Return the usual axis with a title."""
    return {
        "title": {"text": literal(title), "standoff": 8},
        "automargin": True,
        "gridcolor": FAINT,
        "linecolor": NEUTRAL,
        "zeroline": False,
        **more,
    }


def legend() -> dict[str, Any]:
    """Return a legend above the figure."""
    return {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom", "bgcolor": "rgba(0,0,0,0)"}


def panel_axis(row: int, count: int, title: str, **more: Any) -> tuple[str, dict[str, Any]]:
    """Return the name of the vertical axis of one of `count` panels above each other, and that axis for the layout."""
    top, bottom = 1 - (row + PANEL_GAP) / count if row else 1.0, 1 - (row + 1) / count
    number_of_axis = "" if row == 0 else str(row + 1)
    own = axis(cut(title, LONGEST_PANEL_TITLE), **more) | {"domain": [bottom, top]}
    return f"y{number_of_axis}", {f"yaxis{number_of_axis}": own}


def epoch_axis(first: int, last: int, panels: int = 1) -> dict[str, Any]:
    """Return the horizontal axis of epochs, below the last of some panels."""
    room = epoch_margin(first, last)
    ends = [first - room, last + room]
    return axis(tr("epoch"), range=ends, **whole_ticks(last - first)) | {"anchor": "y" if panels == 1 else f"y{panels}"}


def epoch_margin(first: int, last: int) -> float:
    """Return the room on either side of an axis of epochs."""
    return 0.03 * (last - first) + 0.5


def log_axis(low: float, high: float) -> dict[str, Any]:
    """Return what makes an axis logarithmic, from `low` to `high` with some room beyond."""
    first, last = math.log10(low), math.log10(high)
    margin = 0.05 * (last - first) or 0.1
    ends = (first - margin, last + margin)
    return {"type": "log", "range": list(ends), **_log_ticks(*ends)}


def _log_ticks(first: float, last: float) -> dict[str, Any]:
    """Return ticks for a range of decimal logarithms: powers of ten, or 1, 2 and 5 times them where it is narrow."""
    decades = range(math.floor(first), math.ceil(last) + 1)
    for factors in ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 5, 7)):
        exact = (float(f"{f}e{k}") for k in decades for f in factors if first <= math.log10(f) + k <= last)
        within = [value for value in exact if 0 < value < math.inf]
        if len(within) >= FEWEST_TICKS:
            shown = within[:: math.ceil(len(within) / MOST_LOG_TICKS)]
            return {"tickvals": shown, "ticktext": [number(value) for value in shown]}
    return {"nticks": MOST_LOG_TICKS}


def epoch_rule(epoch: int) -> dict[str, Any]:
    """Return a dotted line through all panels at one epoch."""
    line = {"color": OUTLINE, "width": 1, "dash": "dot"}
    return {"type": "line", "x0": epoch, "x1": epoch, "yref": "paper", "y0": 0, "y1": 1, "line": line, "layer": "below"}


def curve_mode(steps: Sequence[int]) -> str:
    """Return plotly's mode of a curve; a short one also has markers, since a line alone does not show one point."""
    return "lines+markers" if len(steps) <= FEW_POINTS else "lines"


def whole_ticks(span: int) -> dict[str, Any]:
    """Return ticks at whole numbers, for an axis of this span."""
    return {"dtick": 1} if span < 8 else {"tickformat": "d"}


def ticks(of: Axis) -> dict[str, Any]:
    """Return the edges between the cells if they are binned, else the values in their middle."""
    if of.binned and not of.whole:
        positions: list[float] = [k - 0.5 for k in range(len(of.edges))]
        texts = edge_texts(of.edges)
    else:
        positions, texts = list(range(len(of.labels))), [short(text, LONGEST_TICK) for text in of.labels]
    return {"tickvals": positions, "ticktext": texts, "tickangle": 0, "ticks": "outside" if of.name else ""}


def quartile_bars(medians: Sequence[float | None], quartiles: Sequence[tuple[float, float] | None]) -> dict[str, Any]:
    """Return the error bars of medians, from the lower to the upper quartile; None where there are none."""
    bars = [
        (None, None) if median is None or span is None else (span[1] - median, median - span[0])
        for median, span in zip(medians, quartiles, strict=True)
    ]
    return {"array": [up for up, _ in bars], "arrayminus": [down for _, down in bars], "thickness": 2, "width": 4}


def median_text(median: float, quartiles: tuple[float, float] | None, n: int) -> str:
    """Return `median 0.91, quartiles 0.88 to 0.93, n = 7`."""
    if quartiles is None:
        return tr("median {median}, n = {n}", median=number(median, 5), n=n)
    low, high = (number(end, 5) for end in quartiles)
    return tr("median {median}, quartiles {low} to {high}, n = {n}", median=number(median, 5), low=low, high=high, n=n)


def jitter(index: int, reach: float) -> float:
    """Return an offset in -reach to reach for the `index`-th of some dots, so that equal ones do not hide each other.

    Offsets are multiples of the golden ratio modulo 1: neighbours in the sequence are never close to each other.
    """
    return reach * (2 * ((index * 0.6180339887) % 1) - 1)


def value_at_epoch(name: str) -> str:
    """Return the hover text of a curve, which plotly fills in for each point."""
    epoch = tr("epoch {epoch}", epoch="%{x}")
    return f"{literal(name)} %{{y:.5g}}<br>{epoch}<extra></extra>"


def star(name: str, step: int, value: float, which: str) -> go.Scatter:
    """Draw the best epoch on the axis `which`."""
    text = tr("best {metric}: {value}", metric=name, value=number(value, 5))
    epoch = tr("epoch {epoch}", epoch=step)
    return go.Scatter(
        x=[step],
        y=[value],
        mode="markers",
        name=tr("best epoch"),
        yaxis=which,
        marker={"color": OUTLINE, "symbol": "star", "size": 13},
        hovertemplate=f"{literal(text)}<br>{epoch}<extra></extra>",
    )


def group_strips(groups: Iterable[str]) -> dict[str, Any]:
    """Return a vertical axis with a row for each group, the first on top."""
    return strips([short(group, LONGEST_STRIP) for group in groups])


def strips(texts: Sequence[str]) -> dict[str, Any]:
    """Return a vertical axis with a row for each text, which plotly reads as it is."""
    return axis(
        "",
        tickvals=list(range(len(texts))),
        ticktext=list(texts),
        range=[len(texts) - 0.5, -0.5],
        showgrid=False,
        ticklabelstandoff=6,
        fixedrange=True,
    )
