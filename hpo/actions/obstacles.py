"""Obstacles that would keep `hpo run` from starting a study, found without changing anything."""

from __future__ import annotations

import contextlib
from pathlib import Path

from hpo import layout
from hpo.errors import ResourceError, StorageMissing
from hpo.machine.access import may_write, why_denied
from hpo.machine.resources import visible_gpus
from hpo.spec.models import StudySpec
from hpo.storage.open import storage_url
from hpo.storage.study_folder import refuse_taken
from hpo.text import listing


def refuse_unstartable(spec: StudySpec, runs: Path) -> None:
    """Raise what `hpo run` would raise for the study's folder, its storage, and the study that is there already.

    Raises:
        StudyFolderTaken: The folder is another study's.
        StorageError: The storage cannot be opened.
        StudyChanged: The study has trials, and what was searched has changed since.
    """
    refuse_taken(runs, spec.name)
    _refuse_changed(spec, storage_url(spec, runs))


def _refuse_changed(spec: StudySpec, url: str) -> None:
    import optuna

    from hpo.objective.sources import sources_of
    from hpo.oracle.open_study import changes_without_result, open_study
    from hpo.storage.open import close_storage, open_storage

    try:
        storage = open_storage(url, readonly=True)
    except StorageMissing:
        return
    try:
        here = optuna.storages.InMemoryStorage()
        with contextlib.suppress(KeyError):  # a new study
            optuna.copy_study(from_study_name=spec.name, from_storage=storage, to_storage=here)
            study = optuna.load_study(study_name=spec.name, storage=here)
            if not changes_without_result(spec, study, sources_of(spec.objective_ref())):
                open_study(spec, here)
    finally:
        close_storage(storage)


def lacking_here(spec: StudySpec, runs: Path) -> list[str]:
    """Return what this machine or this user lacks for the study, which another may well have."""
    from hpo.engines.factory import places_here

    directory = layout.study_directory(runs, spec.name)
    found = [] if may_write(directory) else [f"`hpo run` cannot run it in {runs}: {why_denied(directory)}"]
    if spec.engine.address:
        return found
    try:
        places_here(spec.engine)
    except ResourceError as error:
        gpus = visible_gpus()
        where = f"with {listing(gpus)}" if gpus else "without a GPU"
        found.append(f"`hpo run` would refuse it on this machine, {where}: {error}")
    return found
