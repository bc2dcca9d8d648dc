"""Group the finished trials of a study by its `group_by`, such as an architecture, and find the best of each group.

Nothing here averages over groups. An average names a cell that may be no group's best.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hpo.analysis.axes import searched
from hpo.analysis.cache import cached_per_study
from hpo.analysis.formatting import label
from hpo.analysis.records import StudyRecord, TrialRecord, best_of
from hpo.space.parameter import same_choice
from hpo.spec.models import Metric
from hpo.translation.catalogue import mark, tr

ALL_TRIALS = mark("all trials")


@dataclass(frozen=True)
class Group:
    """Finished trials of one value of `group_by`."""

    label: str
    trials: tuple[TrialRecord, ...]

    def in_state(self, state: str) -> int:
        """Return the number of trials in a state."""
        return sum(trial.state == state for trial in self.trials)


@cached_per_study
def groups_of(study: StudyRecord) -> tuple[Group, ...]:
    """Return one group a value of `group_by`, in the order declared, also of values not tried yet.

    Trials in which the parameter was not active form a last group. Without `group_by` all finished trials are one
    group.
    """
    if study.group_by is None:
        return (Group(tr(ALL_TRIALS), study.finished),)
    values: list[Any] = [
        choice for parameter in searched(study.space).get(study.group_by, ()) for choice in parameter.choices
    ]
    for trial in study.finished:
        if study.group_by in trial.params and not any(
            same_choice(trial.params[study.group_by], known) for known in values
        ):
            values.append(trial.params[study.group_by])
    groups = [
        Group(
            label(value),
            tuple(
                t for t in study.finished if study.group_by in t.params and same_choice(t.params[study.group_by], value)
            ),
        )
        for value in values
    ]
    without = tuple(trial for trial in study.finished if study.group_by not in trial.params)
    if without:
        groups.append(Group(tr("no {parameter}", parameter=study.group_by), without))
    return tuple(groups)


def group_labels(study: StudyRecord) -> dict[int, str]:
    """Return the label of the group of each finished trial, by the number of the trial."""
    return {trial.number: group.label for group in groups_of(study) for trial in group.trials}


# --- the best configuration of each group


@dataclass(frozen=True)
class GroupBest:
    """The best trial of a group; None while no trial of it is COMPLETE. Counts are of finished trials."""

    group: str
    best: TrialRecord | None
    complete: int
    pruned: int
    failed: int


@cached_per_study
def best_per_group(study: StudyRecord, metric: Metric) -> tuple[GroupBest, ...]:
    """Return the best trial of each group by its final value of `metric`."""
    return tuple(
        GroupBest(
            group.label,
            best_of(tuple(trial for trial in group.trials if trial.completed(metric)), metric),
            group.in_state("COMPLETE"),
            group.in_state("PRUNED"),
            group.in_state("FAIL"),
        )
        for group in groups_of(study)
    )
