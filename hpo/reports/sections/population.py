"""Section of a population: the schedule that the winner's lineage had, and who went on from whom."""

from __future__ import annotations

from typing import Any

from hpo.analysis.formatting import configuration, listed, number
from hpo.analysis.lineages import Lineage, Population, Stage, is_population, population
from hpo.analysis.records import StudyRecord
from hpo.reports.blocks import Block, Cell, Chart, Explanation, Row, Section, Table, Text
from hpo.reports.charts import ScheduleChart, ScheduleLine
from hpo.reports.sections.shared import capped, scores, trial_link
from hpo.text import show
from hpo.translation.catalogue import tr, trn


def population_section(study: StudyRecord) -> Section | None:
    """Return the lineages of a population; None of a study whose trials are trained alone."""
    if not is_population(study):
        return None
    found, title = population(study), tr("Population")
    if found.winner is None:
        return Section(title, "population", [Text(tr("No segment has completed yet."))])
    blocks: list[Block] = [Text(_finding(study, found, found.winner)), _schedule(study, found, found.winner)]
    if charts := tuple(_charts(study, found, found.winner)):
        caption = tr("Thick: the lineage of the best trial. Thin: those of the last segments of the other members.")
        blocks.append(Row(charts, caption=caption))
    blocks += [
        Text(tr("The lineage of each member's last complete segment:")),
        _members(study, found),
        Explanation(
            tr(
                "A trial is one segment of a member's training, and its history holds the whole lineage. Segments "
                "share their past and are of different length: so what compares configurations is left out here: "
                "heatmaps, effects, tests, importance, verdicts on trainings and their stability."
            )
        ),
    ]
    return Section(title, "population", blocks)


def _finding(study: StudyRecord, found: Population, winner: Lineage) -> str:
    metric, names = study.metrics[0], listed(found.parameters)
    values = {"metric": metric.name, "value": scores(study, metric)(winner.last), "trial": winner.last.number}
    if not found.parameters:
        return tr("The best {metric}, {value} in trial {trial}, came without a change of any parameter.", **values)
    if not winner.forks:
        forks = tr("never went on from another member, so its parameters did not change")
    else:
        forks = trn("went on from another member once", "went on from other members {n} times", len(winner.forks))
    segments = trn("{n} segment", "{n} segments", len(winner.stages))
    return tr(
        "The best {metric}, {value} in trial {trial}, is the end of {segments}; its lineage {forks}. Changed in the "
        "population: {names}.",
        **values, segments=segments, forks=forks, names=names,
    )  # fmt: skip


def _schedule(study: StudyRecord, found: Population, winner: Lineage) -> Table:
    metric = study.metrics[0]
    write = scores(study, metric)
    columns = (tr("steps"), tr("trial"), tr("member"), metric.name, *found.parameters)
    rows = tuple(
        (_steps(stage), trial_link(study, stage.trial), str(_member(stage)), write(stage.trial), *_values(stage, found))
        for stage in winner.stages
    )
    return capped(columns, rows, frozenset(range(1, len(columns))))


def _values(stage: Stage, found: Population) -> list[Cell]:
    return [_value(stage.params.get(name)) for name in found.parameters]


def _value(value: Any) -> str:
    if value is None:
        return "—"
    if isinstance(value, dict):
        return configuration(value)
    return number(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else show(value)


def _steps(stage: Stage) -> str:
    if stage.last < stage.first:
        return "—"
    return tr("{low} to {high}", low=stage.first, high=stage.last) if stage.last > stage.first else str(stage.first)


def _member(stage: Stage) -> int:
    return (stage.trial.segment and stage.trial.segment.member) or 0


def _members(study: StudyRecord, found: Population) -> Table:
    metric = study.metrics[0]
    write = scores(study, metric)
    columns = (tr("member"), metric.name, tr("steps"), tr("trials"), tr("went on from"))
    rows = []
    for lineage in found.survivors:
        forks = [tr("{a} at step {step}", a=a, step=step) for step, a, b in lineage.forks]
        trials = " → ".join(str(stage.trial.number) for stage in lineage.stages)
        cells = (str(lineage.member), write(lineage.last), str(lineage.stages[-1].last), trials)
        rows.append((*cells, listed(forks) if forks else "—"))
    return capped(columns, tuple(rows), frozenset({0, 1, 2}))


def _charts(study: StudyRecord, found: Population, winner: Lineage) -> list[Chart]:
    log = {parameter.name for parameter in study.space.walk() if parameter.log}
    charts = []
    for name in found.parameters:
        others = [one for one in found.survivors if one.last.number != winner.last.number]
        lines = [*(_line(one, name, False) for one in others), _line(winner, name, True)]
        drawn = tuple(line for line in lines if line.points)
        if drawn:
            charts.append(Chart(name, ScheduleChart(name, name in log, drawn)))
    return charts


def _line(lineage: Lineage, name: str, best: bool) -> ScheduleLine:
    points = []
    for stage in lineage.stages:
        value = stage.params.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            points += [(step, float(value)) for step in range(stage.first, stage.last + 1)]
    return ScheduleLine(lineage.member, best, tuple(points))
