"""Find the training that is to be diagnosed: a trial of a study, a run of MLflow, a log file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from hpo import layout
from hpo.actions.best import choose
from hpo.analysis.records import records_of
from hpo.analysis.training.log_files import ReadLog, log_of_run, read_log
from hpo.analysis.training.series import direction_of
from hpo.analysis.training.training_log import log_of
from hpo.errors import LogError
from hpo.machine.sqlite_uri import sqlite_path, sqlite_uri
from hpo.spec.models import Metric
from hpo.storage.load_study import load_study
from hpo.text import listing, nearest, redact
from hpo.trackers.mlflow.place import ENVIRONMENT, is_server
from hpo.translation.catalogue import mark, tr

_KINDS = {
    "COMPLETE": mark("a complete trial"),
    "PRUNED": mark("a pruned trial"),
    "FAIL": mark("a failed trial"),
    "RUNNING": mark("a running trial"),
}

RUN = "mlflow:"
# Files that a folder of a training may have; the first one that is there is read.
IN_FOLDER = (layout.HISTORY, "metrics.csv")
SUFFIXES = (".csv", ".tsv", ".txt", ".log", ".json", ".jsonl")


@dataclass(frozen=True)
class Training:
    """A training, and the folder that its diagnosis belongs into; None of what is not a trial."""

    read: ReadLog
    folder: Path | None = None


def external_log(source: str, runs: Path, columns: Mapping[str, str], tracking_uri: str | None) -> Training | None:
    """Return the training of a file, a folder or an MLflow run; None if `source` is none of these.

    Args:
        source: A path, or `mlflow:RUN_ID`.
        runs: The folder of all studies, in which MLflow's store is by default.
        columns: Name -> column, where the names of the log are others (see `read_log`).
        tracking_uri: MLflow's; None for $MLFLOW_TRACKING_URI, else the store in `runs`.

    Raises:
        LogError: There is a log, and it cannot be read as a training.
        HpoError: MLflow cannot be read.
    """
    if source.startswith(RUN):
        return Training(_run(source.removeprefix(RUN), runs, columns, tracking_uri))
    path = Path(source).expanduser()
    if path.is_dir():
        found = next((path / name for name in IN_FOLDER if (path / name).is_file()), None)
        return Training(read_log(found, columns)) if found else None
    if path.is_file() and path.suffix.lower() not in (".yaml", ".yml"):
        return Training(read_log(path, columns))
    if path.suffix.lower() in SUFFIXES:
        raise LogError(f"there is no file {path}")
    return None


def trial_log(runs: Path, name: str, number: int | None) -> Training:
    """Return the training of one trial of a study, or of its best one.

    Args:
        runs: The folder of all studies.
        name: Name of the study.
        number: Number of the trial; None for the best one.

    Raises:
        StudyNotFound: There is no such study or trial.
        HpoError: No trial has completed.
    """
    spec, stored = load_study(runs, name)
    directory = layout.study_directory(runs, name)
    record = records_of(stored, spec, directory, histories=False)
    trial = choose(record, number).trial
    folder = layout.trial_directory(directory, trial.number)
    which = tr(_KINDS[trial.state]) if number is not None else tr("the study's best trial, {n}", n=trial.number)
    return Training(ReadLog(log_of(record, trial), which), folder)


def by_metric(training: Training, given: str) -> Training:
    """Return a training that is judged by a metric of the user's choice.

    Args:
        training: The training.
        given: `auc`, `val_auc`, or `my_score:maximize` where the name does not say which way is better.

    Raises:
        LogError: The training has no such metric, or it is not known which way is better.
    """
    log = training.read.log
    stem, sign, direction = given.rpartition(":")
    if not sign or direction not in ("minimize", "maximize"):
        stem, direction = given, ""
    name = next((one for one in (stem, f"val_{stem}", f"train_{stem}") if one in log.names), None)
    if name is None:
        raise LogError(f"{log.name} has no metric '{stem}'; it has {listing(log.names)}.{nearest(stem, log.names)}")
    direction = direction or direction_of(log, name)
    if not direction:
        raise LogError(
            f"the name '{name}' does not say whether more or less of it is better; "
            f"expected --metric {name}:maximize or --metric {name}:minimize"
        )
    metric = Metric.model_validate({"name": name, "direction": direction})
    return replace(training, read=replace(training.read, log=replace(log, metric=metric)))


def _run(run_id: str, runs: Path, columns: Mapping[str, str], tracking_uri: str | None) -> ReadLog:
    from hpo.trackers.mlflow.client import read_run

    uri = tracking_uri or os.environ.get(ENVIRONMENT) or sqlite_uri(runs / layout.MLFLOW_STORE)
    file = sqlite_path(uri)
    if file is not None and not file.is_file():  # MLflow would make an empty store
        raise LogError(f"there is no MLflow store {file}; --tracking-uri or ${ENVIRONMENT} names another")
    if file is None and not is_server(uri) and "://" not in uri:
        raise LogError(f"the tracking URI is '{redact(uri)}'; expected such as sqlite:////FILE or http://HOST:PORT")
    run = read_run(uri, run_id)
    return log_of_run(run.name, run.metrics, run.params, run.status, f"MLflow run {run_id}", columns)
