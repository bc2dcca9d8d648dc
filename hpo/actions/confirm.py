"""Plan of a confirmation: the study that trains the best configurations of another one with fresh seeds."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo import layout
from hpo.analysis.confirmation import confirmation_of
from hpo.analysis.groups import groups_of
from hpo.analysis.lineages import is_population
from hpo.analysis.ranking import best_first
from hpo.analysis.records import WARN, StudyRecord, TrialRecord, read_study, records_of
from hpo.errors import HpoError
from hpo.machine.access import require_write
from hpo.machine.files import write_atomically
from hpo.oracle.recovery import seed_of
from hpo.red_flags.definitions import DEFAULT as NON_FINITE
from hpo.spec.confirming import fitted
from hpo.spec.load import load_spec
from hpo.spec.models import Budget, Component, ConfirmSpec, StudySpec
from hpo.spec.racing import (
    CHOOSE,
    ESTIMATE,
    RACING,
    is_race,
    race_of,
    seed_in_race,
    splits_by_seed,
)
from hpo.spec.study_name import name_problem
from hpo.storage.budget import Span, span_of, wall_seconds
from hpo.storage.load_study import load_study
from hpo.storage.ownership import key_of
from hpo.storage.trial_attributes import ENQUEUE
from hpo.trial import OBJECTIVE, PRUNER, with_lists

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

USUAL = ConfirmSpec()
# The seeds of a race that must not be those of the search: more than anybody trains.
_CHECKED = 200


def plan_confirmation(
    runs: Path,
    name: str,
    top: int | None = None,
    seeds: int | None = None,
    per_group: bool | None = None,
    resplit: bool | None = None,
    limits: Limits | None = None,
) -> StudySpec:
    """Return the study that confirms another one; it goes on with one that was begun.

    Args:
        runs: the runs folder.
        name: name of the study to confirm.
        top: number of its best configurations; None: as it was begun, else 5.
        seeds: seeds at most that choose, and as many that estimate; None: as it was begun, else 5.
        per_group: `top` of each value of `group_by`, and a race in each; None: as it was begun, else not.
        resplit: split the data anew with each seed; None: as it was begun, else not.
        limits: hours and GPU hours at most.

    Raises:
        StudyNotFound: there is no such study.
        SpecError: its objective is not there any more.
        HpoError: there is nothing to confirm, or an option does not go with the study.
    """
    recorded, stored = load_study(runs, name)
    if is_race(recorded):
        raise HpoError(
            f"study '{name}' is itself a confirmation; `hpo confirm {race_of(recorded).study}` goes on with it"
        )
    study = records_of(stored, recorded, layout.study_directory(runs, name), histories=False)
    spec = load_spec(recorded.source)  # again, with a look for the objective
    key, own = key_of(stored), layout.confirmation_name(name)
    if problem := name_problem(own):
        raise HpoError(f"the confirmation of study '{name}' would be named '{own}', which {problem}")
    begun = _begun(runs, own, name, key)
    options: Mapping[str, Any] = {} if begun is None else begun.sampler.options
    if begun is not None and resplit is not None and resplit != bool(options.get("resplit")):
        how = "with" if options.get("resplit") else "without"
        raise HpoError(
            f"study '{own}' was begun {how} --resplit, and trainings of both kinds cannot be compared: give the same "
            f"option, or `hpo delete {own}` and begin again"
        )
    per_group = bool(options.get("per_group")) if per_group is None else per_group
    resplit = bool(options.get("resplit")) if resplit is None else resplit
    _refuse(study, spec, per_group, resplit)
    numbers = _numbers(study, top or USUAL.top, per_group)
    if begun is not None:
        known = race_of(begun).trials
        numbers = known if top is None else (*known, *_others(study, known, numbers))
    made = {
        "study": name,
        "key": key,
        "trials": list(numbers),
        "seeds": seeds or options.get("seeds", USUAL.seeds),
        **({"per_group": True} if per_group else {}),
        **({"resplit": True} if resplit else {}),
    }
    if begun is not None and dict(options) == made:
        if limits is not None:
            return begun
        # What the budget of a run left undecided goes on without its limits.
        unlimited = begun.budget.model_copy(update={"hours": None, "gpu_hours": None})
        return begun.model_copy(update={"budget": unlimited})
    by_number = {trial.number: trial for trial in study.trials}
    confirmation = spec.model_copy(
        update={
            "name": own,
            "sampler": Component(name=RACING, options=made),
            "pruner": Component(name="none"),
            "red_flags": tuple(flag for flag in spec.red_flags if flag.action == WARN or flag in NON_FINITE),
            "enqueue": tuple(with_lists(by_number[number].params, spec.space.lists) for number in numbers),
            "fallbacks": (),
            "warm_start": None,
            "confirm": None,
            "checkpoints": spec.checkpoints.model_copy(update={"keep_best": None}),
            "seed": _fresh_seed(spec, study) if begun is None else begun.seed,
            "trial_seeds": (),
            "source": layout.study_directory(runs, own) / layout.SPEC,
        }
    )
    # Of a confirmation that is made larger, another configuration may win: what estimated the first one is over.
    spent = 0 if begun is None else _estimates(runs, own)
    budget = Budget(
        trials=race_of(confirmation).most + spent,
        hours=limits.hours if limits else None,
        gpu_hours=limits.gpu_hours if limits else None,
        failures=max(spec.budget.failures, len(numbers)),
    )
    return confirmation.model_copy(update={"budget": budget})


def _begun(runs: Path, own: str, name: str, key: str) -> StudySpec | None:
    """Return the confirmation that was begun, if there is one."""
    if own not in layout.studies_in(runs):
        return None
    begun = load_spec(layout.study_directory(runs, own) / layout.SPEC)
    if not is_race(begun):
        raise HpoError(f"there is a study '{own}' that is no confirmation; delete or rename it: `hpo delete {own}`")
    if race_of(begun).key != key:
        raise HpoError(
            f"study '{own}' confirms an earlier study that was named '{name}' too; `hpo delete {own}`, and begin again"
        )
    return begun


def _refuse(study: StudyRecord, spec: StudySpec, per_group: bool, resplit: bool) -> None:
    if is_population(study):
        raise HpoError(
            f"trials of study '{study.name}' are segments of a population: their parameters are those of one part of a "
            "training, which cannot be trained alone. Confirm takes a study in which each trial is a whole training"
        )
    if per_group and spec.group_by is None:
        raise HpoError(f"--per-group: study '{study.name}' has no group_by, such as `group_by: architecture`")
    if resplit and not splits_by_seed(spec):
        raise HpoError(
            f"--resplit: study '{study.name}' has no constants.data.seed, so nothing says that its data are split by a "
            "seed. Have the objective draw its split from trial.constants['data']['seed'], and write "
            "`constants: {data: {seed: 0}}` into its study.yaml"
        )
    if not study.complete(study.metrics[0]):
        raise HpoError(
            f"no trial of study '{study.name}' has completed, so there is nothing to confirm; "
            f"`hpo status {study.name}` says why trials ended"
        )


def _numbers(study: StudyRecord, top: int, per_group: bool) -> tuple[int, ...]:
    """Return the trials whose configurations are confirmed: the reference, then the best ones, each once."""
    metric = study.metrics[0]
    pools: Sequence[Sequence[TrialRecord]] = [study.complete(metric)]
    if per_group:
        pools = [[trial for trial in group.trials if trial.completed(metric)] for group in groups_of(study)]
    chosen: dict[str, int] = {}
    reference = _reference(study)
    chosen[_key(reference)] = reference.number
    for pool in pools:
        best: dict[str, int] = {}
        for trial in best_first(pool, metric):
            if len(best) < top:
                best.setdefault(_key(trial), trial.number)
        for key, number in best.items():
            chosen.setdefault(key, number)
    return tuple(chosen.values())


def _reference(study: StudyRecord) -> TrialRecord:
    """Return the first trial that could be trained: of those that study.yaml enqueued, else of all."""
    metric = study.metrics[0]
    could = [
        trial
        for trial in study.finished
        if trial.completed(metric) or (trial.state == "PRUNED" and trial.cause in (PRUNER, OBJECTIVE))
    ]
    return next((trial for trial in could if trial.source == ENQUEUE), could[0])


def _others(study: StudyRecord, known: Sequence[int], numbers: Sequence[int]) -> list[int]:
    """Return the numbers of trials whose configurations are not among those of `known`."""
    keys = {trial.number: _key(trial) for trial in study.trials}
    have = {keys[number] for number in known}
    return [number for number in numbers if keys[number] not in have]


def _key(trial: TrialRecord) -> str:
    return repr(sorted(trial.params.items()))


def _fresh_seed(spec: StudySpec, study: StudyRecord) -> int:
    """Return the first seed after that of the search whose race has no seed of the search."""
    used = {trial.seed for trial in study.trials} | {seed_of(spec, number) for number in range(len(study.trials))}
    seed = spec.seed
    while True:
        seed = (seed + 1) % 2**32
        if used.isdisjoint(seed_in_race(seed, part, k) for part in (CHOOSE, ESTIMATE) for k in range(_CHECKED)):
            return seed


def _estimates(runs: Path, own: str) -> int:
    spec, stored = load_study(runs, own)
    record = records_of(stored, spec, layout.study_directory(runs, own), histories=False)
    return sum(trial.training is not None and trial.training.part == ESTIMATE for trial in record.finished)


def plan_at_end(runs: Path, spec: StudySpec) -> StudySpec | None:
    """Return the study that confirms one at the end of its run; None if its budget has no time left for that.

    Args:
        runs: the runs folder.
        spec: the study, as it ran, whose study.yaml asks for a confirmation.

    Raises:
        HpoError: as `plan_confirmation`.
    """
    recorded, stored = load_study(runs, spec.name)
    study = records_of(stored, recorded, layout.study_directory(runs, spec.name), histories=False)
    limits = _limits(spec, stored.get_trials(deepcopy=False))
    begun = _begun(runs, layout.confirmation_name(spec.name), spec.name, key_of(stored))
    if begun is None and 0 in (limits.hours, limits.gpu_hours):
        return None
    if spec.confirm is not None:
        design = spec.confirm
    elif begun is not None:
        race = race_of(begun)
        design = ConfirmSpec(top=max(1, len(race.trials) - 1), seeds=race.seeds)
    else:
        design = fitted(_affordable(study, spec, limits), len(spec.groups))
    return plan_confirmation(runs, spec.name, design.top, design.seeds, design.per_group, None, limits)


@dataclass(frozen=True)
class Limits:
    """Hours and GPU hours that a confirmation may take; None: no limit."""

    hours: float | None = None
    gpu_hours: float | None = None


def _limits(spec: StudySpec, trials: Sequence[FrozenTrial]) -> Limits:
    """Return what a confirmation may take of the budget, which the search may have used up to its last trial."""
    spans = [span for trial in trials if (span := span_of(trial.user_attrs))]
    used = wall_seconds(spans) / 3600, sum(span.gpu_seconds for span in spans) / 3600
    share, whole = spec.confirm_budget, spec.budget
    hours, gpu_hours = (
        None if most is None or all_of_it is None else max(0.0, min(most, all_of_it - spent))
        for most, all_of_it, spent in zip(
            (share.hours, share.gpu_hours), (whole.hours, whole.gpu_hours), used, strict=True
        )
    )
    return Limits(hours, gpu_hours)


def _affordable(study: StudyRecord, spec: StudySpec, limits: Limits) -> float:
    """Return how many trainings a part of the budget pays for, as long as those that the search has completed."""
    complete = [one for one in study.complete(study.metrics[0]) if one.seconds and one.imported is None]
    seconds = sum(trial.seconds or 0.0 for trial in complete) / max(1, len(complete))
    gpu_seconds = sum(trial.gpu_seconds for trial in complete) / max(1, len(complete))
    trials = spec.confirm_budget.trials
    paid = [math.inf if trials is None else trials]
    if limits.hours is not None and seconds:
        at_once = max(1.0, sum(trial.seconds or 0.0 for trial in study.trained) / _wall(study))
        paid.append(3600 * limits.hours * at_once / seconds)
    if limits.gpu_hours is not None and gpu_seconds:
        paid.append(3600 * limits.gpu_hours / gpu_seconds)
    return min(paid)


def _wall(study: StudyRecord) -> float:
    """Return the seconds in which at least one trial of a study ran."""
    spans = [Span(t.started, t.started + t.seconds, 0.0) for t in study.trained if t.started and t.seconds]
    return max(wall_seconds(spans), 1e-9)


def finish_confirmation(runs: Path, name: str, own: str) -> list[str]:
    """Score the winner on held-out data, and write the reports of both studies again. Return what went wrong.

    Args:
        runs: the runs folder.
        name: name of the study that was searched.
        own: name of the study that confirms it.
    """
    from hpo.reports.write import write_report
    from hpo.translation.catalogue import chosen, language

    said: list[str] = []
    try:
        score_held_out(runs, own, said.append)
        with language(chosen()):
            for study in (own, name):
                if study in layout.studies_in(runs):  # the one that was confirmed may have been deleted since
                    write_report(runs, study)
        if name in layout.studies_in(runs):
            _note_standings(runs, name)
    except HpoError as error:
        said.append(str(error))
    return said


def _note_standings(runs: Path, name: str) -> None:
    """Write the standings of a study's trials into its folder, and to its runs in MLflow, where it has any."""
    study = read_study(runs, name)
    found = confirmation_of(study)
    if found is None or study.spec is None:
        return
    file, standings = study.directory / layout.CONFIRMED, {str(one.trial): one.standing for one in found.configurations}
    require_write(study.directory, f"the confirmation of study '{name}' cannot be noted")
    write_atomically(file, json.dumps(standings))
    if study.spec.mlflow is not None and (study.directory / layout.MLFLOW).exists():
        from hpo.trackers.mlflow.sync import sync

        sync(runs, name, lambda sentence: None)


def score_held_out(runs: Path, name: str, say: Callable[[str], None]) -> None:
    """Score the kept weights of the winners and of the reference on the test split, if the objective can.

    Args:
        runs: the runs folder.
        name: name of the study that confirms.
        say: gets a sentence if a training could not be scored.
    """
    from hpo.actions.evaluate import FUNCTION, evaluate
    from hpo.actions.kept_weights import kept_weights
    from hpo.analysis.evaluation_records import evaluations_of

    kept = kept_weights(runs, name)
    if kept.optional(FUNCTION) is None:
        return
    study = kept.study
    scored = {trial.number for trial, _ in evaluations_of(study)}
    for trial in study.complete(study.metrics[0]):
        if trial.training is None or trial.training.part != ESTIMATE or trial.number in scored:
            continue
        try:
            evaluate(runs, name, trial.number)
        except HpoError as error:
            say(f"trial {trial.number} of {name} was not scored on held-out data: {error}")
            return
