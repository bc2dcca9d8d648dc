"""Parallel coordinates: a line a trial, over a scale a parameter; part of a scale can be chosen with the pointer."""

from __future__ import annotations

import plotly.graph_objects as go

from hpo.analysis.parallel import ParallelCoordinates
from hpo.reports.blocks import Rows
from hpo.reports.figures.shared import LONGEST_TICK, cut, layout

HEIGHT = 460
SCALE_WIDTH = 96  # pixels that a scale needs
# From the worst to the best: thin lines that stand out on white and on black. An end of cividis is lost on one of them.
COLOURS = [[0.0, "#6d8fb8"], [1.0, "#d55e00"]]


def parallel_figure(data: ParallelCoordinates) -> go.Figure:
    """Draw the lines, coloured by the final value; `meta` has the numbers of the trials in the order of the lines."""
    dimensions = []
    for scale in data.scales:
        places = [place for place, _ in scale.ticks]
        low, high = min([*places, *scale.values]), max([*places, *scale.values])
        room = 0.02 * (high - low) or 0.5
        dimensions.append(
            {
                "label": cut(scale.name, LONGEST_TICK),  # drawn as text, without markup
                "values": scale.values,
                "range": [low - room, high + room],
                "tickvals": places,
                "ticktext": [cut(text, LONGEST_TICK) for _, text in scale.ticks],
            }
        )
    trace = go.Parcoords(
        dimensions=dimensions,
        line={
            "color": data.finals,
            "colorscale": COLOURS,
            "reversescale": data.metric.direction == "minimize",
        },
        unselected={"line": {"opacity": 0.04}},
        labelfont={"size": 12},
    )
    meta = {"least_width": SCALE_WIDTH * len(dimensions) + 80, "trials": list(data.trials)}
    return go.Figure(trace, layout(HEIGHT, margin={"l": 100, "r": 60, "t": 48, "b": 24}, meta=meta))


def parallel_rows(data: ParallelCoordinates) -> Rows:
    """Return a row for each trial, with its places on the scales."""
    columns = ("trial", *(scale.name for scale in data.scales))
    return Rows(columns, tuple(zip(data.trials, *(scale.values for scale in data.scales), strict=True)))
