"""Section of the optimization history: every trial in the order tried, and the best so far."""

from __future__ import annotations

from hpo.analysis.formatting import decimals, score
from hpo.analysis.lineages import is_population
from hpo.analysis.optimization_history import History, optimization_history
from hpo.analysis.outlook import SPACINGS, outlook
from hpo.analysis.records import StudyRecord
from hpo.analysis.statistics.anova import adaptive_sampler
from hpo.reports.blocks import Block, Cell, Chart, Explanation, Section, Table, Text
from hpo.reports.sections.found import outlook_text
from hpo.reports.sections.shared import capped, cells_of_many, points_beyond_axis, values_beyond_axis
from hpo.translation.catalogue import sentences, tr, trn, whole


def history_section(study: StudyRecord) -> Section:
    """Return a chart for each metric."""
    blocks: list[Block] = []
    for metric in study.metrics:
        data = optimization_history(study, metric)
        if data.points:
            table = _best_so_far(study, data)
            blocks.append(Chart(tr("{metric} of each trial", metric=metric.name), data, table, _history_caption(data)))
            if study.complete(metric) and not is_population(study):
                blocks.append(Text(outlook_text(study, metric)))
        else:
            blocks.append(Text(tr("No trial has a value of {metric} yet.", metric=metric.name)))
    if any(outlook(study, metric).gain is not None for metric in study.metrics):
        blocks.append(Explanation(_estimate(study)))
    return Section(tr("Optimization history"), "history", blocks)


def _estimate(study: StudyRecord) -> str:
    text = tr(
        "The estimate takes the next trials as drawn like those that there are, whose {spacings} best spacings say how "
        "the best values thin out (Weissman 1978). Where good values are rare and far from all others, the gain may be "
        "larger.",
        spacings=SPACINGS,
    )
    sampler = adaptive_sampler(study)
    if not sampler:
        return text
    drawn = tr("The sampler, {sampler}, may still find a better region, which the estimate does not know.",
               sampler=sampler)  # fmt: skip
    return sentences([text, drawn])


def _best_so_far(study: StudyRecord, data: History) -> Table:
    """Return the trials that were the best when they completed."""
    places = decimals(trial.values[data.metric.name] for trial in study.complete(data.metric))
    steps: list[tuple[Cell, ...]] = []
    group_of = {point.number: point.group for point in data.points}
    for trial, value in data.improvements:
        steps.append((str(trial), score(value, places), group_of[trial])[: 3 if data.group_by else 2])
    columns = [tr("trial"), tr("best {metric} so far", metric=data.metric.name)]
    if data.group_by:
        columns.append(data.group_by)
    return capped(tuple(columns), tuple(steps), frozenset({0, 1}), folded=tr("Every improvement"))


def _history_caption(data: History) -> str:
    parts = []
    if data.best:
        parts.append(tr("The line is the best final value so far."))
    pruned = sum(point.state == "PRUNED" for point in data.points)
    many = data.density() is not None
    if many:
        parts.append(cells_of_many(len(data.points) - pruned))
        if pruned:
            parts.append(tr("The last values that {n} pruned trials reported are not drawn.", n=whole(pruned)))
    elif pruned:
        parts.append(tr("A cross is the last value that a pruned trial reported: it is not a final value."))
    if data.silent:
        parts.append(trn("{n} pruned trial reported none.", "{n} pruned trials reported none.", data.silent))
    if data.failed:
        parts.append(trn("{n} failed trial has no value.", "{n} failed trials have no value.", data.failed))
    parts.append(values_beyond_axis(data.beyond) if many else points_beyond_axis(data.beyond))
    return sentences(parts)
