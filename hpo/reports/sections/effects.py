"""Section on the effect of each parameter on the final metric, in each group by itself."""

from __future__ import annotations

from hpo.analysis.effects import Effect, effects
from hpo.analysis.formatting import decimals, listed, score
from hpo.analysis.groups import groups_of
from hpo.analysis.importance import importance
from hpo.analysis.records import StudyRecord
from hpo.reports.blocks import Block, Cell, Chart, Explanation, Row, Section, Table, Text
from hpo.reports.charts import EffectChart
from hpo.reports.sections.notices import unread_texts
from hpo.reports.sections.shared import capped, cells_of_many, for_each, values_beyond_axis
from hpo.reports.sections.trends import trend_blocks
from hpo.translation.catalogue import sentences, tr, trn


def effects_section(study: StudyRecord) -> Section:
    """Return a row of charts for each parameter and metric."""
    blocks: list[Block] = []
    title = for_each(study, tr("Effect of each parameter"))
    for metric in study.metrics:
        found = effects(study, metric, tuple(name for name, _ in importance(study, metric).shares))
        if not found.shown:
            text = tr("No parameter with values of its own is searched, so there is no effect to show.")
            return Section(title, "effects", [Text(text)])
        if not study.complete(metric):
            text = tr("No trial has completed yet, so there is no final {metric} to show.", metric=metric.name)
            blocks.append(Text(text))
            continue
        if empty := [group.label for group in groups_of(study) if not any(t.completed(metric) for t in group.trials)]:
            blocks.append(Text(tr("Without a complete trial, and so without a panel: {groups}.", groups=listed(empty))))
        blocks += trend_blocks(study, metric)
        blocks += [_row(study, effect) for effect in found.shown]
        if found.left_out:
            names = listed(found.left_out)
            text = tr("Also searched, and not shown for {metric}: {names}.", metric=metric.name, names=names)
            blocks.append(Text(text))
    if any(isinstance(block, Row) for block in blocks):
        blocks.append(Explanation(_how_to_read(study)))
    return Section(title, "effects", [*unread_texts(study), *blocks])


def _how_to_read(study: StudyRecord) -> str:
    text = tr(
        "A dot is the final value of a complete trial. A diamond is the median of two or more of them with that value "
        "of the parameter (or in that bin); from three on its bar spans the quartiles. The other parameters vary "
        "within a value as the search chose them, so two medians may differ because of those. Pruned and failed trials "
        "are only counted, in the tables."
    )
    if not study.group_by:
        return text
    panels = tr(
        "There is one panel for each {group}, on common axes; nothing is averaged over them.", group=study.group_by
    )
    return sentences([panels, text])


def _row(study: StudyRecord, effect: Effect) -> Row:
    charts = tuple(Chart(own.group, EffectChart(effect, own)) for own in effect.groups if own.dots)
    title = tr("Final {metric} by {parameter}", metric=effect.metric.name, parameter=effect.axis.name)
    return Row(charts, for_each(study, title), _table(study, effect), _caption(effect))


def _caption(effect: Effect) -> str:
    many = sum(len(own.dots) for own in effect.groups if effect.density(own) is not None)
    parts = [cells_of_many(many) if many else "", values_beyond_axis(effect.beyond)]
    unplaced = sum(own.unplaced for own in effect.groups)
    if unplaced:
        missing = trn(
            "{n} trial had no {parameter} and is left out.",
            "{n} trials had no {parameter} and are left out.",
            unplaced,
            parameter=effect.axis.name,
        )
        parts.append(missing)
    return sentences(parts)


def _table(study: StudyRecord, effect: Effect) -> Table:
    places = decimals(dot.value for own in effect.groups for dot in own.dots)
    rows: list[tuple[Cell, ...]] = []
    for own in effect.groups:
        for label, level in zip(effect.axis.labels, own.levels, strict=True):
            if level.empty:
                continue
            best = "—"
            if level.best is not None:
                best = tr("{value} (trial {n})", value=score(level.best[1], places), n=level.best[0])
            numbers = ("—" if v is None else score(v, places) for v in (level.median, level.mean, level.deviation))
            others = (str(level.pruned), str(level.failed))
            rows.append((own.group, label, str(level.n), *numbers, best, *others))
    shown = "n", tr("median"), tr("mean"), tr("sd"), tr("best"), tr("pruned"), tr("failed")
    columns = (study.group_by or tr("trials"), effect.axis.name, *shown)
    return capped(columns, tuple(rows), frozenset(range(2, 9)), folded=tr("The numbers as a table"))
