"""Lineages: the segments that one training went through, each with the parameters that it had.

Trainings have several in a population, and where a person had a trial go on (`hpo continue`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from hpo.analysis.cache import cached_per_study
from hpo.analysis.records import StudyRecord, TrialRecord, best_of


@dataclass(frozen=True)
class Stage:
    """A segment of a lineage: the first and last step that it trained, and its parameters by the objective's names."""

    trial: TrialRecord
    first: int
    last: int
    params: Mapping[str, Any]


@dataclass(frozen=True)
class Lineage:
    """The segments that led to one trial, the first one first.

    Attributes:
        member: The member that it ends in; -1 without a population.
        stages: Its segments. Those of other members are before a fork.
    """

    member: int
    stages: tuple[Stage, ...]

    @property
    def last(self) -> TrialRecord:
        """The trial that it ends in."""
        return self.stages[-1].trial

    @property
    def forks(self) -> tuple[tuple[int, int, int], ...]:
        """Step, member and member that went on from it, wherever the lineage passed from one to another."""
        pairs = zip(self.stages, self.stages[1:], strict=False)
        members = ((a.last, _member(a.trial), _member(b.trial)) for a, b in pairs)
        return tuple(one for one in members if one[1] != one[2])


@dataclass(frozen=True)
class Population:
    """The lineages of a study.

    Attributes:
        winner: That which ends in the best trial; None while no trial has completed.
        survivors: That of the last complete segment of each member.
        parameters: Names of the parameters that changed in one of them, in the order of the search space.
    """

    winner: Lineage | None
    survivors: tuple[Lineage, ...]
    parameters: tuple[str, ...]


def is_population(study: StudyRecord) -> bool:
    """Return True if trials of the study are segments of a population."""
    return any(trial.segment is not None and trial.segment.member is not None for trial in study.trials)


def searched(study: StudyRecord) -> StudyRecord:
    """Return the study without the trials that were continued, for what compares configurations.

    They were trained longer than the others, and share their beginning with one of them.
    """
    return _without_continued(study) if any(trial.continued for trial in study.trials) else study


@cached_per_study
def _without_continued(study: StudyRecord) -> StudyRecord:
    return replace(study, trials=tuple(trial for trial in study.trials if not trial.continued))


def lineage_of(study: StudyRecord, trial: TrialRecord) -> Lineage:
    """Return the lineage that ends in a trial; only the trial itself if it is no segment."""
    chain = [trial]
    while (place := chain[-1].segment) is not None and place.parent is not None:
        parent = study.by_number.get(place.parent)
        if parent is None or parent.number >= chain[-1].number:  # of a damaged storage
            break
        chain.append(parent)
    return Lineage(_member(trial), tuple(_stage(one) for one in reversed(chain)))


def population(study: StudyRecord) -> Population:
    """Return the lineages of a study whose trials are segments."""
    metric = study.metrics[0]
    latest: dict[int, TrialRecord] = {}
    for trial in study.complete(metric):
        known = latest.get(_member(trial))
        later = known is None or known.segment is None or _generation(trial) > _generation(known)
        if trial.segment and trial.segment.member is not None and later:
            latest[trial.segment.member] = trial
    survivors = tuple(lineage_of(study, latest[member]) for member in sorted(latest))
    best = best_of(study.complete(metric), metric)
    winner = None if best is None else lineage_of(study, best)
    lineages = (*survivors, *([winner] if winner else ()))
    names = dict.fromkeys(parameter.name for parameter in study.space.walk())
    changed = (name for name in names if any(_changes(lineage, name) for lineage in lineages))
    return Population(winner, survivors, tuple(changed))


def _changes(lineage: Lineage, name: str) -> bool:
    values = [stage.params[name] for stage in lineage.stages if name in stage.params]
    return any(value != values[0] for value in values)


def _stage(trial: TrialRecord) -> Stage:
    start = 0 if trial.segment is None else trial.segment.start
    last = max((step.step for step in trial.history), default=start)
    return Stage(trial, start + 1, last, trial.params)


def _member(trial: TrialRecord) -> int:
    return -1 if trial.segment is None or trial.segment.member is None else trial.segment.member


def _generation(trial: TrialRecord) -> int:
    return 0 if trial.segment is None else trial.segment.generation
