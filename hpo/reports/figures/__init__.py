"""From plain data to plotly figures. The only package that imports plotly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import plotly.graph_objects as go
import plotly.offline

from hpo.analysis.comparison import Comparison
from hpo.analysis.importance import Importance
from hpo.analysis.pareto import Front
from hpo.analysis.progress import History
from hpo.analysis.stability import Stabilities
from hpo.reports.figures.comparison import comparison_figure
from hpo.reports.figures.curves import lines_figure, training_figure
from hpo.reports.figures.effects import effect_figure
from hpo.reports.figures.heatmaps import heatmap_figure, scale_figure
from hpo.reports.figures.history import history_figure
from hpo.reports.figures.importance import importance_figure
from hpo.reports.figures.pareto import front_figure
from hpo.reports.figures.stability import stability_figure
from hpo.reports.sections.curves import LinesChart, TrainingChart
from hpo.reports.sections.effects import EffectChart
from hpo.reports.sections.heatmaps import ColourScale, HeatmapChart

_DRAWN_BY: dict[type, Callable[[Any], go.Figure]] = {
    ColourScale: scale_figure,
    Comparison: comparison_figure,
    EffectChart: effect_figure,
    Front: front_figure,
    HeatmapChart: heatmap_figure,
    History: history_figure,
    Importance: importance_figure,
    LinesChart: lines_figure,
    Stabilities: stability_figure,
    TrainingChart: training_figure,
}


def figure(data: Any) -> go.Figure:
    """The figure of the plain data of a chart; its height in pixels is in its layout."""
    return _DRAWN_BY[type(data)](data)


def script() -> str:
    """The source of plotly.js, to be inlined once in a page."""
    return str(plotly.offline.get_plotlyjs())


def to_json(figure: go.Figure) -> str:
    return str(figure.to_json())


def least_width(figure: go.Figure) -> int:
    """Pixels below which a figure would be unreadable; 0 if it fits any screen."""
    return int((figure.layout.meta or {}).get("least_width", 0))
