"""The next training of a race, from the trials in the storage alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from hpo.analysis.statistics.heats import Results, course
from hpo.spec.models import StudySpec
from hpo.spec.racing import Training, race_of, seed_in_race
from hpo.storage.trial_attributes import ORIGIN, RACE, requeued


@dataclass(frozen=True)
class Proposal:
    """The next training.

    Attributes:
        params: by Optuna's names.
        seed: its own.
        place: what is noted of it (`hpo.storage.trial_attributes.RACE`).
    """

    params: Mapping[str, Any]
    seed: int
    place: Mapping[str, Any]


def propose(spec: StudySpec, trials: Iterable[FrozenTrial]) -> Proposal | None:
    """Return the next training; None if there is none now. If none runs or waits either, none will come."""
    costs: dict[Training, float | None] = {}  # None: it waits or runs; of several attempts the last one counts
    for trial in trials:
        place = trial.user_attrs.get(ORIGIN, {}).get(RACE)
        if place is None or requeued(trial.user_attrs):
            continue
        complete = trial.state == TrialState.COMPLETE
        ended = spec.metrics[0].cost(trial.values[0]) if complete else math.nan
        costs[Training(**place)] = ended if trial.state.is_finished() else None
    results = Results()
    for one, cost in costs.items():
        if cost is not None:
            results.add(one, cost)
    for one in course(race_of(spec), results).due:
        if one not in costs:
            params = spec.space.to_optuna(spec.enqueue[one.configuration])
            return Proposal(params, seed_in_race(spec.seed, one.part, one.index), asdict(one))
    return None
