"""The groups beside each other, with their means and standard deviations."""

from __future__ import annotations

from hpo.analysis.comparison import Comparison, comparison
from hpo.analysis.records import StudyRecord
from hpo.analysis.wording import decimals, score
from hpo.reports.blocks import Block, Cell, Chart, Section, Table, Text
from hpo.reports.sections.shared import beyond_axis


def comparison_section(study: StudyRecord) -> Section | None:
    """None without `group_by`: there is nothing to compare."""
    if study.group_by is None:
        return None
    blocks: list[Block] = []
    for metric in study.metrics:
        data = comparison(study, metric)
        if any(group.finals for group in data.groups):
            title = f"Final {metric.name} by {study.group_by}"
            blocks.append(Chart(title, data, _table(study, data), _caption(data)))
        else:
            blocks.append(Text(f"No trial has completed yet, so there is no final {metric.name} to compare."))
    if any(isinstance(block, Chart) for block in blocks):
        blocks.append(
            Text(
                "The trials of a search are no random sample: a sampler returns to what was good, and each "
                f"{study.group_by} was tried with other configurations. Compare the best configurations, trained with "
                "several seeds, before you conclude that one is better."
            )
        )
    return Section(f"Comparison by {study.group_by}", "comparison", blocks)


def _caption(data: Comparison) -> str:
    better = "higher" if data.metric.direction == "maximize" else "lower"
    text = f"A dot is a complete trial ({better} is better). The diamond is the mean of a group's complete trials; its "
    text += "bar is one sample standard deviation to either side, drawn from two trials on."
    return f"{text} {beyond_axis(data.beyond, 'value')}".rstrip()


def _table(study: StudyRecord, data: Comparison) -> Table:
    places = decimals(value for group in data.groups for _, value in group.finals)
    highest = data.metric.direction == "maximize"
    rows: list[tuple[Cell, ...]] = []
    for group in data.groups:
        tried = f"{len(group.finals)} of {group.finished}"
        share = f"{len(group.finals) / group.finished:.0%}" if group.finished else "—"
        found = group.spread
        if found is None:
            rows.append((group.group, tried, share, "—", "—", "—", "—", "—"))
            continue
        best, worst = (found.high, found.low) if highest else (found.low, found.high)
        deviation = "—" if found.deviation is None else score(found.deviation, places)
        numbers = (score(value, places) for value in (found.median, best, worst))
        rows.append((group.group, tried, share, score(found.mean, places), deviation, *numbers))
    columns = (study.group_by or "", "complete", "share", "mean", "sd", "median", "best", "worst")
    note = "complete: of all finished trials; the others were pruned or failed. sd: sample standard deviation (N - 1)."
    return Table(columns, tuple(rows), frozenset(range(1, 8)), note)
