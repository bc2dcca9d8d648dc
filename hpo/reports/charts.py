"""Plain data of the charts of a report: what the sections make and the figures draw.

A chart whose data an analysis already has as one dataclass (a Comparison, a History) needs no class here.
"""

from __future__ import annotations

from dataclasses import dataclass

from hpo.analysis.effects import Effect, GroupEffect
from hpo.analysis.formatting import decimals, score
from hpo.analysis.heatmaps import Heatmap, Heatmaps
from hpo.analysis.red_flag_regions import GroupEnrichment, RedFlagEnrichment
from hpo.analysis.training.curves import AllCurves, BestTraining, Curve, GroupLines, Trainings
from hpo.translation.catalogue import mark, tr

# What a line shows; its look and its name in the legend are the same in every figure.
TRAIN, VALIDATION = mark("train"), mark("validation")
PLAIN, CHANGED, SAMPLES = mark("original"), mark("reweighted"), mark("samples")
CROSS_ENTROPY, FOCAL = mark("cross-entropy"), mark("focal loss")


@dataclass(frozen=True)
class TrainingChart:
    """The best trial of one group, with the axes that all groups share."""

    shared: Trainings
    own: BestTraining


@dataclass(frozen=True)
class LinesChart:
    """All trials of one group, with the axes that all groups share."""

    shared: AllCurves
    own: GroupLines


@dataclass(frozen=True)
class ScheduleLine:
    """The value of a parameter by step in the lineage of a member; `best`: it ends in the best trial."""

    member: int
    best: bool
    points: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class ScheduleChart:
    """One parameter of a population, with a line for each lineage; `log`: it is searched in its logarithm."""

    parameter: str
    log: bool
    lines: tuple[ScheduleLine, ...]


@dataclass(frozen=True)
class EffectChart:
    """One group's panel, with what all panels of the parameter have in common."""

    shared: Effect
    own: GroupEffect


@dataclass(frozen=True)
class EnrichmentChart:
    """One red flag in one group; `own` has no more strips than are drawn."""

    shared: RedFlagEnrichment
    own: GroupEnrichment


@dataclass(frozen=True)
class HeatmapChart:
    """One of the heatmaps, with what all of them have in common."""

    shared: Heatmaps
    own: Heatmap


@dataclass(frozen=True)
class ColourScale:
    """The colour scale that all heatmaps of a metric share."""

    shared: Heatmaps


def cell_lines(data: Heatmaps, own: Heatmap, row: int, column: int) -> tuple[str, ...]:
    """Return what stands in a cell of a heatmap, line by line: `0.912`, `n = 2`, `1 pruned`."""
    cell = own.cells[row][column]
    lines: list[str] = []
    if cell.mean is not None:
        star = " ★" if own.best == (row, column) else ""
        lines += [score(cell.mean, cell_places(data)) + star, f"n = {cell.n}"]
    if cell.pruned:
        lines.append(tr("{n} pruned", n=cell.pruned))
    if cell.failed:
        lines.append(tr("{n} failed", n=cell.failed))
    return tuple(lines)


def cell_places(data: Heatmaps) -> int:
    """Return the number of decimals of the means in all cells."""
    return decimals(value for value in (data.low, data.high) if value is not None)


@dataclass(frozen=True)
class NamedLine:
    """A curve and what it shows.

    Attributes:
        of: One of the marked names above.
    """

    of: str
    curve: Curve


@dataclass(frozen=True)
class LinePanel:
    """Lines on one pair of axes.

    Attributes:
        log: True for a logarithmic vertical axis; all values are then positive.
    """

    title: str
    lines: tuple[NamedLine, ...]
    log: bool = False


@dataclass(frozen=True)
class LinePanels:
    """Panels above each other with one axis of epochs.

    Attributes:
        best: The epoch to be marked, or None.
    """

    panels: tuple[LinePanel, ...]
    best: int | None


@dataclass(frozen=True)
class StackedShares:
    """Bars of parts that add up to 1.

    Attributes:
        bars: English names of the bars.
        segments: English names of the segments, the same in every bar.
        parts: parts[bar][segment].
    """

    bars: tuple[str, ...]
    segments: tuple[str, ...]
    parts: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class GradientHistograms:
    """Histograms of a few epochs.

    Attributes:
        epochs: (epoch, percent of the samples in each of equal bins of 0 to 1).
    """

    epochs: tuple[tuple[int, tuple[float, ...]], ...]


@dataclass(frozen=True)
class EpochMap:
    """A map of positive values by epoch and bin.

    Attributes:
        column: Name of the values in the CSV file.
        title: Title of the colour bar.
        epochs: The epoch of each column.
        values: values[bin][column], None where there is nothing; bins are equal parts of 0 to 1.
    """

    column: str
    title: str
    epochs: tuple[int, ...]
    values: tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True)
class EvaluationCurve:
    """A curve of a score of two classes, or its calibration.

    Attributes:
        x: Title of the horizontal axis, translated.
        y: Title of the vertical axis, translated.
        columns: English names of both.
        chance: Where a score that knows nothing lies: from one point to another.
        mark: A point to be marked, such as the threshold in use, or None.
    """

    x: str
    y: str
    columns: tuple[str, str]
    points: tuple[tuple[float, float], ...]
    chance: tuple[tuple[float, float], tuple[float, float]]
    mark: tuple[float, float] | None = None
    dots: bool = False


@dataclass(frozen=True)
class Pictures:
    """Images of items, a row an item.

    Attributes:
        columns: Translated names of the images of an item.
        rows: (what stands beside the row, data URIs of its images).
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class DiagnosisPanel:
    """Curves drawn together.

    Attributes:
        log: True for a logarithmic vertical axis.
        level: Where a line is drawn at the best level, or None.
    """

    title: str
    curves: tuple[Curve, ...]
    log: bool
    level: float | None = None


@dataclass(frozen=True)
class DiagnosisChart:
    """The curves of one training with what led to its verdict.

    Attributes:
        metric: The metric that says which epoch is best.
        best: That epoch, or None.
        since: The epoch from which on the verdict's evidence holds, or None.
        verdict: English name of the verdict.
    """

    panels: tuple[DiagnosisPanel, ...]
    metric: str
    best: int | None
    since: int | None
    verdict: str
