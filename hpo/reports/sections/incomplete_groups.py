"""Sentences on the groups without a complete trial: what ended their trials, and what to type."""

from __future__ import annotations

from collections.abc import Iterator

from hpo import trial as causes
from hpo.analysis.failures import Cause, causes_of
from hpo.analysis.formatting import listed, trials
from hpo.analysis.groups import Group, groups_of
from hpo.analysis.records import StudyRecord
from hpo.reports.blocks import Text
from hpo.translation.catalogue import tr, trn


def incomplete_groups(study: StudyRecord) -> Iterator[Text]:
    """Yield a paragraph for each value of `group_by` of which no trial has completed."""
    for group in groups_of(study) if study.group_by else ():
        if not group.in_state("COMPLETE"):
            yield Text(" ".join(_sentences(study, group)))


def _sentences(study: StudyRecord, group: Group) -> Iterator[str]:
    if not group.trials:
        yield tr("{group} was not tried.", group=group.label)
        yield _more_trials(study)
        return
    own = {trial.number for trial in group.trials}
    found = [
        Cause(cause.state, cause.cause, ended, cause.flag)
        for cause in causes_of(study)
        if not cause.requeued and (ended := tuple(trial for trial in cause.trials if trial.number in own))
    ]
    ends = listed(_end(cause) for cause in found)
    yield tr("{group} has no complete trial: {ends}.", group=group.label, ends=ends)
    if any(cause.cause == causes.PRUNER for cause in found):
        yield _more_trials(study)
    else:
        yield tr("More trials would end like these: see Failures and prunings.")


def _end(cause: Cause) -> str:
    """Return `5 trials ended by pruner, at epochs 6 to 12`."""
    steps = [trial.history[-1].step for trial in cause.trials if trial.history]
    n = trials(len(cause.trials))
    if not steps:
        return tr("{trials} ended by {cause}", trials=n, cause=cause.name)
    if min(steps) == max(steps):
        return tr("{trials} ended by {cause} at epoch {epoch}", trials=n, cause=cause.name, epoch=steps[0])
    return tr(
        "{trials} ended by {cause} at epochs {first} to {last}",
        trials=n,
        cause=cause.name,
        first=min(steps),
        last=max(steps),
    )


def _more_trials(study: StudyRecord) -> str:
    """Return what to type: trials that are added go to such a group, for `min_complete`."""
    least = study.spec.min_complete if study.spec else 0
    if study.spec is None or not least:
        return tr("With min_complete: 3 in study.yaml the last trials go there and are not pruned.")
    budget = study.spec.budget
    if not (budget.trials or budget.hours or budget.gpu_hours) and budget.by:
        return tr("To have more of its trials run to their end: a later budget.by in study.yaml, then hpo run.")
    more = f"--trials +{least}" if budget.trials else "--hours +1" if budget.hours else "--gpu-hours +1"
    return trn(
        "To have a trial of it run to its end: hpo extend {study} {more}, then hpo run.",
        "To have {n} trials of it run to their end: hpo extend {study} {more}, then hpo run.",
        least,
        study=study.name,
        more=more,
    )
