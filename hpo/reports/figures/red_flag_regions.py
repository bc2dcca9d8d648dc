"""Regions in which a red flag is raised: a strip of cells for each parameter, coloured by the share of trials."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
from plotly.colors import get_colorscale, sample_colorscale

from hpo.analysis.formatting import rounded_percent
from hpo.analysis.red_flag_regions import Region, Strip, region_label
from hpo.reports.blocks import Rows
from hpo.reports.charts import EnrichmentChart
from hpo.reports.figures.heatmaps import ink_on
from hpo.reports.figures.shared import OUTLINE, cut, layout, literal, short, strips
from hpo.reports.p_values import p_relation
from hpo.translation.catalogue import tr

STRIP_HEIGHT, LETTER_WIDTH, LEAST_CELL = 58, 7, 56  # pixels
LONGEST_LABEL = 18
HALF_STRIP = 0.42  # of a strip's height
# The end of the scale would hardly show on a dark page.
MOST_COLOUR = 0.92


def enrichment_figure(data: EnrichmentChart) -> go.Figure:
    """Draw one strip below the other; outlined is where the flag is significantly more frequent.

    Each strip fills the width. The scale of colours is the same in all such figures, from no trial to all trials.
    """
    shown = data.own.strips
    rows = list(enumerate(shown))
    height = STRIP_HEIGHT * len(shown) + 24
    widest = max(len(strip.cells) * _cell_width(strip) for strip in shown)
    return go.Figure(
        _hover_points(data),
        layout(
            height,
            meta={"least_width": widest + 130},
            xaxis={"range": [0, 1], "visible": False, "fixedrange": True},
            yaxis=strips([short(strip.axis.name) for strip in shown]),
            shapes=[shape for row, strip in rows for shape in (*_cells(strip, row), *_outline(strip, row))],
            annotations=[note for row, strip in rows for note in _texts(strip, row)],
        ),
    )


def _cell_width(strip: Strip) -> int:
    """Return the pixels that the longest label needs."""
    return max(LEAST_CELL, *(10 + LETTER_WIDTH * min(LONGEST_LABEL, len(label)) for label in strip.axis.labels))


def _span(strip: Strip, first: int, last: int) -> tuple[float, float]:
    """Return the ends of some neighbouring cells, as shares of the figure's width."""
    return first / len(strip.cells), (last + 1) / len(strip.cells)


def colour(share: float) -> tuple[float, float, float]:
    """Return red, green, blue in 0 to 1 for a share of trials: pale for none, dark for all."""
    red, green, blue = sample_colorscale(get_colorscale("Cividis"), [1 - MOST_COLOUR * share], colortype="tuple")[0]
    return red, green, blue


def _cells(strip: Strip, row: int) -> list[dict[str, Any]]:
    found = []
    for cell, share in enumerate(strip.cells):
        low, high = _span(strip, cell, cell)
        look: dict[str, Any] = {"line": {"color": "rgba(128, 128, 128, 0.5)", "width": 1}}
        if share.fraction is not None:
            red, green, blue = (round(255 * part) for part in colour(share.fraction))
            look["fillcolor"] = f"rgb({red}, {green}, {blue})"
        place = {"x0": low, "x1": high, "y0": row - HALF_STRIP, "y1": row + HALF_STRIP}
        found.append({"type": "rect", "layer": "below", **place, **look})
    return found


def _outline(strip: Strip, row: int) -> list[dict[str, Any]]:
    if strip.region is None or not strip.region.significant:
        return []
    low, high = _span(strip, strip.region.first, strip.region.last)
    place = {"x0": low, "x1": high, "y0": row - HALF_STRIP, "y1": row + HALF_STRIP}
    return [{"type": "rect", **place, "line": {"color": OUTLINE, "width": 3}}]


def _texts(strip: Strip, row: int) -> list[dict[str, Any]]:
    """Return the value of each cell and, below it, how many of its trials raised the flag."""
    found = []
    for cell, (label, share) in enumerate(zip(strip.axis.labels, strip.cells, strict=True)):
        low, high = _span(strip, cell, cell)
        lines, font = [literal(cut(label, LONGEST_LABEL))], {"size": 11}
        if share.fraction is not None:
            lines.append(f"<b>{tr('{n} of {all}', n=share.flagged, all=share.n)}</b>")
            font["color"] = ink_on(colour(share.fraction))  # type: ignore[assignment]
        place = {"x": (low + high) / 2, "y": row, "showarrow": False}
        found.append({"text": "<br>".join(lines), "font": font, **place})
    return found


def _hover_points(data: EnrichmentChart) -> go.Scatter:
    """Return invisible points that show what is in each cell."""
    places: list[tuple[float, int]] = []
    texts = []
    for row, strip in enumerate(data.own.strips):
        for cell, share in enumerate(strip.cells):
            low, high = _span(strip, cell, cell)
            places.append(((low + high) / 2, row))
            lines = [literal(f"{strip.axis.name} {strip.axis.labels[cell]}")]
            if share.fraction is None:
                lines.append(tr("no trial reached that epoch"))
            else:
                lines.append(tr("{n} of {all} trials raised it ({share})", n=share.flagged, all=share.n,
                               share=rounded_percent(share.fraction)))  # fmt: skip
            if strip.region is not None and strip.region.first <= cell <= strip.region.last:
                lines.append(_region_text(strip, strip.region))
            texts.append("<br>".join(lines))
    return go.Scatter(
        x=[x for x, _ in places],
        y=[y for _, y in places],
        mode="markers",
        marker={"size": 34, "opacity": 0},
        customdata=texts,
        hovertemplate="%{customdata}<extra></extra>",
        showlegend=False,
    )


def _region_text(strip: Strip, region: Region) -> str:
    inside, other = region.inside, region.elsewhere
    return literal(
        tr(
            "{region}: {flagged} of {n}, elsewhere {others} of {m}, p {p}",
            region=region_label(strip.axis, region),
            flagged=inside.flagged,
            n=inside.n,
            others=other.flagged,
            m=other.n,
            p=p_relation(region.p),
        )
    )


def enrichment_rows(data: EnrichmentChart) -> Rows:
    """Return a row for each cell that trials were in.

    `p_of_region` is the corrected p of the parameter's most enriched region, in the cells of that region.
    """
    found = []
    for strip in data.own.strips:
        for cell, share in enumerate(strip.cells):
            region = strip.region
            p = region.p if region is not None and region.first <= cell <= region.last else None
            if share.n:
                place = (data.shared.flag, data.own.group, strip.axis.name, strip.axis.labels[cell])
                found.append((*place, share.flagged, share.n, share.fraction, p))
    columns = ("flag", "group", "parameter", "value", "raised", "trials", "share", "p_of_region")
    return Rows(columns, tuple(found))
