"""Section of training curves: those of each group's best trial, and those of every trial."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hpo.analysis.formatting import decimals, listed, number, score
from hpo.analysis.records import StudyRecord
from hpo.analysis.training.curves import (
    AllCurves,
    GroupLines,
    Panel,
    Trainings,
    all_curves,
    best_step,
    trainings,
)
from hpo.reports.blocks import Block, Cell, Chart, Row, Section, Table, Text
from hpo.reports.charts import LinesChart, TrainingChart
from hpo.reports.sections.shared import capped, for_each, points_beyond_axis
from hpo.spec.models import Metric
from hpo.translation.catalogue import sentences, tr, trn, whole


def curves_section(study: StudyRecord) -> Section:
    """Return the curves of the best trials, and of all trials for each metric."""
    blocks: list[Block] = []
    title = tr("Training curves")
    if not any(trial.history for trial in study.finished):
        return Section(title, "curves", [Text(tr("No trial has reported anything while it trained."))])
    best = trainings(study, study.metrics[0])
    if best is None:
        blocks.append(Text(tr("No complete trial has reported a loss or a metric of the study while it trained.")))
    else:
        blocks += _best_blocks(study, best)
    for metric in study.metrics:
        every = all_curves(study, metric)
        if every is None:
            text = tr("{metric} was not reported during training, so it has no curves.", metric=metric.name)
            blocks.append(Text(text))
        else:
            blocks.append(_all_row(study, every))
    return Section(title, "curves", blocks)


# --- the best trials


def _best_blocks(study: StudyRecord, data: Trainings) -> list[Block]:
    parts = [_which(study, data.metric)]
    if len(data.groups) > 1:
        parts.append(tr("All panels have the same axes."))
    if any(own.best is not None for own in data.groups):
        star = tr(
            "The star is the epoch with the best {metric}, and the dotted line marks that epoch.",
            metric=data.metric.name,
        )
        parts.append(star)
    if data.left_out:
        left_out = tr("Also reported for training and validation, and not drawn: {names}.", names=listed(data.left_out))
        parts.append(left_out)
    charts = tuple(
        Chart(tr("{group} (trial {n})", group=own.group, n=own.trial.number), TrainingChart(data, own))
        for own in data.groups
    )
    beyond = points_beyond_axis(sum(own.beyond for own in data.groups))
    title = for_each(study, tr("The best trial by epoch"))
    return [Text(sentences(parts)), Row(charts, title, training_table(data), beyond)]


def _which(study: StudyRecord, metric: Metric) -> str:
    if len(study.metrics) > 1 and study.group_by:
        return tr("The best trial by {metric} of each {group}.", metric=metric.name, group=study.group_by)
    if study.group_by:
        return tr("The best trial of each {group}.", group=study.group_by)
    return tr("The best trial by {metric}.", metric=metric.name) if len(study.metrics) > 1 else tr("The best trial.")


def training_table(data: Trainings) -> Table:
    """Return a row for each curve: its first, best and last value."""
    rows: list[tuple[Cell, ...]] = []
    for own in data.groups:
        for panel, curves in zip(data.panels, own.curves, strict=True):
            write = _writer(panel, [value for curve in curves for _, value in curve.finite])
            for curve in curves:
                found = best_step(curve, panel.direction)
                if found is None:
                    continue
                first, last = curve.finite[0][1], curve.finite[-1][1]
                texts = (write(first), f"{write(found[1])} ({found[0]})", write(last))
                rows.append((own.group, str(own.trial.number), curve.name, *texts))
    shown = tr("trial"), tr("metric"), tr("first"), tr("best (epoch)"), tr("last")
    columns = (data.group_by or tr("trials"), *shown)
    return capped(columns, tuple(rows), frozenset({1, 3, 4, 5}), folded=tr("The numbers as a table"))


def _writer(panel: Panel, values: Sequence[float]) -> Callable[[float], str]:
    """Return how values are written: a loss that spans decades keeps its digits, other values have common decimals."""
    if panel.log:
        return number
    places = decimals(values)
    return lambda value: score(value, places)


# --- all trials


def _all_row(study: StudyRecord, data: AllCurves) -> Row:
    charts = tuple(Chart(own.group, LinesChart(data, own)) for own in data.groups if own.lines)
    title = for_each(study, tr("{metric} of all trials by epoch", metric=data.metric.name))
    return Row(charts, title, _all_table(study, data), _all_caption(data))


def _all_caption(data: AllCurves) -> str:
    parts = [tr("A line ends where its trial ended; the thick one is the group's best complete trial.")]
    if any(own.states.get("PRUNED") for own in data.groups):
        parts.append(tr("A cross is where a trial was pruned."))
    silent = sum(own.silent for own in data.groups)
    if silent:
        parts.append(_silent(silent, data.metric))
    drawn = sum(len(own.lines) for own in data.groups)
    if drawn < data.n:
        n = whole(data.n)
        parts.append(tr("Of {n} curves {drawn} are drawn, evenly spaced in the order tried.", n=n, drawn=drawn))
    if data.thinned:
        parts.append(tr("Long curves are drawn with fewer points than were reported."))
    parts.append(points_beyond_axis(data.beyond))
    return sentences(parts)


def _silent(n: int, metric: Metric) -> str:
    return trn("{n} trial reported no {metric}.", "{n} trials reported no {metric}.", n, metric=metric.name)


def _all_table(study: StudyRecord, data: AllCurves) -> Table:
    rows = [_lines_cells(own, data.metric) for own in data.groups if own.lines]
    columns = (
        study.group_by or tr("trials"),
        tr("complete"),
        tr("pruned"),
        tr("failed"),
        tr("epochs"),
        tr("median of the last values (complete)"),
        tr("best value (trial, epoch)"),
    )
    return Table(columns, tuple(rows), frozenset(range(1, 7)), folded=tr("The numbers as a table"))


def _lines_cells(own: GroupLines, metric: Metric) -> tuple[Cell, ...]:
    places = decimals(value for line in own.lines for _, value in line.curve.finite)
    counts = (str(own.states.get(state, 0)) for state in ("COMPLETE", "PRUNED", "FAIL"))
    epochs = str(own.longest)
    if own.shortest != own.longest:
        epochs = tr("{low} to {high}", low=own.shortest, high=own.longest)
    middle = "—" if own.last is None else score(own.last, places)
    best = "—" if own.peak is None else f"{score(own.peak[0], places)} ({own.peak[1]}, {own.peak[2]})"
    return (own.group, *counts, epochs, middle, best)
