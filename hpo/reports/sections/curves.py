"""Training curves: of each group's best trial, and of every trial."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hpo.analysis.curves import AllCurves, BestTraining, GroupLines, Panel, Trainings, all_curves, best_step, trainings
from hpo.analysis.records import StudyRecord
from hpo.analysis.wording import count, decimals, listed, number, score
from hpo.reports.blocks import Block, Cell, Chart, Row, Section, Table, Text
from hpo.reports.sections.shared import beyond_axis, capped, for_each
from hpo.spec import Metric


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


def curves_section(study: StudyRecord) -> Section:
    blocks: list[Block] = []
    if not any(trial.history for trial in study.finished):
        return Section("Training curves", "curves", [Text("No trial has reported anything while it trained.")])
    best = trainings(study, study.metrics[0])
    if best is None:
        blocks.append(Text("No complete trial has reported a loss or a metric of the study while it trained."))
    else:
        blocks += _best_blocks(study, best)
    for metric in study.metrics:
        every = all_curves(study, metric)
        if every is None:
            blocks.append(Text(f"{metric.name} was not reported during training, so it has no curves."))
        else:
            blocks.append(_all_row(study, every))
    return Section("Training curves", "curves", blocks)


# --- the best trials


def _best_blocks(study: StudyRecord, data: Trainings) -> list[Block]:
    by = f" by {data.metric.name}" if len(study.metrics) > 1 else ""
    text = f"The best trial{by}{f' of each {study.group_by}' if study.group_by else ''}. "
    text += "All panels have the same axes. " if len(data.groups) > 1 else ""
    if any(own.best is not None for own in data.groups):
        text += f"The star is the epoch with the best {data.metric.name}, and the dotted line marks that epoch."
    if data.left_out:
        text += f" Also reported for training and validation, and not drawn: {listed(data.left_out)}."
    charts = tuple(Chart(f"{own.group} (trial {own.trial.number})", TrainingChart(data, own)) for own in data.groups)
    beyond = beyond_axis(sum(own.beyond for own in data.groups), "point", zoom=True)
    return [Text(text), Row(charts, f"The best trial by epoch{for_each(study)}", _best_table(study, data), beyond)]


def _best_table(study: StudyRecord, data: Trainings) -> Table:
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
    columns = (study.group_by or "trials", "trial", "metric", "first", "best (epoch)", "last")
    return capped(columns, tuple(rows), frozenset({1, 3, 4, 5}), folded="The numbers as a table")


def _writer(panel: Panel, values: Sequence[float]) -> Callable[[float], str]:
    """A loss that spans decades keeps its digits; other values have common decimals."""
    if panel.log:
        return number
    places = decimals(values)
    return lambda value: score(value, places)


# --- all trials


def _all_row(study: StudyRecord, data: AllCurves) -> Row:
    charts = tuple(Chart(own.group, LinesChart(data, own)) for own in data.groups if own.lines)
    title = f"{data.metric.name} of all trials by epoch{for_each(study)}"
    return Row(charts, title, _all_table(study, data), _all_caption(data))


def _all_caption(data: AllCurves) -> str:
    lines = [line for own in data.groups for line in own.lines]
    parts = ["A line ends where its trial ended; the thick one is the group's best complete trial."]
    if any(line.state == "PRUNED" for line in lines):
        parts.append("A cross is where a trial was pruned.")
    silent = sum(own.silent for own in data.groups)
    if silent:
        parts.append(f"{count(silent, 'trial')} reported no {data.metric.name}.")
    if data.thinned:
        parts.append("Long curves are drawn with fewer points than were reported.")
    parts.append(beyond_axis(data.beyond, "point", zoom=True))
    return " ".join(part for part in parts if part)


def _all_table(study: StudyRecord, data: AllCurves) -> Table:
    rows = [_lines_cells(own, data.metric) for own in data.groups if own.lines]
    columns = (
        study.group_by or "trials",
        "complete",
        "pruned",
        "failed",
        "epochs",
        "median of the last values (complete)",
        "best value (trial, epoch)",
    )
    return Table(columns, tuple(rows), frozenset(range(1, 7)), folded="The numbers as a table")


def _lines_cells(own: GroupLines, metric: Metric) -> tuple[Cell, ...]:
    places = decimals(value for line in own.lines for _, value in line.curve.finite)
    counts = (str(own.in_state(state)) for state in ("COMPLETE", "PRUNED", "FAIL"))
    epochs = str(own.longest) if own.shortest == own.longest else f"{own.shortest} to {own.longest}"
    last = [line.curve.finite[-1][1] for line in own.lines if line.state == "COMPLETE"]
    middle = score(statistics.median(last), places) if last else "—"
    best = "—" if own.peak is None else f"{score(own.peak[0], places)} ({own.peak[1]}, {own.peak[2]})"
    return (own.group, *counts, epochs, middle, best)
