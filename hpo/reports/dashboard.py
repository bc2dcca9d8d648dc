"""The figures that optuna-dashboard shows of a study beside Optuna's own plots.

They are a heatmap for each group and the importance of the parameters. They are stored as plotly figures under
fixed ids in the study's storage, in pieces of 2045 characters with one write each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import optuna
    import plotly.graph_objects as go

    from hpo.analysis.records import StudyRecord

# Each heatmap has the number of its group, from 1 in the order declared, so that it keeps its id.
HEATMAP, IMPORTANCE = "hpo-heatmap", "hpo-importance"
MOST_GROUPS = 8


def dashboard_figures(record: StudyRecord) -> dict[str, go.Figure]:
    """Return the figures of the study's first metric by their ids, without those there is nothing to show of yet."""
    from hpo.analysis.heatmaps import heatmaps
    from hpo.analysis.importance import importance
    from hpo.reports.figures.dashboard import heatmap_graph, importance_graph

    metric = record.metrics[0]
    found: dict[str, go.Figure] = {}
    shares = importance(record, metric)
    data = heatmaps(record, metric, tuple(name for name, _ in shares.shares))
    if data is not None:
        for place, own in enumerate(data.maps[:MOST_GROUPS], start=1):
            if own.best is not None:
                found[f"{HEATMAP}-{place}"] = heatmap_graph(data, own)
    if shares.shares:
        found[IMPORTANCE] = importance_graph(shares)
    return found


def save_figures(study: optuna.Study, record: StudyRecord) -> None:
    """Write the figures into the study's storage.

    Raises:
        Exception: What the storage raises.
    """
    from optuna_dashboard import save_plotly_graph_object

    for name, figure in dashboard_figures(record).items():
        save_plotly_graph_object(study, figure, graph_object_id=name)
