"""Make heatmaps of two parameters, one for each group.

Nothing here averages over groups. An average names a cell that may be no group's best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpo.analysis.axes import Axes, Axis, choose_axes, searched
from hpo.analysis.groups import Group, groups_of
from hpo.analysis.records import StudyRecord, TrialRecord, better
from hpo.analysis.summary_statistics import mean, usual_range
from hpo.spec.models import Metric

# --- heatmaps


@dataclass(frozen=True)
class Cell:
    """Trials of one cell.

    Attributes:
        n: Number of COMPLETE trials.
        mean: Of their final values; None without any. Pruned and failed trials never enter it.
        pruned: Number of pruned trials.
        failed: Number of failed trials.
        trials: The numbers of all of them.
    """

    n: int = 0
    mean: float | None = None
    pruned: int = 0
    failed: int = 0
    trials: tuple[int, ...] = ()

    @property
    def empty(self) -> bool:
        """Return True if no trial is in the cell."""
        return not (self.n or self.pruned or self.failed)


@dataclass(frozen=True)
class Heatmap:
    """Heatmap of one group.

    Attributes:
        group: Label of the group.
        cells: `cells[row][column]`.
        best: (row, column) of the best mean; None without any.
        unplaced: Number of trials that lack one of the two parameters, or have it out of range.
    """

    group: str
    cells: tuple[tuple[Cell, ...], ...]
    best: tuple[int, int] | None
    unplaced: int = 0


@dataclass(frozen=True)
class Heatmaps:
    """Heatmaps of all groups, on common axes and one colour scale.

    Attributes:
        metric: The metric of the final values.
        group_by: The parameter of the groups, if any.
        rows: Axis of the rows.
        columns: Axis of the columns.
        chosen: A sentence on how the axes were chosen; empty where they are the usual ones.
        maps: One a group.
        low: Lower end of the scale; None without COMPLETE trials.
        high: Upper end of the scale; None without COMPLETE trials.
        clipped: Whether some bad cells lie beyond the bad end of the scale.
        averaged: Parameters that vary within a cell.
    """

    metric: Metric
    group_by: str | None
    rows: Axis
    columns: Axis
    chosen: str
    maps: tuple[Heatmap, ...]
    low: float | None
    high: float | None
    clipped: bool
    averaged: tuple[str, ...]


def heatmaps(study: StudyRecord, metric: Metric, ranking: Sequence[str] = ()) -> Heatmaps | None:
    """Return the heatmaps of all groups.

    Args:
        study: The study.
        metric: The metric of the final values.
        ranking: Optuna's names, most important first, used where learning rate or batch size is not searched.

    Returns:
        None when no parameter beside `group_by` is searched.
    """
    axes = choose_axes(study.space, study.group_by, ranking)
    if axes is None:
        return None
    maps = tuple(_heatmap(group, metric, axes) for group in groups_of(study))
    means = [cell.mean for heatmap in maps for row in heatmap.cells for cell in row if cell.mean is not None]
    scale = usual_range(means, metric.direction)
    shown = {axes.rows.name, axes.columns.name, study.group_by}
    averaged = tuple(name for name in searched(study.space) if name not in shown)
    return Heatmaps(
        metric,
        study.group_by,
        axes.rows,
        axes.columns,
        axes.chosen,
        maps,
        scale.low,
        scale.high,
        scale.beyond(means) > 0,
        averaged,
    )


def _heatmap(group: Group, metric: Metric, axes: Axes) -> Heatmap:
    by_cell: dict[tuple[int, int], list[TrialRecord]] = {}
    unplaced = 0
    for trial in group.trials:
        row, column = (_cell_index(axis, trial) for axis in (axes.rows, axes.columns))
        if row is None or column is None:
            unplaced += 1
        else:
            by_cell.setdefault((row, column), []).append(trial)
    cells = tuple(
        tuple(_cell(by_cell.get((row, column), ()), metric) for column in range(len(axes.columns.labels)))
        for row in range(len(axes.rows.labels))
    )
    best: tuple[int, int] | None = None
    best_mean = 0.0
    for i, row_of_cells in enumerate(cells):
        for j, cell in enumerate(row_of_cells):
            if cell.mean is not None and (best is None or better(metric, cell.mean, best_mean)):
                best, best_mean = (i, j), cell.mean
    return Heatmap(group.label, cells, best, unplaced)


def _cell_index(axis: Axis, trial: TrialRecord) -> int | None:
    if not axis.name:
        return 0
    return axis.cell_in(trial.params)


def _cell(trials: Sequence[TrialRecord], metric: Metric) -> Cell:
    finals = [t.values[metric.name] for t in trials if t.state == "COMPLETE" and metric.name in t.values]
    return Cell(
        n=len(finals),
        mean=mean(finals) if finals else None,
        pruned=sum(trial.state == "PRUNED" for trial in trials),
        failed=sum(trial.state == "FAIL" for trial in trials),
        trials=tuple(trial.number for trial in trials),
    )
