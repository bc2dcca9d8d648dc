"""Plotly figures of the charts. Only this package imports plotly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import plotly
import plotly.graph_objects as go
import plotly.offline

from hpo.analysis.comparison import Comparison
from hpo.analysis.importance import Importance
from hpo.analysis.optimization_history import History
from hpo.analysis.parallel import ParallelCoordinates
from hpo.analysis.pareto import Front
from hpo.analysis.stability import Stabilities
from hpo.analysis.statistics.pairwise import Pairwise
from hpo.reports.blocks import Rows
from hpo.reports.charts import (
    ColourScale,
    DiagnosisChart,
    EffectChart,
    EnrichmentChart,
    EpochMap,
    EvaluationCurve,
    GradientHistograms,
    HeatmapChart,
    LinePanels,
    LinesChart,
    Pictures,
    ScheduleChart,
    StackedShares,
    TrainingChart,
)
from hpo.reports.figures.comparison import comparison_figure, comparison_rows
from hpo.reports.figures.curves import lines_figure, lines_rows, training_figure, training_rows
from hpo.reports.figures.diagnosis import diagnosis_figure, diagnosis_rows
from hpo.reports.figures.effects import effect_figure, effect_rows
from hpo.reports.figures.evaluation import curve_figure, curve_rows, pictures_figure
from hpo.reports.figures.focal import stacked_figure, stacked_rows
from hpo.reports.figures.ghm import epoch_map_figure, epoch_map_rows, histograms_figure, histograms_rows
from hpo.reports.figures.heatmaps import heatmap_figure, heatmap_rows, scale_figure
from hpo.reports.figures.history import history_figure, history_rows
from hpo.reports.figures.importance import importance_figure, importance_rows
from hpo.reports.figures.line_panels import line_panels_figure, line_panels_rows
from hpo.reports.figures.pairwise import pairwise_figure, pairwise_rows
from hpo.reports.figures.parallel import parallel_figure, parallel_rows
from hpo.reports.figures.pareto import front_figure, front_rows
from hpo.reports.figures.population import schedule_figure, schedule_rows
from hpo.reports.figures.red_flag_regions import enrichment_figure, enrichment_rows
from hpo.reports.figures.stability import stability_figure, stability_rows


@dataclass(frozen=True)
class Drawing:
    """Functions that make a figure and a CSV file of one kind of chart; `rows` is None if the chart has no numbers."""

    figure: Callable[[Any], go.Figure]
    rows: Callable[[Any], Rows] | None


_DRAWINGS: dict[type, Drawing] = {
    ColourScale: Drawing(scale_figure, None),
    Comparison: Drawing(comparison_figure, comparison_rows),
    DiagnosisChart: Drawing(diagnosis_figure, diagnosis_rows),
    EnrichmentChart: Drawing(enrichment_figure, enrichment_rows),
    EffectChart: Drawing(effect_figure, effect_rows),
    EpochMap: Drawing(epoch_map_figure, epoch_map_rows),
    EvaluationCurve: Drawing(curve_figure, curve_rows),
    Front: Drawing(front_figure, front_rows),
    GradientHistograms: Drawing(histograms_figure, histograms_rows),
    HeatmapChart: Drawing(heatmap_figure, heatmap_rows),
    History: Drawing(history_figure, history_rows),
    Importance: Drawing(importance_figure, importance_rows),
    LinePanels: Drawing(line_panels_figure, line_panels_rows),
    LinesChart: Drawing(lines_figure, lines_rows),
    Pairwise: Drawing(pairwise_figure, pairwise_rows),
    ParallelCoordinates: Drawing(parallel_figure, parallel_rows),
    Pictures: Drawing(pictures_figure, None),
    ScheduleChart: Drawing(schedule_figure, schedule_rows),
    StackedShares: Drawing(stacked_figure, stacked_rows),
    Stabilities: Drawing(stability_figure, stability_rows),
    TrainingChart: Drawing(training_figure, training_rows),
}


def figure(data: Any) -> go.Figure:
    """Return the figure of a chart's data; its height in pixels is in its layout."""
    return _DRAWINGS[type(data)].figure(data)


def rows(data: Any) -> Rows | None:
    """Return the numbers that `figure(data)` draws, or None if it draws none."""
    make = _DRAWINGS[type(data)].rows
    return None if make is None else make(data)


def script() -> str:
    """Return the source of plotly.js."""
    return str(plotly.offline.get_plotlyjs())


def script_version() -> str:
    """Return the version of plotly.js, or of what brings it: another script has another one."""
    return str(plotly.__version__)


def to_json(figure: go.Figure) -> str:
    """Return a figure as the JSON that plotly.js draws."""
    return str(figure.to_json())


def least_width(figure: go.Figure) -> int:
    """Return the pixels below which a figure would be unreadable; 0 if it fits any screen."""
    return int((figure.layout.meta or {}).get("least_width", 0))
