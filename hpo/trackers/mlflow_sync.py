"""What commands do to the MLflow runs of a study, in their own process: write what is missing, throw all away."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from hpo import layout
from hpo.errors import HpoError
from hpo.redaction import redact
from hpo.spec import StudySpec
from hpo.storage import driver_of, load_study
from hpo.trackers import mlflow_place as place
from hpo.trackers.mlflow_records import began, study_status


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
        from hpo.trackers.mlflow import Mirror, reason

        experiment = place.experiment_name(spec)
        key = place.keep_place(directory, uri, experiment).key
        trials = study.get_trials(deepcopy=False)
        status = "RUNNING" if driver_of(directory) else study_status(spec, trials)
        try:
            mirror = Mirror(spec, runs, uri, experiment, key, began(trials, time.time()), {}, None, say)
            left = mirror.update(trials, last=status != "RUNNING")
            mirror.close(trials, status)
        except Exception as error:  # each store raises its own classes
            raise HpoError(f"MLflow at {redact(uri)} cannot be written: {reason(error)}") from error
    if left:
        raise HpoError(f"MLflow at {redact(uri)} refused trials {', '.join(map(str, left))} of study '{name}'")
    return uri


def discard(runs: Path, spec: StudySpec) -> int:
    """Puts the runs of a study into MLflow's trash, where `mlflow gc` ends them; returns how many.

    Raises HpoError when MLflow cannot be written."""
    known = place.read_place(layout.study_directory(runs, spec.name))
    if known is None:
        return 0
    from hpo.trackers import mlflow

    uri = place.written_uri(spec, runs, known)
    try:
        return mlflow.discard(uri, known.experiment, known.key)
    except Exception as error:  # each store raises its own classes
        raise HpoError(f"MLflow at {redact(uri)} cannot be written: {mlflow.reason(error)}") from error
