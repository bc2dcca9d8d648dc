"""Read what a study's storage and files say, as plain records.

All analysis starts here, and none of it touches Optuna's objects or the run side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo import layout
from hpo.analysis.steps import Steps, steps_of
from hpo.machine.access import told_denials
from hpo.spec.models import Metric, StudySpec
from hpo.spec.racing import CHOOSE, ESTIMATE, Training
from hpo.storage.budget import Span
from hpo.storage.contradiction import agreed_params, contradiction
from hpo.storage.histories import Histories
from hpo.storage.history import Step
from hpo.storage.load_study import load_study
from hpo.storage.open import storage_url
from hpo.storage.source_versions import Change, changes_of
from hpo.storage.trial_attributes import (
    FLAGS,
    JOB,
    ORIGIN,
    RACE,
    SAMPLERS,
    SEGMENT,
    WARM_START,
    imported_from,
    outcome_of,
    params_of,
    requeued,
    started_of,
    values_of,
    waits,
)
from hpo.text import LONGEST_REASON, cut, redact
from hpo.trial import INVALID

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

    from hpo.space.search_space import SearchSpace

    Alike = dict[tuple[str, ...], Mapping[str, BaseDistribution]]

FINISHED = ("COMPLETE", "PRUNED", "FAIL")
STOP, WARN = "stop", "warn"


@dataclass(frozen=True)
class RaisedFlag:
    """A rule of `red_flags` that a trial met.

    Attributes:
        name: Name of the rule.
        action: STOP if it ended the trial, WARN if it only says so.
        step: The step in which it was raised.
        reason: The sentence that says how the rule was met.
        metrics: The numbers that led to it, at that step.
        since: The first of the steps in a row that met the rule.
        more: Other evidence.
    """

    name: str
    action: str
    step: int
    reason: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    since: int | None = None
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class WarmOrigin:
    """A trial of an earlier study whose configuration was tried again: its study, number and final value there."""

    study: str
    number: int | None
    value: float | None


@dataclass(frozen=True)
class Imported:
    """Place where a trial was trained that was brought in by `hpo import`.

    Attributes:
        kind: What it was read from: optuna, mlflow, csv or wandb-csv.
        place: The file or URL, without a password.
        study: What the study, experiment or file is called there.
        trial: What the trial is called there.
        timed: Whether its history has times of its own.
    """

    kind: str
    place: str
    study: str
    trial: str
    timed: bool


@dataclass(frozen=True)
class Segment:
    """The place of a trial that is one segment of a training: of a population's member, or continued by a person.

    Attributes:
        member: The member, counted from 0; None of a trial that was continued.
        generation: The number of segments in its member's lineage, this one included; 0 without a member.
        parent: The trial whose checkpoint it went on from; None of a first segment.
        start: The step at which it went on; 0 of a first segment.
        constants: Those that it had instead of the study's.
    """

    member: int | None
    generation: int
    parent: int | None
    start: int
    constants: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)  # there may be a hundred thousand
class TrialRecord:
    """One attempt at one configuration.

    Attributes:
        number: Optuna's number of the trial.
        state: COMPLETE, PRUNED, FAIL, RUNNING or WAITING. FAIL also if the storage contradicts itself about its
            result.
        params: Parameters, named as the objective sees them. If the storage contradicts itself about one, it is left
            out.
        optuna_params: Parameters, named as Optuna does.
        values: Final metrics, of COMPLETE trials only.
        cause: Why a pruned or failed trial ended; empty when nobody noted it.
        reason: The same as a sentence.
        seconds: Run time.
        started: Seconds since the epoch (1970).
        source: Who proposed the configuration.
        attempt: 1, and one more each time that it was tried again.
        retry_of: The number of the attempt before.
        history: Every reported step, ascending.
        requeued: Whether it was lost or interrupted and tried again under another number, or waited at a rung and went
            on under one. It is then no finished trial.
        gpu_seconds: GPUs times run time.
        distributions: Optuna's distributions, by Optuna's names.
        flags: The red flags it raised, in earlier attempts too.
        flag: The red flag that ended it.
        warm: The earlier trial it was started from.
        seed: Its own seed, from which it trained; None if nobody noted it.
        notices: What it showed that is hardly meant, by kind (`hpo.analysis.notices`).
        unread: Names of parameters that its objective has not read, of COMPLETE trials only.
        segment: Its place among those that its training went through; None if it was trained alone.
        training: Its place in a race; None without one.
        waits: Whether it waits at a rung, and may go on.
        imported: Where it was trained, if that was not here. Its `started` and `seconds` are None where they are not
            known, and no time of it counts as one of this study.
    """

    number: int
    state: str
    params: Mapping[str, Any]
    optuna_params: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, float] = field(default_factory=dict)
    cause: str = ""
    reason: str = ""
    seconds: float | None = None
    started: float | None = None
    source: str = "sampler"
    attempt: int = 1
    retry_of: int | None = None
    history: Sequence[Step] = ()
    requeued: bool = False
    gpu_seconds: float = 0.0
    distributions: Mapping[str, BaseDistribution] = field(default_factory=dict)
    flags: tuple[RaisedFlag, ...] = ()
    flag: str = ""
    warm: WarmOrigin | None = None
    seed: int | None = None
    notices: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    unread: tuple[str, ...] = ()
    segment: Segment | None = None
    training: Training | None = None
    imported: Imported | None = None
    waits: bool = False

    @property
    def continued(self) -> Segment | None:
        """The place from which a person had it go on (`hpo continue`); None of any other trial."""
        return self.segment if self.segment is not None and self.segment.member is None else None

    @property
    def finished(self) -> bool:
        """Return True if it has ended and was not tried again."""
        return self.state in FINISHED and not self.requeued

    def completed(self, metric: Metric) -> bool:
        """Return True if it is COMPLETE, with a finite final value of `metric`."""
        finite = math.isfinite(self.values.get(metric.name, math.nan))
        return self.state == "COMPLETE" and not self.requeued and finite

    @property
    def steps(self) -> int:
        """Number of reported steps."""
        return len(self.history)

    @property
    def reported(self) -> tuple[str, ...]:
        """Every metric that it reported, in the order in which they appeared."""
        return steps_of(self.history).names

    def series(self, metric: str) -> tuple[tuple[int, float], ...]:
        """Return (step, value) wherever `metric` was reported, ascending; values may be NaN or infinite."""
        return steps_of(self.history).series(metric)

    def last(self, metric: str) -> float | None:
        """Return the last finite value reported of `metric`, or None."""
        return steps_of(self.history).last(metric)


@dataclass(frozen=True, eq=False)  # compared and hashed as the one it is: see `cached_per_study`
class StudyRecord:
    """A study as far as it got.

    Attributes:
        name: Name of the study.
        directory: Its folder in `runs/`.
        metrics: Its metrics, the first one leading.
        group_by: The parameter of the groups, if any.
        space: The search space.
        trials: All attempts, in the order tried.
        spec: The study as it ran; None of one that has none.
        storage: URL of its storage, without a password.
        warm_start: Its attribute of that name (see `hpo.storage.trial_attributes`); empty if it began from nothing.
        changes: Changes of the objective's files between its trials.
        noted_samplers: Its attribute `samplers`: which have proposed its trials, in that order; empty if not noted.
    """

    name: str
    directory: Path
    metrics: tuple[Metric, ...]
    group_by: str | None
    space: SearchSpace
    trials: tuple[TrialRecord, ...]
    spec: StudySpec | None = None
    storage: str = ""
    warm_start: Mapping[str, Any] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()
    noted_samplers: tuple[str, ...] = ()

    @property
    def samplers(self) -> tuple[str, ...]:
        """Names of the samplers that have proposed its trials; of one that did not note them the spec's."""
        if self.noted_samplers or self.spec is None:
            return self.noted_samplers
        return tuple(sampler.name for sampler in self.spec.samplers)

    @property
    def spans(self) -> list[Span]:
        """Times in which trials ran here, of those of which it is known."""
        own = (trial for trial in self.trials if trial.imported is None)
        return [Span(t.started, t.started + t.seconds, t.gpu_seconds) for t in own if t.started and t.seconds]

    # What follows is asked for again and again, of every trial there is.
    @cached_property
    def finished(self) -> tuple[TrialRecord, ...]:
        """Trials that have ended, without attempts that were tried again."""
        return tuple(trial for trial in self.trials if trial.finished)

    @cached_property
    def trained(self) -> tuple[TrialRecord, ...]:
        """Finished trials that were trained here: those that count against the budget."""
        return tuple(trial for trial in self.finished if trial.imported is None)

    @cached_property
    def imported(self) -> tuple[TrialRecord, ...]:
        """Finished trials that were trained elsewhere (`hpo import`)."""
        return tuple(trial for trial in self.finished if trial.imported is not None)

    @cached_property
    def by_number(self) -> Mapping[int, TrialRecord]:
        """All trials by their numbers."""
        return {trial.number: trial for trial in self.trials}

    def in_state(self, state: str) -> tuple[TrialRecord, ...]:
        """Return the trials in a state, without lost and interrupted attempts."""
        return self._by_state.get(state, ())

    def complete(self, metric: Metric) -> tuple[TrialRecord, ...]:
        """Return the COMPLETE trials that have a finite final value of `metric`."""
        if metric.name not in self._complete:
            self._complete[metric.name] = tuple(one for one in self.in_state("COMPLETE") if one.completed(metric))
        return self._complete[metric.name]

    @cached_property
    def _by_state(self) -> Mapping[str, tuple[TrialRecord, ...]]:
        found: dict[str, list[TrialRecord]] = {}
        for trial in self.trials:
            if not trial.requeued:
                found.setdefault(trial.state, []).append(trial)
        return {state: tuple(trials) for state, trials in found.items()}

    @cached_property
    def _complete(self) -> dict[str, tuple[TrialRecord, ...]]:
        return {}


def better(metric: Metric, value: float, than: float) -> bool:
    """Return True if `value` is better than `than` by the direction of the metric."""
    return value > than if metric.direction == "maximize" else value < than


def best_of(trials: tuple[TrialRecord, ...], metric: Metric) -> TrialRecord | None:
    """Return the trial with the best final value; of equals the first one tried; None of none."""
    return min(trials, key=lambda trial: metric.cost(trial.values[metric.name]), default=None)


def read_study(runs: Path, name: str, *, histories: bool = True) -> StudyRecord:
    """Return everything that is known of a study in the folder `runs`; `histories` is that of `records_of`.

    Raises:
        StudyNotFound: There is no such study.
    """
    spec, study = load_study(runs, name)
    return records_of(study, spec, layout.study_directory(runs, name), histories=histories)


def records_of(study: optuna.Study, spec: StudySpec, directory: Path, *, histories: bool = True) -> StudyRecord:
    """Return the records of an Optuna study.

    Args:
        study: The study, as loaded from its storage.
        spec: What study.yaml says.
        directory: Its folder, in which the histories are.
        histories: Read the histories now, which takes most of the time; otherwise each when it is first asked for.

    Raises:
        AccessDenied: This user may not read one of them.
    """
    stored = study.get_trials(deepcopy=False)
    read = steps_in(Histories(directory, stored))
    alike: Alike = {}
    names = [metric.name for metric in spec.metrics]
    trials = tuple(record_of(trial, spec, names, read, alike) for trial in stored)
    for trial in trials if histories else ():
        len(trial.history)
    return study_record(study, spec, directory, stored, trials)


def study_record(
    study: optuna.Study,
    spec: StudySpec,
    directory: Path,
    stored: Sequence[FrozenTrial],
    trials: tuple[TrialRecord, ...],
) -> StudyRecord:
    """Return the record of an Optuna study.

    Args:
        study: The study, as loaded from its storage.
        spec: What study.yaml says.
        directory: Its folder.
        stored: Its trials, as its storage has them.
        trials: Their records.
    """
    storage = redact(storage_url(spec, directory.parent))
    attributes = study.user_attrs
    warm = attributes.get(WARM_START) or {}
    changes = tuple(changes_of(stored, attributes))
    samplers = tuple(map(str, _of(list, attributes.get(SAMPLERS))))
    return StudyRecord(
        spec.name, directory, spec.metrics, spec.group_by, spec.space, trials, spec, storage, warm, changes, samplers
    )


def steps_in(histories: Histories) -> Callable[[FrozenTrial], Sequence[Step]]:
    """Return what reads the steps of a trial. Raises AccessDenied where this user may not."""
    return partial(_steps, histories)


def _steps(histories: Histories, trial: FrozenTrial) -> list[Step]:
    with told_denials():
        return histories.read(trial)


def record_of(
    trial: FrozenTrial,
    spec: StudySpec,
    names: Sequence[str],
    read: Callable[[FrozenTrial], Sequence[Step]],
    alike: Alike,
) -> TrialRecord:
    """Return the record of a trial, whose history is read when it is first asked for.

    Args:
        trial: The trial, as its storage has it.
        spec: What study.yaml says.
        names: Those of the study's metrics.
        read: Returns its steps, see `steps_in`.
        alike: Distributions that trials share, each of which the storage makes anew.
    """
    attributes, state = trial.user_attrs, trial.state.name
    job, origin = attributes.get(JOB) or {}, attributes.get(ORIGIN)
    waiting = waits(trial)
    if waiting:
        state = "PRUNED"  # so it ends, unless it goes on as another trial
    # The outcome is noted before the trial ends: a driver killed in between leaves it on a running one.
    outcome = outcome_of(trial) if state in FINISHED else {}
    values, params = values_of(trial, names), params_of(trial, spec.space)
    if damage := contradiction(trial, spec.space, names):
        reason = f"{damage}: a record of the storage is damaged, and this result cannot be believed"
        state, values, outcome = "FAIL", {}, {**outcome, "cause": INVALID, "reason": reason}
        params = agreed_params(trial, spec.space)
    distributions = alike.setdefault(tuple(trial.distributions), trial.distributions)
    if distributions is not trial.distributions and distributions != trial.distributions:  # the space was edited
        distributions = trial.distributions
    elsewhere = imported_from(attributes) if origin else {}
    seconds = outcome.get("seconds")
    if seconds is None and trial.duration is not None and not elsewhere:
        seconds = trial.duration.total_seconds()
    return TrialRecord(
        number=trial.number,
        state=state,
        params=params,
        optuna_params=trial.params,
        values=values,
        cause=outcome.get("cause") or "",
        # Earlier versions kept reasons of any length.
        reason=cut(outcome["reason"], LONGEST_REASON) if outcome.get("reason") else "",
        seconds=seconds,
        started=elsewhere.get("started") if elsewhere else job.get("started") or started_of(trial),
        source=job.get("source", "other"),
        attempt=job.get("attempt", 1),
        retry_of=job.get("retry_of"),
        history=Steps(read, trial),
        requeued=state == "FAIL" and requeued(attributes),
        gpu_seconds=outcome.get("gpu_seconds") or 0.0,
        distributions=distributions,
        flags=_raised_flags(attributes[FLAGS]) if attributes.get(FLAGS) else (),
        flag=outcome.get("flag") or "",
        warm=_warm_origin(origin) if origin else None,
        seed=job.get("seed"),
        notices=_of(dict, outcome.get("notices")),
        unread=tuple(map(str, _of(list, outcome["unread"]))) if outcome.get("unread") else (),
        segment=_segment(origin) if origin else None,
        training=_training(origin) if origin else None,
        imported=_imported(elsewhere),
        waits=waiting,
    )


def _of(kind: type, noted: Any) -> Any:
    """Return what was noted if it is of this kind, else nothing: a record may be damaged."""
    return noted if isinstance(noted, kind) else kind()


def _raised_flags(noted: Sequence[Mapping[str, Any]]) -> tuple[RaisedFlag, ...]:
    """Read the trial attribute `hpo:flags`, in the order raised."""
    found = []
    for one in noted:
        evidence = dict(one.get("evidence") or {})
        metrics = {name: float(value) for name, value in (evidence.pop("metrics", None) or {}).items()}
        since = evidence.pop("since", None)
        flag = RaisedFlag(one["name"], one["action"], one["step"], one.get("reason", ""), metrics, since, evidence)
        found.append(flag)
    return tuple(found)


def _segment(origin: Mapping[str, Any]) -> Segment | None:
    """Read the place of a segment from the trial attribute `hpo:origin`; None without one, or of a damaged one."""
    place = _of(dict, origin.get(SEGMENT))
    if not place:
        return None
    member, generation, start, parent = (place.get(key) for key in ("member", "generation", "start", "parent"))
    if type(parent) is int and type(start) is int and "member" not in place:
        return Segment(None, 0, parent, start, _of(dict, place.get("constants")))
    if not all(type(value) is int for value in (member, generation, start)) or type(parent) not in (int, type(None)):
        return None
    return Segment(member, generation, parent, start)


def _training(origin: Mapping[str, Any]) -> Training | None:
    """Read the place in a race from the trial attribute `hpo:origin`; None without one, or of a damaged one."""
    place = _of(dict, origin.get(RACE))
    if not place:
        return None
    configuration, part, index = (place.get(key) for key in ("configuration", "part", "index"))
    if type(configuration) is not int or type(index) is not int or part not in (CHOOSE, ESTIMATE):
        return None
    return Training(configuration, part, index)


def _imported(place: Mapping[str, Any]) -> Imported | None:
    """Read where an imported trial was trained; None of a trial of this study."""
    if not place:
        return None
    kind, where, study, trial = (str(place.get(key, "")) for key in ("kind", "place", "name", "trial"))
    return Imported(kind, where, study, trial, bool(place.get("timed")))


def _warm_origin(origin: Mapping[str, Any]) -> WarmOrigin | None:
    """Read the trial attribute `hpo:origin`; None of a trial that came from no earlier study."""
    if origin.get("from") is None:
        return None
    return WarmOrigin(str(origin["from"]), origin.get("number"), origin.get("value"))
