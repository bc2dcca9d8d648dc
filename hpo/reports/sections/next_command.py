"""The next command to type after a study, with the reason for it."""

from __future__ import annotations

import shlex

from hpo import layout
from hpo import trial as causes
from hpo.analysis.axes import varies
from hpo.analysis.confirmation import confirmation_of, own_race
from hpo.analysis.failures import causes_of
from hpo.analysis.groups import groups_of
from hpo.analysis.lineages import is_population, searched
from hpo.analysis.outlook import AHEAD, outlook
from hpo.analysis.records import StudyRecord
from hpo.analysis.trends import parameter_trends
from hpo.reports.blocks import Finding
from hpo.storage.budget import wall_seconds
from hpo.translation.catalogue import tr

# With so many trials the next AHEAD bring a new best in less than half of all cases.
ENOUGH_TRIALS = AHEAD
ENOUGH_COMPLETE = 5


def next_command(study: StudyRecord) -> Finding:
    """Return the command that follows from what was found; the first one that applies."""
    text, section, command = _next(study)
    runs = study.directory.absolute().parent
    return Finding("next", tr("Next, {reason}:", reason=text), section, layout.follow_up(command, runs))


def _next(study: StudyRecord) -> tuple[str, str, str]:
    name, metric = shlex.quote(study.name), study.metrics[0]
    recorded = shlex.quote(str(study.directory.absolute() / layout.SPEC))
    if study.in_state("RUNNING"):
        return tr("since trials are running, see where it stands"), "found", f"status {name}"
    if study.finished and len(study.in_state("FAIL")) == len(study.finished):
        return tr("when the cause is mended, try what failed again"), "failures", f"run {recorded} --retry-failed"
    if not study.finished or _unspent(study):
        return tr("since its budget is not spent, go on"), "setup", f"run {recorded}"
    if (race := own_race(study)) is not None:
        return tr("train the best configuration"), "confirmation", f"best {shlex.quote(race.study)}"
    if not any(study.complete(one) for one in study.metrics):
        return _pruned_all(study, name, recorded)
    alone = searched(study)
    edges = [one.wider for one in parameter_trends(alone, metric) if one.wider and one.wider.path]
    if edges:
        keys = " ".join(f"--set {shlex.quote(f'{edge.path}={edge.value}')}" for edge in edges)
        return tr("search the wider range"), "effects", f"run {recorded} --new-name {name}-wider {keys}"
    if is_population(study):
        return tr("train the best configuration"), "best", f"best {name}"
    least = study.spec.min_complete if study.spec else 0
    if least and any(not group.in_state("COMPLETE") for group in groups_of(study)) and _pruned(study):
        more = tr("have trials of the groups without a complete one run to their end, then hpo run")
        return more, "best", f"extend {name} {_amount(study, least)}"
    found = outlook(alone, metric)
    enough = found.complete >= ENOUGH_COMPLETE and (found.finished >= ENOUGH_TRIALS or found.tried_all)
    if not enough and not found.tried_all:
        return tr("since few trials were tried, add more, then hpo run"), "history", f"extend {name} {_amount(study)}"
    if not _confirmed(study):
        reason = tr("since the best of many runs looks better than it is, train the best again with other seeds")
        return reason, "best", f"confirm {name}"
    return tr("train the best configuration"), "best", f"best {name}"


def _unspent(study: StudyRecord) -> bool:
    """Return True if the trials of the budget, and its hours, are not spent."""
    if study.spec is None:
        return False
    budget, spans = study.spec.search_budget, study.spans
    planned = study.spec.planned_trials()
    limits = [(budget.hours, wall_seconds(spans)), (budget.gpu_hours, sum(span.gpu_seconds for span in spans))]
    hours = all(limit is None or spent < 3600 * limit for limit, spent in limits)
    if planned is None:
        return hours and any(limit is not None for limit, _ in limits)
    return hours and len(study.trained) < planned


def _pruned_all(study: StudyRecord, name: str, recorded: str) -> tuple[str, str, str]:
    """Return what to do about the most frequent cause."""
    found = max((cause for cause in causes_of(study) if not cause.requeued), key=lambda cause: len(cause.trials))
    if found.cause == causes.PRUNER:
        return tr("search without a pruner"), "failures", f"run {recorded} --new-name {name}-unpruned --set pruner=none"
    return tr("see what ended the trials"), "failures", f"logs {name} {found.trials[0].number}"


def _pruned(study: StudyRecord) -> bool:
    """Return True if the pruner ended a trial of each group that has no complete one."""
    dead = [group for group in groups_of(study) if not group.in_state("COMPLETE")]
    return all(any(trial.cause == causes.PRUNER for trial in group.trials) for group in dead)


def _amount(study: StudyRecord, n: int = AHEAD) -> str:
    """Return the option of `hpo extend` that fits the limit of the study's budget."""
    budget = study.spec.budget if study.spec else None
    if budget is None or budget.trials is not None:
        return f"--trials +{n}"
    return "--hours +1" if budget.hours is not None else "--gpu-hours +1"


def _confirmed(study: StudyRecord) -> bool:
    """Return True if the study was confirmed, or is such a confirmation, or has nothing to choose from."""
    choices = any(varies(parameter) for parameter in study.space.walk())
    return not choices or confirmation_of(study) is not None
