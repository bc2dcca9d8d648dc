"""Opening of the Optuna study that a driver runs; refused if another search or objective was tried under its name."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import optuna
from optuna.trial import TrialState

from hpo.analysis.notices import change_sentence
from hpo.errors import StudyChanged
from hpo.objective.sources import Sources, sources_of
from hpo.search.samplers import make_pruner, make_sampler, note_sampler
from hpo.spec import identity
from hpo.spec.models import StudySpec
from hpo.spec.racing import is_race
from hpo.storage import trial_attributes
from hpo.storage.ownership import give_key
from hpo.storage.source_versions import changes_of, places_of


def open_study(
    spec: StudySpec,
    storage: optuna.storages.BaseStorage,
    say: Callable[[str], None] = lambda _: None,
    strict: bool = False,
) -> optuna.Study:
    """Open or create the Optuna study of a spec, with its sampler and pruner.

    Args:
        spec: the study.
        storage: where it is, or will be made.
        say: gets sentences for the user.
        strict: refuse a study whose objective's files have changed since its last trial.

    Raises:
        StudyChanged: the study has trials, and what was searched or the objective has changed since.
        SpecError: the sampler or the pruner cannot be made.
    """
    study = optuna.create_study(
        study_name=spec.name,
        storage=storage,
        directions=[metric.direction for metric in spec.metrics],
        load_if_exists=True,
    )
    trials = study.get_trials(deepcopy=False)
    sources = sources_of(spec.objective_ref())
    _check_identity(spec, study, sources, bool(trials))
    for sentence in _source_changes(spec, study, sources, strict):
        say(sentence)
    give_key(study)
    study.sampler = make_sampler(spec, len(trials), say)
    if len(spec.samplers) == 1:  # else it notes that itself
        note_sampler(study, spec.samplers[0].name, choice.reason if (choice := spec.auto_choice) else "", say)
    study.pruner = make_pruner(spec)
    return study


def _check_identity(spec: StudySpec, study: optuna.Study, sources: Sources, has_trials: bool) -> None:
    recorded = study.user_attrs.get(trial_attributes.IDENTITY)
    own = identity.to_json(spec.identity())
    if has_trials and recorded is None:
        raise StudyChanged(
            f"the storage already holds a study '{spec.name}' that hpo did not make; choose another name with "
            f"--new-name, for example --new-name {spec.name}-2"
        )
    if has_trials and (changes := _changes(spec, study, sources)):
        raise StudyChanged(_changed(spec, changes))
    if repr(recorded) == repr(own):
        return
    # Also of a study that has trials: an earlier version of hpo did not tell a key `true` from the text 'true'.
    study.set_user_attr(trial_attributes.IDENTITY, own)
    with warnings.catch_warnings():
        # Experimental in Optuna since 3.2; optuna-dashboard shows the names.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names([metric.name for metric in spec.metrics])


def changes_without_result(spec: StudySpec, study: optuna.Study, sources: Sources) -> list[str]:
    """Return what has changed of a study none of whose trials has completed, which then begins anew."""
    recorded = study.user_attrs.get(trial_attributes.IDENTITY)
    if recorded is None or any(trial.state == TrialState.COMPLETE for trial in study.get_trials(deepcopy=False)):
        return []
    return _changes(spec, study, sources)


def _changes(spec: StudySpec, study: optuna.Study, sources: Sources) -> list[str]:
    recorded, own = study.user_attrs.get(trial_attributes.IDENTITY), spec.identity()
    if all(trial_attributes.imported_from(trial.user_attrs) for trial in study.get_trials(deepcopy=False)):
        # Nothing was trained here yet: an objective and constants that were written before an import may be decided.
        recorded = {**(recorded or {}), **identity.to_json({name: own[name] for name in ("objective", "constants")})}
    return [*identity.changes(recorded, own), *_other_place(study, sources)]


def _other_place(study: optuna.Study, sources: Sources) -> list[str]:
    """Return that the objective is another file than the one that was tried: elsewhere, and with other content."""
    known = places_of(study.get_trials(deepcopy=False), study.user_attrs)
    places = [place for version in known.values() for place in version]
    if not places or not sources.mark or sources.mark in known or sources.place in places:
        return []
    return [
        f"the objective was {places[-1]}, is {sources.place}, another file with other content (a project that was "
        "moved goes on as long as its files are the same)"
    ]


def _source_changes(spec: StudySpec, study: optuna.Study, sources: Sources, strict: bool) -> list[str]:
    """Return what to say of changes of the objective's files since the last trial.

    Raises:
        StudyChanged: they have changed, and `strict` is set.
    """
    said = []
    known = places_of(study.get_trials(deepcopy=False), study.user_attrs)
    places = [place for version in known.values() for place in version]
    if places and sources.mark and sources.place not in places:
        before = known.get(sources.mark) or places
        said.append(f"the objective has moved from {before[-1]} to {sources.place}; its files are the same")
    now = [one for one in changes_of(study.get_trials(deepcopy=False), study.user_attrs, sources) if one.number is None]
    if now and strict:
        raise StudyChanged(
            f"{spec.source}: {change_sentence(now[0])} Undo the change, start a study of its own with --new-name "
            f"{spec.name}-2, or leave out --strict"
        )
    said += [
        f"{change_sentence(one)} New trials may not be comparable with those before (--strict refuses)" for one in now
    ]
    return said


def _changed(spec: StudySpec, changes: list[str]) -> str:
    listed = "\n  ".join(changes)
    if is_race(spec):
        return (
            f"{spec.source}: study '{spec.name}' confirmed trials of another search:\n  {listed}\nThe study that it "
            f"confirms has changed since. `hpo delete {spec.name}` makes room for a new confirmation"
        )
    grows = all(change.startswith("search_space") for change in changes)
    return (
        f"{spec.source}: study '{spec.name}' has trials, and what was searched has changed since:\n  {listed}\n"
        "Trials of two different searches cannot be compared. Undo the change, or start a study of its own with "
        f"--new-name {spec.name}-2. (Budget, workers, engine, sampler and pruner may change."
        + (" `hpo grow` takes the trials along into a wider space.)" if grows else ")")
    )
