"""Trials of an experiment of MLflow's: its runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from hpo import layout
from hpo.errors import TransferError
from hpo.machine.sqlite_uri import resolved, sqlite_path, sqlite_uri
from hpo.text import redact
from hpo.trackers.mlflow.place import is_missing_file, is_server
from hpo.transfer.source import COMPLETE, FAIL, PRUNED, Examples, Source, SourceTrial, moment, rows_of

if TYPE_CHECKING:
    from hpo.trackers.mlflow.client import RunRead

_PARENT = "mlflow.parentRunId"
# Tags in which Optuna's MLflowCallback and hpo say how a trial ended, and Optuna its number.
_STATES = ("state", "hpo.state")
_STATUS = {"FINISHED": COMPLETE, "FAILED": FAIL, "KILLED": FAIL}
_SYSTEM = "system/"


def read_mlflow(uri: str, experiment: str) -> Source:
    """Return the runs of an experiment that have ended. A run that others are nested in is no trial.

    Args:
        uri: The tracking URI, or the path of a SQLite file.
        experiment: The experiment's name.

    Raises:
        TransferError: There is no such store.
        HpoError: It cannot be read, or has no such experiment.
    """
    from hpo.trackers.mlflow.client import read_runs

    uri = tracking_place(uri)
    runs = list(read_runs(uri, experiment))
    parents = {run.tags[_PARENT] for run in runs if _PARENT in run.tags}
    left_out = Examples()
    trials = []
    for run in runs:
        if run.run_id in parents:
            left_out.add("hold other runs, and are no trials", _name(run))
        elif run.status not in _STATUS:
            left_out.add("had not ended there", _name(run))
        elif run.tags.get("hpo.requeued") == "true":
            left_out.add("were lost and tried again there", _name(run))
        else:
            trials.append(_trial(run))
    return Source("mlflow", redact(uri), experiment, tuple(trials), typed=False, notes=left_out.sentences("run"))


def tracking_place(uri: str) -> str:
    """Return a tracking URI with the path of its file made absolute; a bare path is that of a SQLite file.

    Raises:
        TransferError: It is a file that is not there, or none that MLflow still reads.
    """
    if is_server(uri):
        return uri
    if "://" not in uri:
        path = layout.absolute(Path(uri.removeprefix("file:")).expanduser())
        if path.is_dir():
            raise TransferError(
                f"{path} is a folder; MLflow 3 reads runs in folders of files no more. Expected sqlite:///FILE or "
                "http://HOST:PORT (`mlflow migrate-filestore` brings such a folder into a SQLite file)"
            )
        uri = sqlite_uri(path)
    elif uri.startswith("file:"):
        raise TransferError(
            f"the tracking URI is '{redact(uri)}'; MLflow 3 reads runs in folders of files no more. Expected "
            "sqlite:///FILE or http://HOST:PORT"
        )
    if sqlite_path(uri) is not None:
        uri = resolved(uri, Path.cwd())
    if is_missing_file(uri):
        raise TransferError(f"there is no MLflow store {sqlite_path(uri)}; expected sqlite:///FILE or http://HOST:PORT")
    return uri


def _name(run: RunRead) -> str:
    return f"run {run.name}"


def _trial(run: RunRead) -> SourceTrial:
    state = _STATUS[run.status]
    said = next((run.tags[tag] for tag in _STATES if tag in run.tags), "").rpartition(".")[2]
    if said in (COMPLETE, PRUNED, FAIL):
        state = said
    points = {name: own for name, own in run.points.items() if not name.startswith(_SYSTEM) and own}
    # What was logged once, without a step, is a final value and no curve.
    curves = {name: own for name, own in points.items() if len(own) > 1 or own[0][0] != 0}
    finals = {name: own[-1][1] for name, own in points.items()}
    seed = run.tags.get("hpo.seed", "")
    return SourceTrial(
        key=("mlflow", run.run_id),
        name=_name(run),
        state=state,
        params=dict(run.params),
        metrics=finals,
        rows=rows_of((step, name, value, time) for name, own in curves.items() for step, value, time in own),
        reason=run.tags.get("hpo.reason") or (f"MLflow says that it was {run.status.lower()}" if state == FAIL else ""),
        cause=run.tags.get("hpo.cause", ""),
        started=moment(run.started),
        finished=moment(run.ended),
        seed=int(seed) if re.fullmatch(r"\d{1,10}", seed) else None,
    )
