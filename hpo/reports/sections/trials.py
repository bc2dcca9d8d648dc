"""Section of all complete trials, the best first."""

from __future__ import annotations

from hpo.analysis.formatting import configuration, duration
from hpo.analysis.groups import group_labels
from hpo.analysis.ranking import ranked
from hpo.analysis.records import StudyRecord, TrialRecord
from hpo.analysis.training.curves import epochs_to_best
from hpo.reports.blocks import Cell, Section
from hpo.reports.sections.shared import scores, top_and_rest, trial_link
from hpo.translation.catalogue import tr


def trials_section(study: StudyRecord) -> Section | None:
    """Return the complete trials sorted by the first metric; None of a study without any."""
    first = study.metrics[0]
    complete = ranked(study, first)
    if not complete:
        return None
    group_of = group_labels(study)
    writers = [scores(study, metric) for metric in study.metrics]

    def cells(trial: TrialRecord) -> tuple[Cell, ...]:
        found = epochs_to_best(study, trial, first)
        return (
            trial_link(study, trial),
            *([group_of[trial.number]] if study.group_by else []),
            *(write(trial) for write in writers),
            "—" if found is None else tr("{epoch} of {epochs}", epoch=found[0], epochs=found[1]),
            duration(trial.seconds),
            configuration(trial.params, without=[study.group_by]),
        )

    columns = (
        tr("trial"),
        *([study.group_by] if study.group_by else []),
        *(metric.name for metric in study.metrics),
        tr("epochs to best"),
        tr("time"),
        tr("configuration"),
    )
    start = 2 if study.group_by else 1
    numeric = frozenset({0, *range(start, start + len(study.metrics) + 2)})
    title = tr("Complete trials by {metric}", metric=first.name)
    return Section(
        title, "trials", top_and_rest(study, columns, complete, cells, numeric, tr("The other complete trials"))
    )
