"""What each parameter did to the final metric, in each group by itself."""

from __future__ import annotations

from dataclasses import dataclass

from hpo.analysis.effects import Effect, GroupEffect, effects
from hpo.analysis.importance import importance
from hpo.analysis.records import StudyRecord
from hpo.analysis.wording import count, decimals, listed, score
from hpo.reports.blocks import Block, Cell, Chart, Row, Section, Table, Text
from hpo.reports.sections.shared import beyond_axis, capped, for_each


@dataclass(frozen=True)
class EffectChart:
    """One group's panel, with what all panels of the parameter have in common."""

    shared: Effect
    own: GroupEffect


def effects_section(study: StudyRecord) -> Section:
    blocks: list[Block] = []
    title = f"Effect of each parameter{for_each(study)}"
    for metric in study.metrics:
        found = effects(study, metric, [name for name, _ in importance(study, metric).shares])
        if not found.shown:
            text = "No parameter with values of its own is searched, so there is no effect to show."
            return Section(title, "effects", [Text(text)])
        if not study.complete(metric):
            blocks.append(Text(f"No trial has completed yet, so there is no final {metric.name} to show."))
            continue
        blocks += [_row(study, effect) for effect in found.shown]
        if found.left_out:
            blocks.append(Text(f"Also searched, and not shown for {metric.name}: {listed(found.left_out)}."))
    if any(isinstance(block, Row) for block in blocks):
        blocks.insert(0, Text(_how_to_read(study)))
    return Section(title, "effects", blocks)


def _how_to_read(study: StudyRecord) -> str:
    panels = f"There is one panel for each {study.group_by}, on common axes; nothing is averaged over them. "
    return (
        f"{panels if study.group_by else ''}A dot is the final value of a complete trial. A diamond is the mean of the "
        "n complete trials with that value of the parameter (or in that bin), with a bar of one sample standard "
        "deviation to either side from n = 2 on. The other parameters vary within a value as the search chose them, "
        "so two means may differ because of those. Pruned and failed trials are counted in the tables and never "
        "averaged in."
    )


def _row(study: StudyRecord, effect: Effect) -> Row:
    charts = tuple(Chart(own.group, EffectChart(effect, own)) for own in effect.groups if own.placed)
    title = f"Final {effect.metric.name} by {effect.axis.name}{for_each(study)}"
    return Row(charts, title, _table(study, effect), _caption(effect))


def _caption(effect: Effect) -> str:
    parts = [beyond_axis(effect.beyond, "value")]
    without = [own.group for own in effect.groups if not own.placed]
    if without:
        parts.append(f"No trial to show: {listed(without)}.")
    unplaced = sum(own.unplaced for own in effect.groups)
    if unplaced:
        verb = "is" if unplaced == 1 else "are"
        parts.append(f"{count(unplaced, 'trial')} had no {effect.axis.name} and {verb} left out.")
    return " ".join(part for part in parts if part)


def _table(study: StudyRecord, effect: Effect) -> Table:
    places = decimals(dot.value for own in effect.groups for dot in own.dots)
    rows: list[tuple[Cell, ...]] = []
    for own in effect.groups:
        for label, level in zip(effect.axis.labels, own.levels, strict=True):
            if level.empty:
                continue
            best = "—" if level.best is None else f"{score(level.best[1], places)} (trial {level.best[0]})"
            mean, deviation = ("—" if v is None else score(v, places) for v in (level.mean, level.deviation))
            others = (str(level.pruned), str(level.failed))
            rows.append((own.group, label, str(level.n), mean, deviation, best, *others))
    columns = (study.group_by or "trials", effect.axis.name, "n", "mean", "sd", "best", "pruned", "failed")
    return capped(columns, tuple(rows), frozenset(range(2, 8)), folded="The numbers as a table")
