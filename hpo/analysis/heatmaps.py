"""Make heatmaps of two parameters, one for each group.

Nothing here averages over groups. An average names a cell that may be no group's best.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hpo.analysis.axes import Axes, Axis, choose_axes, searched
from hpo.analysis.groups import Group, groups_of
from hpo.analysis.records import StudyRecord, TrialRecord, best_of, better
from hpo.analysis.summary_statistics import Range, deviation, mean, usual_range
from hpo.spec.models import Metric

# The colour scale spans at least so many standard deviations of trials within a cell.
LEAST_SPAN = 4.0

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
        best: (row, column) of the best trial; None without any.
        best_mean: (row, column) of the best mean; None without any.
        unplaced: Number of trials that lack one of the two parameters, or have it out of range.
    """

    group: str
    cells: tuple[tuple[Cell, ...], ...]
    best: tuple[int, int] | None
    best_mean: tuple[int, int] | None
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
        noise: Standard deviation of trials within a cell, pooled over all cells; None where no cell has two.
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
    noise: float | None
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
    noise = _noise(study, metric, maps)
    usual = usual_range(means, metric.direction)
    finals = [trial.values[metric.name] for trial in study.complete(metric)]
    scale = _at_least(usual, LEAST_SPAN * (noise or 0.0), finals)
    shown = {axes.rows.name, axes.columns.name, study.group_by}
    averaged = tuple(name for name in searched(study.space) if name not in shown)
    return Heatmaps(
        metric,
        study.group_by,
        axes.rows,
        axes.columns,
        axes.chosen,
        maps,
        noise,
        scale.low,
        scale.high,
        usual.beyond(means) > 0 and scale.beyond(means) > 0,
        averaged,
    )


def _noise(study: StudyRecord, metric: Metric, maps: Sequence[Heatmap]) -> float | None:
    """Return the pooled standard deviation of the final values within cells."""
    finals = {trial.number: trial.values[metric.name] for trial in study.complete(metric)}
    cells = (cell for own in maps for row in own.cells for cell in row if cell.n > 1)
    samples = [[finals[number] for number in cell.trials if number in finals] for cell in cells]
    free = sum(len(sample) - 1 for sample in samples)
    if not free:
        return None
    deviations = [(len(sample) - 1, deviation(sample) or 0.0) for sample in samples]
    largest = max(own for _, own in deviations)
    if largest == 0 or not math.isfinite(largest):
        return None
    return largest * math.sqrt(sum(df * (own / largest) ** 2 for df, own in deviations) / free)


def _at_least(shown: Range, span: float, finals: Sequence[float]) -> Range:
    """Return the range, widened about its middle to `span` within the final values: chance does not fill the scale."""
    if shown.low is None or shown.high is None or shown.high - shown.low >= span or not math.isfinite(span):
        return shown
    margin = (span - (shown.high - shown.low)) / 2
    low, high = max(shown.low - margin, min(finals)), min(shown.high + margin, max(finals))
    return Range(min(shown.low, low), max(shown.high, high))


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
    means = [(cell.mean, (i, j)) for i, row in enumerate(cells) for j, cell in enumerate(row) if cell.mean is not None]
    best_mean: tuple[float, tuple[int, int]] | None = None
    for mean_and_place in means:
        if best_mean is None or better(metric, mean_and_place[0], best_mean[0]):
            best_mean = mean_and_place
    placed = tuple(t for own in by_cell.values() for t in own if t.completed(metric))
    best = best_of(tuple(sorted(placed, key=lambda t: t.number)), metric)
    star = next((place for place, own in by_cell.items() if any(trial is best for trial in own)), None)
    return Heatmap(group.label, cells, star, None if best_mean is None else best_mean[1], unplaced)


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
