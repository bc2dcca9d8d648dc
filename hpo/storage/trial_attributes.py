"""Keys of the user attributes that hpo writes to Optuna's trials and studies, and readers of their values.

A trial's ORIGIN is written when it is queued, JOB when it starts, and OUTCOME before it ends; a study's IDENTITY is
written when it is created. All are plain JSON, so that they can be read without hpo.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hpo.trial import KILLED

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from hpo.space.search_space import SearchSpace

ORIGIN = "hpo:origin"  # source, retry_of, attempt, seed, spent, segment
# Seed, attempt, retry_of, source, started (s since the epoch), run, params, sources and code (marks).
JOB = "hpo:job"
# State, cause, metrics, finished, seconds, gpu_seconds, requeued, and if there are any: reason, flag (that ended it),
# peak_gpu_bytes, sources (others than JOB's), environment (a mark), unread (names of parameters), notices
# (hpo.analysis.notices).
OUTCOME = "hpo:outcome"
# In OUTCOME, of a trial that waits at a rung, and is RUNNING: it ends so unless it goes on as another trial
# (hpo.oracle.promotions).
WAITS = "waits"
FLAGS = "hpo:flags"  # the red flags raised: name, action, step, reason, evidence (rules.Raised.data)
IDENTITY = "hpo:identity"  # StudySpec.identity(), by hpo.spec.identity.to_json
SOURCES = "hpo:sources:"  # of a study, and a mark: places, files (hpo.storage.source_versions)
KEY = "hpo:key"  # of a study: random text, which its folder carries too (hpo.storage.ownership)
DRIVER = "hpo:driver"  # of a study: who drives it now (hpo.storage.driver_pulse); null: nobody
PULSE = "hpo:pulse"  # of a study: the token of its driver, and a count that grows while that lives
SAMPLERS = "hpo:samplers"  # of a study: names of the samplers that have proposed trials, in that order
WARM_START = "hpo:warm_start"  # of a study: studies, offered, started, trusted, why (hpo.warm_start.candidates)

# Within ORIGIN, of a segment of a population: member, generation, parent (a trial), start and until (steps). Its
# OUTCOME has segment_end, the step at which it was ended for its successor to go on from; none at a training's end.
# A trial that a person had go on from another one (`hpo continue`) has parent, start, until (null) and constants, which
# replace the study's; it has no member.
SEGMENT = "segment"
# Within ORIGIN, of a trial that was trained elsewhere and brought in by `hpo import`: kind (of the source), place, name
# (of the study there), trial (as it is called there), key (a hash that no other trial has), started (seconds since the
# epoch, null if that is not known) and timed (its history has times of its own).
IMPORTED = "imported"
# Within ORIGIN, of a training of a race (hpo.spec.racing): configuration (its index), part, index (of the seed).
RACE = "race"

ENDED_OUTSIDE = "it was ended from outside (optuna-dashboard)"

# Where a configuration came from.
SAMPLER, ENQUEUE, GRID, FALLBACK, RETRY = "sampler", "enqueue", "grid", "fallback", "retry"
PBT, RACING, CONTINUE = "pbt", "racing", "continue"
IMPORT = "import"
WARM = "warm_start"  # with from (a study), number and value of the trial there, index


def params_of(trial: FrozenTrial, space: SearchSpace) -> Mapping[str, Any]:
    """Return the parameters of a trial as the objective sees them.

    That includes trials added by hand, with optuna-dashboard or another program.
    """
    noted: Mapping[str, Any] | None = (trial.user_attrs.get(JOB) or {}).get("params")
    if noted is not None:
        return noted
    return space.resolve(trial.params) if trial.params else {}


def values_of(trial: FrozenTrial, names: Iterable[str]) -> Mapping[str, float]:
    """Return the final values of a COMPLETE trial: the study's metrics, and what else its objective returned.

    A trial in another state has none: Optuna gives a pruned one its last intermediate value.

    Args:
        trial: the trial.
        names: those of the study's metrics.
    """
    if trial.state.name != "COMPLETE":
        return {}
    noted: dict[str, float] = (trial.user_attrs.get(OUTCOME) or {}).get("metrics") or {}
    told = dict(zip(names, trial.values or (), strict=False))
    if all(type(noted.get(name)) is float and noted[name] == value for name, value in told.items()):
        return noted  # of a hundred thousand trials a copy each takes 20 MB
    return {**noted, **told}


def started_of(trial: FrozenTrial) -> float | None:
    """Return when a trial started, in seconds since the epoch; None if it has not."""
    noted: float | None = (trial.user_attrs.get(JOB) or {}).get("started")
    if noted is not None:
        return noted
    return trial.datetime_start.timestamp() if trial.datetime_start else None


def outcome_of(trial: FrozenTrial) -> Mapping[str, Any]:
    """Return what was noted of a trial's end.

    Of a trial that somebody failed while it ran, which Optuna lets nobody change any more, it has cause and reason.
    """
    noted: Mapping[str, Any] | None = trial.user_attrs.get(OUTCOME)
    if noted is None and trial.state.name == "FAIL" and JOB in trial.user_attrs:
        return {"cause": KILLED, "reason": ENDED_OUTSIDE}
    return noted or {}


def waits(trial: FrozenTrial) -> bool:
    """Return True if a trial waits at a rung. It is RUNNING there, and has ended for who trained it."""
    return trial.state.name == "RUNNING" and bool((trial.user_attrs.get(OUTCOME) or {}).get(WAITS))


def requeued(attributes: Mapping[str, Any]) -> bool:
    """Return True if an attempt was lost or interrupted and tried again, so that it does not count."""
    return bool(attributes.get(OUTCOME, {}).get("requeued"))


def lost_attempts(origin: Mapping[str, Any], trials: Sequence[FrozenTrial]) -> Iterator[int]:
    """Yield the numbers of the earlier attempts at a trial, the latest first."""
    number = origin.get("retry_of")
    # An attempt is always earlier than the one that tries it again; in a damaged storage it may not be.
    last = len(trials)
    while isinstance(number, int) and 0 <= number < last:
        yield number
        last, number = number, trials[number].user_attrs.get(ORIGIN, {}).get("retry_of")


def continued_from(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return where a trial that a person had go on began (`SEGMENT`); empty of any other one."""
    place: Mapping[str, Any] = attributes.get(ORIGIN, {}).get(SEGMENT) or {}
    return {} if "member" in place else place


def imported_from(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return where a trial that was not trained here came from (`IMPORTED`); empty of any other one."""
    if ORIGIN not in attributes:  # nearly all, of a hundred thousand trials
        return {}
    place: Mapping[str, Any] = attributes[ORIGIN].get(IMPORTED) or {}
    return place


def configuration_of(trial: FrozenTrial) -> dict[str, Any]:
    """Return the values of a trial by Optuna's names; of one that never started those that were fixed."""
    return {**trial.system_attrs.get("fixed_params", {}), **trial.params}
