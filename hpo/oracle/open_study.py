"""Opening of the Optuna study that a driver runs; refused if another search was made under its name."""

from __future__ import annotations

import warnings

import optuna

from hpo.errors import StudyChanged
from hpo.search.samplers import make_pruner, make_sampler
from hpo.spec import identity
from hpo.spec.models import StudySpec
from hpo.storage import trial_attributes
from hpo.storage.ownership import give_key


def open_study(spec: StudySpec, storage: optuna.storages.BaseStorage) -> optuna.Study:
    """Open or create the Optuna study of a spec, with its sampler and pruner.

    Raises:
        StudyChanged: the study has trials, and what was searched has changed since.
        SpecError: the sampler or the pruner cannot be made.
    """
    study = optuna.create_study(
        study_name=spec.name,
        storage=storage,
        directions=[metric.direction for metric in spec.metrics],
        load_if_exists=True,
    )
    trials = study.get_trials(deepcopy=False)
    _check_identity(spec, study, bool(trials))
    give_key(study)
    study.sampler = make_sampler(spec, len(trials))
    study.pruner = make_pruner(spec)
    return study


def _check_identity(spec: StudySpec, study: optuna.Study, has_trials: bool) -> None:
    recorded = study.user_attrs.get(trial_attributes.IDENTITY)
    own = identity.to_json(spec.identity())
    if has_trials and recorded is None:
        raise StudyChanged(
            f"the storage already holds a study '{spec.name}' that hpo did not make; choose another name with "
            f"--new-name, for example --new-name {spec.name}-2"
        )
    if has_trials and (changes := identity.changes(recorded, spec.identity())):
        raise StudyChanged(_changed(spec, changes))
    if repr(recorded) == repr(own):
        return
    # Also of a study that has trials: an earlier version of hpo did not tell a key `true` from the text 'true'.
    study.set_user_attr(trial_attributes.IDENTITY, own)
    with warnings.catch_warnings():
        # Experimental in Optuna since 3.2; optuna-dashboard shows the names.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names([metric.name for metric in spec.metrics])


def _changed(spec: StudySpec, changes: list[str]) -> str:
    listed = "\n  ".join(changes)
    return (
        f"{spec.source}: study '{spec.name}' has trials, and what was searched has changed since:\n  {listed}\n"
        "Trials of two different searches cannot be compared. Undo the change, or start a study of its own with "
        f"--new-name {spec.name}-2. (Budget, workers, engine, sampler and pruner may change.)"
    )
