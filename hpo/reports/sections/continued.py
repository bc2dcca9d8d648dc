"""Section of the trials that a person had go on from another one: from where, with what changed, and what it gave."""

from __future__ import annotations

from hpo.analysis.formatting import configuration
from hpo.analysis.records import StudyRecord, TrialRecord
from hpo.reports.blocks import Block, Cell, Explanation, Section, Text
from hpo.reports.sections.shared import capped, scores, trial_link
from hpo.translation.catalogue import tr, trn


def continued_section(study: StudyRecord) -> Section | None:
    """Return what became of the trials that were continued; None without any."""
    trials = [trial for trial in study.trials if trial.continued and not trial.requeued]
    if not trials:
        return None
    metric, by_number = study.metrics[0], {trial.number: trial for trial in study.trials}
    write = scores(study, metric)
    rows: list[tuple[Cell, ...]] = []
    for trial in trials:
        place = trial.continued
        parent = by_number.get(place.parent) if place and place.parent is not None else None
        if place is None or parent is None:  # of a damaged storage
            continue
        said = tr("continues {parent} from epoch {step}", parent=parent.number, step=place.start)
        last = max((step.step for step in trial.history), default=place.start)
        cells = (said, str(last), write(parent), write(trial), trial.state, _changed(parent, trial))
        rows.append((trial_link(study, trial), *cells))
    columns = (tr("trial"), tr("lineage"), tr("last epoch"), tr("{metric} before", metric=metric.name), metric.name)
    found = trn("{n} trial goes on from another one.", "{n} trials go on from other ones.", len(rows))
    blocks: list[Block] = [
        Text(found),
        capped((*columns, tr("state"), tr("changed")), tuple(rows), frozenset({0, 2, 3, 4})),
        Explanation(
            tr(
                "Its history begins with the epochs of the trial that it continues. It was trained longer than the "
                "others: so the sampler, the pruner, heatmaps, effects, tests and importance leave it out."
            )
        ),
    ]
    return Section(tr("Continued trials"), "continued", blocks)


def _changed(parent: TrialRecord, trial: TrialRecord) -> str:
    """Return the parameters and constants that differ from those of the trial that it continues."""
    before = dict(parent.continued.constants) if parent.continued else {}
    constants = dict(trial.continued.constants) if trial.continued else {}
    changed = {name: value for name, value in trial.params.items() if parent.params.get(name) != value}
    changed |= {name: value for name, value in constants.items() if name not in before or before[name] != value}
    return configuration(changed) or "—"
