"""An ensemble of trials as it is stored, and the stored ones of a study."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from hpo import layout
from hpo.analysis.cache import cached_per_study
from hpo.analysis.evaluation_records import Score
from hpo.analysis.records import StudyRecord
from hpo.storage.evaluations import stored_evaluations

FORMAT = 1


@dataclass(frozen=True)
class Member:
    """A trial whose kept weights could be in the ensemble.

    Attributes:
        trial: Its number.
        weight: Its share of the average; 0 if it was not taken.
        recorded: The value of the metric that its training reached.
        validation: That of its kept weights on the validation split.
        shift: Subtracted from its scores before they are averaged.
        scale: By which they are divided then.
    """

    trial: int
    params: dict[str, Any]
    weight: float
    recorded: float
    validation: float
    shift: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True)
class Compared:
    """A score of the single winner and of the ensemble, and the second less the first."""

    single: Score
    ensemble: Score
    difference: Score


@dataclass(frozen=True)
class HeldOut:
    """Scores on data that chose nothing; fields as those of `evaluation_records.Evaluation`."""

    data: str | None
    n: float
    items: str
    groups: int | None
    grouped_by: str
    scores: dict[str, Compared]


@dataclass(frozen=True)
class Ensemble:
    """A selected ensemble.

    Attributes:
        when: Seconds since the epoch.
        metric: What it was selected by.
        direction: "maximize" or "minimize".
        single: The trial that it is compared with.
        members: All candidates, the best first.
        validation: The metric on the validation split, of the single trial and of the ensemble.
        held_out: None if there is no held-out split.
        why_not: Then why.
        replacement: Whether a trial could be taken several times.
    """

    study: str
    when: float
    seconds: float
    metric: str
    direction: str
    single: int
    members: tuple[Member, ...]
    validation: tuple[float, float]
    held_out: HeldOut | None
    why_not: str = ""
    replacement: bool = True
    format: int = FORMAT

    @property
    def taken(self) -> tuple[Member, ...]:
        """The members that have a weight, the heaviest first."""
        return tuple(sorted((one for one in self.members if one.weight > 0), key=lambda one: -one.weight))


_ADAPTER = TypeAdapter(Ensemble)


def to_json(ensemble: Ensemble) -> bytes:
    """Return an ensemble as the JSON that is stored."""
    return _ADAPTER.dump_json(ensemble, indent=1)


@cached_per_study
def ensembles_of(study: StudyRecord) -> tuple[Ensemble, ...]:
    """Return the ensembles of a study, the oldest first.

    Those with trials that the study no longer has, of another format and damaged ones are passed over.
    """
    params = {trial.number: dict(trial.params) for trial in study.trials}
    read = (_parsed(data) for data in stored_evaluations(study.directory, layout.ENSEMBLES))
    return tuple(one for one in read if one is not None and all(params.get(m.trial) == m.params for m in one.members))


def _parsed(data: dict[str, Any]) -> Ensemble | None:
    try:
        return _ADAPTER.validate_python(data) if data.get("format") == FORMAT else None
    except ValidationError:
        return None
