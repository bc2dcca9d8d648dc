"""Section on the best configuration of each group."""

from __future__ import annotations

from hpo.analysis.formatting import configuration, duration, number
from hpo.analysis.groups import best_per_group
from hpo.analysis.records import StudyRecord, TrialRecord
from hpo.analysis.stability import Stability, loss_series, stability_of
from hpo.analysis.training.curves import epochs_to_best
from hpo.reports.blocks import Block, Cell, Section, Table, Text
from hpo.reports.sections.incomplete_groups import incomplete_groups
from hpo.reports.sections.shared import scores
from hpo.spec.models import Metric
from hpo.translation.catalogue import sentences, tr


def best_section(study: StudyRecord) -> Section:
    """Return the best trial of each group by each metric, as tables."""
    blocks: list[Block] = []
    if not any(study.complete(metric) for metric in study.metrics):
        blocks.append(Text(tr("No trial has completed yet, so there is no best configuration.")))
    else:
        for metric in study.metrics:
            if len(study.metrics) > 1:
                blocks.append(Text(_alone(metric)))
            blocks.append(_best_table(study, metric))
        blocks += incomplete_groups(study)
        blocks.append(
            Text(
                tr(
                    "Each score is that of one run. With another seed it would differ, and the best of many runs "
                    "looks better than it is: train the configurations you compare more than once."
                )
            )
        )
    title = tr("Best configuration")
    if study.group_by:
        title = tr("Best configuration of each {group}", group=study.group_by)
    return Section(title, "best", blocks)


def _alone(metric: Metric) -> str:
    if metric.direction == "maximize":
        return tr("By {metric} alone (maximize):", metric=metric.name)
    return tr("By {metric} alone (minimize):", metric=metric.name)


def best_rows(study: StudyRecord, metric: Metric) -> tuple[tuple[Cell, ...], ...]:
    """Return a row for each group: its name, the score, the trial, the configuration, and more."""
    write = scores(study, metric)
    series = loss_series(study)
    rows: list[tuple[Cell, ...]] = []
    for group in best_per_group(study, metric):
        tried = f"{group.complete} / {group.pruned} / {group.failed}"
        if group.best is None:
            rows.append((group.group, "—", "—", tr("no complete trial"), "—", "—", "—", tried))
        else:
            best = group.best
            rows.append(
                (
                    group.group,
                    write(best),
                    str(best.number),
                    configuration(best.params, without=[study.group_by]),
                    duration(best.seconds),
                    _epochs(study, best, metric),
                    _stability(stability_of(best, series)),
                    tried,
                )
            )
    return tuple(rows)


def _best_table(study: StudyRecord, metric: Metric) -> Table:
    columns = (
        study.group_by or tr("trials"),
        metric.name,
        tr("trial"),
        tr("configuration"),
        tr("time"),
        tr("epochs to best"),
        tr("stability"),
        tr("complete / pruned / failed"),
    )
    note = [
        tr("epochs to best: the epoch with the best reported {metric}, of all epochs of the trial.", metric=metric.name)
    ]
    why_not = loss_series(study).why_not
    if why_not:
        note.append(tr("stability: see Training stability; not shown: {why}.", why=why_not))
    else:
        note.append(tr("stability: see Training stability."))
    return Table(columns, best_rows(study, metric), frozenset({1, 2, 4, 5, 6, 7}), sentences(note))


def _epochs(study: StudyRecord, trial: TrialRecord, metric: Metric) -> str:
    found = epochs_to_best(study, trial, metric)
    return "—" if found is None else tr("{epoch} of {epochs}", epoch=found[0], epochs=found[1])


def _stability(found: Stability) -> str:
    if found.deviation is None:
        return "—"
    return tr("{value} ({word})", value=number(found.deviation, 2), word=tr(found.word))
