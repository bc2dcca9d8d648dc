"""Section that compares the groups by their final values."""

from __future__ import annotations

from hpo.analysis.comparison import Comparison, comparison
from hpo.analysis.formatting import decimals, rounded_percent, score
from hpo.analysis.records import StudyRecord
from hpo.analysis.statistics.anova import adaptive_sampler
from hpo.reports.blocks import Block, Cell, Chart, Section, Table, Text
from hpo.reports.sections.shared import cells_of_many, values_beyond_axis
from hpo.translation.catalogue import sentences, tr


def comparison_section(study: StudyRecord) -> Section | None:
    """Return the final values of the groups, or None without `group_by`: there is nothing to compare."""
    if study.group_by is None:
        return None
    blocks: list[Block] = []
    for metric in study.metrics:
        data = comparison(study, metric)
        if any(group.finals for group in data.groups):
            title = tr("Final {metric} by {parameter}", metric=metric.name, parameter=study.group_by)
            blocks.append(Chart(title, data, _table(study, data), _caption(data)))
        else:
            text = tr("No trial has completed yet, so there is no final {metric} to compare.", metric=metric.name)
            blocks.append(Text(text))
    if any(isinstance(block, Chart) for block in blocks):
        blocks.append(Text(_caution(study)))
    return Section(tr("Comparison by {parameter}", parameter=study.group_by), "comparison", blocks)


def _caution(study: StudyRecord) -> str:
    """Return what a difference of groups says: less where the trials were drawn by what earlier ones gave."""
    compare = tr("Before you conclude that one {group} is better, train the best configurations several times.",
                 group=study.group_by)  # fmt: skip
    if not adaptive_sampler(study):
        return compare
    drawn = tr("The sampler, {sampler}, returned to what was good, so each {group} was tried with other "
               "configurations.", sampler=adaptive_sampler(study), group=study.group_by)  # fmt: skip
    return sentences([drawn, compare])


def _caption(data: Comparison) -> str:
    higher = data.metric.direction == "maximize"
    if data.densities():
        better = tr("Higher is better.") if higher else tr("Lower is better.")
        dot = sentences([cells_of_many(sum(len(group.finals) for group in data.groups)), better])
    elif higher:
        dot = tr("A dot is a complete trial (higher is better).")
    else:
        dot = tr("A dot is a complete trial (lower is better).")
    median = tr("The diamond is the group's median, its bar spans the quartiles (from three trials on).")
    return sentences([dot, median, values_beyond_axis(data.beyond)])


def _table(study: StudyRecord, data: Comparison) -> Table:
    places = decimals(value for group in data.groups for _, value in group.finals)
    highest = data.metric.direction == "maximize"
    rows: list[tuple[Cell, ...]] = []
    for group in data.groups:
        tried = tr("{n} of {all}", n=len(group.finals), all=group.finished)
        share = rounded_percent(len(group.finals) / group.finished) if group.finished else "—"
        found = group.spread
        if found is None:
            rows.append((group.group, tried, share, "—", "—", "—", "—", "—"))
            continue
        best, worst = (found.high, found.low) if highest else (found.low, found.high)
        deviation = "—" if found.deviation is None else score(found.deviation, places)
        numbers = (score(value, places) for value in (found.median, best, worst))
        rows.append((group.group, tried, share, score(found.mean, places), deviation, *numbers))
    shown = tr("complete"), tr("share"), tr("mean"), tr("sd"), tr("median"), tr("best"), tr("worst")
    columns = (study.group_by or "", *shown)
    note = tr(
        "complete: of all finished trials; the others were pruned or failed. sd: sample standard deviation (N - 1)."
    )
    return Table(columns, tuple(rows), frozenset(range(1, 8)), note)
