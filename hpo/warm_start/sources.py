"""Sources of a warm start: earlier studies in the study's storage, in the runs folder, and in knowledge files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from hpo import layout
from hpo.errors import HpoError, Problem, SpecError, StorageMissing
from hpo.space.search_space import SearchSpace
from hpo.spec.algorithms import NOT_ADAPTIVE
from hpo.spec.identity import from_json, to_json
from hpo.spec.models import Metric, StudySpec
from hpo.spec.population import is_population
from hpo.spec.racing import RACING
from hpo.storage import trial_attributes
from hpo.storage.contradiction import contradiction
from hpo.storage.load_study import load_study
from hpo.storage.open import close_storage, open_storage
from hpo.text import listing, nearest
from hpo.warm_start import knowledge_file
from hpo.warm_start.candidates import Choice, Source, choose, unasked
from hpo.warm_start.knowledge_file import objective_mark
from hpo.warm_start.trust import WarmStart, guard_of

# An earlier study is of the same space if it has at least this part of the parameters that are searched today.
SHARED = 0.5
_ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


def warm_start_of(
    spec: StudySpec, study: optuna.Study, storage: optuna.storages.BaseStorage, runs: Path, say: Callable[[str], None]
) -> WarmStart | None:
    """Return the warm start of a study; say at the first run what was taken from where.

    Raises:
        SpecError: A study or file that `spec.warm_start` names does not exist, or had another metric.
    """
    first = trial_attributes.WARM_START not in study.user_attrs
    fresh = not study.get_trials(deepcopy=False)
    if not begins_warm(spec, not first, fresh):
        if first and fresh and spec.warm_start is not None and (hint := _hint(spec, storage, runs)):
            say(hint)
        return None
    choice = choose(spec, sources_of(spec, storage, runs, say))
    if first:
        for line in described(spec, choice):
            say(line)
    return WarmStart(choice.candidates, guard_of(spec), spec.metrics[0].direction == "maximize")


def begins_warm(spec: StudySpec, began_warm: bool = False, fresh: bool = True) -> bool:
    """Return whether a study takes configurations of earlier ones.

    Where study.yaml does not say it, it does if its sampler chooses by results, and never from the middle on.

    Args:
        spec: The study.
        began_warm: Whether it did in an earlier run.
        fresh: Whether it has no trial yet.
    """
    if not unasked(spec):
        return spec.warm_start is not None
    if is_population(spec):
        return False
    return spec.samplers[0].name not in NOT_ADAPTIVE and (fresh or began_warm)


def described(spec: StudySpec, choice: Choice) -> list[str]:
    """Return sentences about what was taken from where, what was altered to fit, and what was left out.

    Where study.yaml does not ask for it, it is one sentence, or none if nothing was taken.
    """
    if not choice.candidates and unasked(spec):
        return []
    if not choice.candidates:
        out = "; ".join(f"{count} left out: {reason}" for reason, count in choice.left_out.items())
        return [f"warm start: no earlier study has a configuration for this one{f' ({out})' if out else ''}"]
    taken: dict[tuple[str, bool], list[str]] = {}
    for one in choice.candidates:
        taken.setdefault((one.study, one.other_constants), []).append(str(one.number))
    parts = [
        f"'{study}' (trial{'s' * (len(numbers) > 1)} {', '.join(numbers)}{'; other constants' * other})"
        for (study, other), numbers in taken.items()
    ]
    count = len(choice.candidates)
    lines = [f"warm start: {count} configuration{'s' * (count > 1)} of {listing(parts)}"]
    if unasked(spec):
        altered = sum(bool(one.changes) for one in choice.candidates)
        to_fit = f", {altered} of them altered to fit" if altered else ""
        return [f"{lines[0]}{to_fit}; to begin from nothing: --set warm_start=false"]
    lines += [
        f"warm start: trial {one.number} of '{one.study}': {listing(one.changes)}"
        for one in choice.candidates
        if one.changes
    ]
    return lines + [f"warm start: left out {count} better: {reason}" for reason, count in choice.left_out.items()]


def sources_of(
    spec: StudySpec, storage: optuna.storages.BaseStorage, runs: Path, say: Callable[[str], None]
) -> list[Source]:
    """Return the earlier studies that `spec.warm_start` names; the youngest first if it names none."""
    if spec.warm_start is None:
        return []
    if spec.warm_start.sources in (None, "auto"):
        return _fitting(spec, storage, runs, say)
    found = [_named(spec, index, name, storage, runs) for index, name in enumerate(spec.warm_start.sources)]
    return [source for group in found for source in group]


# --- auto


def fits(spec: StudySpec, objective: str, metrics: Iterable[Metric], space: SearchSpace) -> bool:
    """Return True if a study with these is an earlier one of today's.

    It has the same objective, the first metric in the same direction, and at least half of the parameters searched
    today.
    """
    if objective != objective_mark(spec.identity()["objective"]) or spec.metrics[0] not in tuple(metrics):
        return False
    searched = {parameter.name for parameter in spec.space.walk() if parameter.kind != "fixed"}
    theirs = {parameter.name for parameter in space.walk()}
    return bool(searched) and len(searched & theirs) >= SHARED * len(searched)


def _fitting(
    spec: StudySpec, storage: optuna.storages.BaseStorage, runs: Path, say: Callable[[str], None]
) -> list[Source]:
    studies = _studies(storage)
    found = []
    for frozen in sorted(studies.values(), key=lambda one: one._study_id, reverse=True):
        if frozen.study_name == spec.name or frozen.user_attrs.get(trial_attributes.SAMPLERS) == [RACING]:
            continue  # a confirmation has configurations of a study that is here itself
        known = _identity(frozen.user_attrs)
        if known is not None and fits(spec, known.objective, known.metrics, known.space):
            found.append(_source(frozen, known, storage))
    entries, complaints = knowledge_file.kept(runs)
    for complaint in complaints:
        say(f"warm start: passed over {complaint}")
    own = began_of(storage.get_all_trials(studies[spec.name]._study_id, deepcopy=False)) if spec.name in studies else 0
    for entry in entries:
        # Knowledge of this very study may have come back; that of another of its name, elsewhere, is welcome.
        itself = entry.source.name == spec.name and entry.began == own
        if not itself and fits(spec, entry.objective, entry.source.metrics, entry.source.space):
            found.append(entry.source)
    return [source for source in found if source.trials]


def began_of(trials: Iterable[optuna.trial.FrozenTrial]) -> float:
    """Return when the first trial of a study started, in seconds since the epoch; 0 if there is none."""
    started = [when for trial in trials if (when := trial_attributes.started_of(trial)) is not None]
    return round(min(started), 3) if started else 0.0


def _hint(spec: StudySpec, storage: optuna.storages.BaseStorage, runs: Path) -> str:
    if spec.samplers[0].name == "grid" or is_population(spec):
        return ""
    found = _fitting(spec, storage, runs, lambda complaint: None)
    if not found:
        return ""
    names = f"'{found[0].name}'" if len(found) == 1 else f"'{found[0].name}' and {len(found) - 1} more"
    return f"searched this space before: {names}; --set warm_start=auto starts from the best of it"


# --- by name


def _named(spec: StudySpec, index: int, name: str, storage: optuna.storages.BaseStorage, runs: Path) -> list[Source]:
    def refuse(message: str) -> SpecError:
        return SpecError([Problem(str(spec.source), None, "warm_start", message)])

    if name.endswith(".json"):
        sources = [entry.source for entry in knowledge_file.read(Path(name))]
    else:
        if name == spec.name:
            raise refuse(f"'{name}' is this study itself; expected an earlier one")
        sources = _by_name(name, storage, runs)
        plain = None if sources else _studies(storage).get(name)
        if plain is not None:
            sources, why_not = _of_optuna(plain, spec, storage)
            if why_not:
                raise refuse(f"'{name}' is a study of Optuna's alone, and {why_not}")
        elif not sources:
            known = sorted({*_studies(storage), *layout.studies_in(runs)} - {spec.name})
            there = f"there are {listing(known)}" if known else "there is none yet"
            raise refuse(f"there is no study '{name}' in {runs} nor in its storage; {there}.{nearest(name, known)}")
    metric = spec.metrics[0]
    usable = [source for source in sources if metric in source.metrics]
    if not usable:
        theirs = listing(f"{m.direction} {m.name}" for source in sources for m in source.metrics) or "none"
        raise refuse(f"'{name}' was after another metric ({theirs}); expected {metric.direction} {metric.name}")
    return usable


def _of_optuna(frozen: Any, spec: StudySpec, storage: optuna.storages.BaseStorage) -> tuple[list[Source], str]:
    """Return a study that hpo did not make as if it had searched today's space, or why it is of no use."""
    directions = [direction.name.lower() for direction in frozen.directions]
    wanted = [metric.direction for metric in spec.metrics]
    if directions != wanted:
        return [], f"its directions are {listing(directions)}; expected {listing(wanted)}"
    names = {name: one.name for one in spec.space.walk() for name in (one.full_name, one.name) if one.kind != "fixed"}
    ended = storage.get_all_trials(frozen._study_id, deepcopy=False, states=_ENDED)
    trials = [trial for trial in ended if trial.state == TrialState.COMPLETE]
    tried = [
        (
            trial.number,
            {names[name]: value for name, value in trial.params.items() if name in names},
            tuple(trial.values),
        )
        for trial in trials
    ]
    tried = [one for one in tried if one[1]]
    if not tried:
        theirs = sorted({name for trial in trials for name in trial.params})
        if not trials:
            return [], "it has no complete trial"
        return [], f"none of its parameters ({listing(theirs)}) is one of search_space ({listing(sorted(names))})"
    return [Source(frozen.study_name, spec.space, spec.metrics, tried, tried=len(ended))], ""


def _by_name(name: str, storage: optuna.storages.BaseStorage, runs: Path) -> list[Source]:
    frozen = _studies(storage).get(name)
    known = None if frozen is None else _identity(frozen.user_attrs)
    if frozen is not None and known is not None:
        return [_source(frozen, known, storage)]
    # A path leads to a study of another runs folder.
    folder = layout.study_directory(runs, name)
    if (folder / layout.SPEC).exists():
        spec, study = load_study(folder.parent, folder.name)
        return [source_of(spec, study)]
    return [entry.source for entry in knowledge_file.kept(runs)[0] if entry.source.name == name]


# --- reading


def source_of(spec: StudySpec, study: optuna.Study) -> Source:
    """Return a study as a Source."""
    trials = study.get_trials(deepcopy=False, states=_ENDED)
    constants = from_json(to_json(spec.constants))
    complete = _complete(trials, spec.space, spec.metrics)
    return Source(spec.name, spec.space, spec.metrics, complete, constants, len(trials))


def _source(frozen: Any, known: _Identity, storage: Any) -> Source:
    trials = storage.get_all_trials(frozen._study_id, deepcopy=False, states=_ENDED)
    complete = _complete(trials, known.space, known.metrics)
    return Source(frozen.study_name, known.space, known.metrics, complete, known.constants, len(trials))


def _complete(trials: Iterable[optuna.trial.FrozenTrial], space: SearchSpace, metrics: Iterable[Metric]) -> list[Any]:
    names = [metric.name for metric in metrics]
    return [
        (trial.number, trial_attributes.params_of(trial, space), tuple(trial.values))
        for trial in trials
        if trial.state == TrialState.COMPLETE
        and not contradiction(trial, space, names)
        and not trial_attributes.continued_from(trial.user_attrs)
    ]


def _studies(storage: optuna.storages.BaseStorage) -> dict[str, Any]:
    """Return all studies by name, without their trials: a storage may hold many, of which few are read."""
    return {frozen.study_name: frozen for frozen in storage.get_all_studies()}


@dataclass(frozen=True)
class _Identity:
    """Identity of a study that hpo made, as the storage holds it; `objective` is its mark."""

    objective: str
    metrics: tuple[Metric, ...]
    space: SearchSpace
    constants: Mapping[str, Any]


def _identity(attrs: Mapping[str, Any]) -> _Identity | None:
    """Return the identity of a study that hpo made; None for another one."""
    try:
        noted = from_json(attrs[trial_attributes.IDENTITY])
        metrics = tuple(Metric(**metric) for metric in noted["metrics"])
        space = SearchSpace.parse(noted["search_space"])
        return _Identity(objective_mark(noted["objective"]), metrics, space, noted.get("constants", {}))
    except (KeyError, TypeError, ValueError, HpoError):
        return None


def look(spec: StudySpec, runs: Path, url: str) -> list[str]:
    """Return sentences about what a run would take from earlier studies, without making a storage (`hpo check`)."""
    if not begins_warm(spec):
        return []
    try:
        storage = open_storage(url, readonly=True)
    except StorageMissing:
        storage = optuna.storages.InMemoryStorage()
    complaints: list[str] = []
    try:
        own = _studies(storage).get(spec.name)
        if own is not None:
            began_warm = trial_attributes.WARM_START in own.user_attrs
            if not begins_warm(spec, began_warm, not storage.get_all_trials(own._study_id, deepcopy=False)):
                return []
        return described(spec, choose(spec, sources_of(spec, storage, runs, complaints.append))) + complaints
    finally:
        close_storage(storage)
