"""What commands do to the MLflow runs of a study, in their own process: write what is missing, throw all away."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hpo import layout
from hpo.errors import HpoError
from hpo.spec.models import StudySpec
from hpo.storage.driver_lock import driver_of
from hpo.storage.load_study import load_study
from hpo.text import redact
from hpo.trackers.mlflow import place
from hpo.trackers.mlflow.records import began, study_status

if TYPE_CHECKING:
    from optuna import Study


def sync(runs: Path, name: str, say: Callable[[str], None]) -> str:
    """Writes to MLflow what it lacks of a study; returns the tracking URI.

    Raises StudyNotFound, HpoError when MLflow cannot be written or the study's own process is at it."""
    directory = layout.study_directory(runs, name)
    spec, study = load_study(runs, name)
    known = place.read_place(directory)
    uri = place.tracking_uri(spec, runs, known.tracking_uri if known else "")

    def refuse() -> None:
        raise HpoError(f"the process that runs study '{name}' is writing it to MLflow now; nothing needs to be done")

    with place.writer_lock(directory, refuse):
        write(runs, spec, study, uri, place.experiment_name(spec), driver_of(directory) is not None, say)
    return uri


def write(
    runs: Path, spec: StudySpec, study: Study, uri: str, experiment: str, driven: bool, say: Callable[[str], None]
) -> str:
    """Writes what the store at `uri` lacks of a study, and ends its parent unless the study is `driven`; to be called
    under the writer's lock. Returns why the store takes no artifacts; empty if it does.

    Raises HpoError when MLflow cannot be written, or refuses a trial."""
    from hpo.trackers.mlflow.client import reason
    from hpo.trackers.mlflow.mirror import Mirror

    key = place.keep_place(layout.study_directory(runs, spec.name), uri, experiment).key
    trials = study.get_trials(deepcopy=False)
    status = "RUNNING" if driven else study_status(spec, trials)
    try:
        mirror = Mirror(spec, runs, uri, experiment, key, began(trials, time.time()), {}, None, say)
        left = mirror.update(trials, last=not driven)
        mirror.close(trials, status)
    except Exception as error:  # each store raises its own classes
        raise HpoError(f"MLflow at {redact(uri)} cannot be written: {reason(error)}") from error
    if left:
        raise HpoError(f"MLflow at {redact(uri)} refused trials {', '.join(map(str, left))} of study '{spec.name}'")
    return mirror.artifacts_refused


def discard(runs: Path, spec: StudySpec) -> int:
    """Puts the runs of a study into MLflow's trash, where `mlflow gc` ends them; returns how many.

    Raises HpoError when MLflow cannot be written."""
    known = place.read_place(layout.study_directory(runs, spec.name))
    if known is None:
        return 0
    from hpo.trackers.mlflow.client import reason
    from hpo.trackers.mlflow.mirror import discard as throw_away

    uri = place.written_uri(spec, runs, known)
    try:
        return throw_away(uri, known.experiment, known.key)
    except Exception as error:  # each store raises its own classes
        raise HpoError(f"MLflow at {redact(uri)} cannot be written: {reason(error)}") from error
