"""A study that was changed before any of its trials had completed: its trials are kept, and it begins anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import optuna

from hpo import layout
from hpo.machine.files import write_atomically
from hpo.objective.sources import sources_of
from hpo.oracle.open_study import changes_without_result
from hpo.spec.models import StudySpec
from hpo.storage.driver_pulse import driver_elsewhere
from hpo.storage.lost_and_found import free_name
from hpo.storage.ownership import move_aside, place_aside, study_in
from hpo.storage.study_copy import export_study, remove_study
from hpo.text import listing


def supersede(spec: StudySpec, storage: optuna.storages.BaseStorage, directory: Path) -> Iterator[str]:
    """Move a study aside if its definition has changed and none of its trials has completed. Hold the driver's lock.

    Optuna refuses trials of another search space in one study, and there is no result to compare with. Its Optuna study
    goes to `lost+found` as a journal, with the folders of its trials.

    Args:
        spec: the study as it is to run.
        storage: where the study may be.
        directory: its folder.

    Yields:
        A sentence for the user, if the study had trials.

    Raises:
        OSError: a file cannot be written or moved.
    """
    found = study_in(storage, spec.name)
    if found is None:
        return
    study = optuna.load_study(study_name=spec.name, storage=storage)
    trials = study.get_trials(deepcopy=False)
    changes = changes_without_result(spec, study, sources_of(spec.objective_ref()))
    if not changes or driver_elsewhere(study, directory) is not None:
        return
    # Whatever moment a kill comes at: what is in the folder of a study that the storage has not is moved aside later.
    kept = layout.trials_place(directory) / layout.LOST_AND_FOUND / place_aside(found[1])
    kept.mkdir(parents=True, exist_ok=True)
    write_atomically(free_name(kept / layout.SAVED_STUDY), export_study(storage, spec.name)[0])
    remove_study(storage, spec.name)
    list(move_aside(directory, found[1]))
    if trials:
        ended = sum(trial.state.is_finished() for trial in trials)
        yield (
            f"study '{spec.name}' has changed ({listing(changes, 3)}), and none of its {ended} trials has completed: "
            f"it begins anew, and they are in {kept} now"
        )
