"""Access to MLflow: its client, runs found by their tags, and why it failed.

This is the one module that imports mlflow.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpo.errors import HpoError
from hpo.machine.sqlite_uri import sqlite_path
from hpo.storage.readonly import engine_options
from hpo.text import cut, first_line, listing, nearest, redact
from hpo.trackers.mlflow import records
from hpo.trackers.mlflow.place import is_missing_file, is_server

# Read when mlflow is imported. Retries are the caller's: a request that is repeated unseen could double a run.
# Nothing is sent to anyone but the store.
_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
for _name, _value in _SETTINGS.items():
    os.environ.setdefault(_name, _value)

from mlflow.entities import Metric, Param, Run, RunTag, ViewType  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository  # noqa: E402
from mlflow.tracking import MlflowClient  # noqa: E402

__all__ = [
    "Metric",
    "MlflowException",
    "Param",
    "RunRead",
    "RunTag",
    "client_of",
    "experiment_id",
    "files_of",
    "infinite",
    "make_tables",
    "ranked",
    "read_run",
    "read_runs",
    "reader_of",
    "reason",
    "search",
    "upload",
]

_PAGE = 1000


def client_of(uri: str) -> MlflowClient:
    """Return a client of a store, which fails at once if the store is away."""
    if not is_server(uri):
        # MLflow would try for two minutes to open a database, and meanwhile not listen to the driver.
        from mlflow.store.db import utils

        utils.MAX_RETRY_COUNT = 1
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def reader_of(uri: str) -> MlflowClient:
    """Return a client that only reads, for which a store that is a SQLite file need not be writable."""
    if sqlite_path(uri) is None:
        return client_of(uri)
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from sqlalchemy import create_engine

    # MLflow keeps an engine for each URI; under this one it finds ours. Its second part means nothing.
    own = f"{uri}{'&' if '?' in uri else '?'}reader=hpo"
    SqlAlchemyStore._engine_map[own] = create_engine(uri, **engine_options(uri))
    return client_of(own)


def make_tables(uri: str, artifacts: str) -> None:
    """Make MLflow's tables in an empty database.

    Args:
        uri: The database.
        artifacts: The URI of a folder, for MLflow's experiment `Default`. By itself MLflow would write the path of the
            current folder into its SQL, where a quote or a colon in it would be read as SQL.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    SqlAlchemyStore(uri, artifacts).engine.dispose()  # type: ignore[no-untyped-call]


def experiment_id(uri: str, name: str) -> str | None:
    """Return the ID of an experiment, None if there is none. Raises HpoError if the store cannot be read."""
    if is_missing_file(uri):  # a client would make it
        return None
    try:
        found = reader_of(uri).get_experiment_by_name(name)
    except Exception as error:  # each store raises its own classes
        raise HpoError(f"MLflow at {redact(uri)} cannot be read: {reason(error)}") from error
    return None if found is None else str(found.experiment_id)


def ranked(found: Iterable[Run], named: Sequence[str] = ()) -> list[Run]:
    """Sort the runs of one trial, or the parents of one study, so that the one which stays is the first.

    It is not a deleted one; it is the parent that most children have (`named` are the parents of all), and a closed run
    rather than an open one.
    """

    def place(run: Run) -> tuple[bool, int, bool, str]:
        info = run.info
        return info.lifecycle_stage == "deleted", -named.count(info.run_id), info.status == "RUNNING", info.run_id

    return sorted(found, key=place)


def search(client: MlflowClient, experiment: str | Sequence[str], value: str, tag: str = records.KEY) -> Iterator[Run]:
    """Yield all runs whose `tag` is `value`, deleted ones too, in one experiment or several."""
    token = None
    while True:
        page = client.search_runs(
            [experiment] if isinstance(experiment, str) else list(experiment),
            f"tags.`{tag}` = '{value}'",
            run_view_type=ViewType.ALL,
            max_results=_PAGE,
            order_by=["attributes.start_time ASC"],
            page_token=token,
        )
        yield from page
        token = page.token
        if not token:
            return


def files_of(uri: str, run: Run) -> dict[str, int | None]:
    """Return the sizes in bytes of a run's artifacts, without those in folders; None where the store does not tell."""
    store = get_artifact_repository(run.info.artifact_uri, tracking_uri=uri)
    return {file.path: file.file_size for file in store.list_artifacts() if not file.is_dir}


def upload(client: MlflowClient, artifacts: str, file: Path) -> None:
    """Put a file among the artifacts of a run. `MlflowClient.log_artifact` would ask for the run each time.

    Args:
        client: A client of the store.
        artifacts: The URI of the run's artifacts.
        file: The file.
    """
    store = get_artifact_repository(artifacts, tracking_uri=client.tracking_uri)
    store.log_artifact(str(file))  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class RunRead:
    """A run as it was logged.

    Attributes:
        run_id: MLflow's ID of it.
        name: its name, else its ID.
        status: FINISHED, FAILED, KILLED, RUNNING or SCHEDULED.
        params: parameters, as texts.
        tags: tags.
        points: (step, value, seconds since the epoch) of each metric in the order of the steps; infinities, for which
            MLflow keeps the largest number, are infinities again.
        started: seconds since the epoch; None if it is not known.
        ended: the same.
    """

    run_id: str
    name: str
    status: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    points: Mapping[str, tuple[tuple[int, float, float], ...]]
    started: float | None
    ended: float | None

    @property
    def metrics(self) -> dict[str, tuple[tuple[int, float], ...]]:
        """(step, value) of each metric in the order of the steps."""
        return {name: tuple((step, value) for step, value, _ in points) for name, points in self.points.items()}


def read_run(uri: str, run_id: str) -> RunRead:
    """Read any run of any experiment. Raises HpoError if there is none, or if the store cannot be read."""
    place = redact(uri)
    try:
        client = reader_of(uri)
        return _read(client, client.get_run(run_id))
    except Exception as error:
        if getattr(error, "error_code", "") in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise HpoError(
                f"MLflow at {place} has no run '{run_id}'; a run's page shows its ID. --tracking-uri names another "
                "store"
            ) from error
        raise HpoError(f"MLflow at {place} cannot be read: {reason(error)}") from error


def read_runs(uri: str, experiment: str) -> Iterator[RunRead]:
    """Yield the runs of an experiment that are not deleted, in the order of their starts.

    Raises:
        HpoError: there is no such experiment, or the store cannot be read.
    """
    place = redact(uri)
    try:
        client = reader_of(uri)
        found = client.get_experiment_by_name(experiment)
        if found is None:
            known = [one.name for one in client.search_experiments()]
            there = f"it has {listing(map(repr, known))}" if known else "it has none"
            raise HpoError(f"MLflow at {place} has no experiment '{experiment}'; {there}.{nearest(experiment, known)}")
        token = None
        while True:
            page = client.search_runs(
                [found.experiment_id],
                run_view_type=ViewType.ACTIVE_ONLY,
                max_results=_PAGE,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
            for run in page:
                yield _read(client, run)
            token = page.token
            if not token:
                return
    except HpoError:
        raise
    except Exception as error:  # each store raises its own classes
        raise HpoError(f"MLflow at {place} cannot be read: {reason(error)}") from error


def _read(client: MlflowClient, run: Run) -> RunRead:
    info = run.info
    histories = {name: client.get_metric_history(info.run_id, name) for name in run.data.metrics}
    return RunRead(
        run_id=info.run_id,
        name=info.run_name or info.run_id,
        status=info.status,
        params=dict(run.data.params),
        tags=dict(run.data.tags),
        points={
            name: tuple((one.step, infinite(one.value), one.timestamp / 1000) for one in sorted(points, key=_order))
            for name, points in histories.items()
        },
        started=info.start_time / 1000 if info.start_time else None,
        ended=info.end_time / 1000 if info.end_time else None,
    )


def _order(point: Metric) -> tuple[int, int]:
    return point.step, point.timestamp


def infinite(value: float) -> float:
    """Return the infinity for which MLflow stored its largest number, and any other value as it is."""
    return math.copysign(math.inf, value) if abs(value) >= sys.float_info.max else value


def reason(error: BaseException) -> str:
    """Say in a few words why MLflow failed: its own messages hold tracebacks and repeat themselves."""
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    said = " ".join(f"{type(cause).__name__} {cause}" for cause in causes)
    for sign, words in _SIGNS.items():
        if sign in said:
            return words
    return cut(first_line(error), 300)


_SIGNS: Mapping[str, str] = {
    "filesystem tracking backend": "MLflow writes to folders of files no more; expected sqlite:///FILE or http://HOST:PORT",
    "Connection refused": "connection refused",
    "the database system is": "the database is starting or stopping",
    "terminating connection": "connection lost",
    "server closed the connection": "connection lost",
    "connection is lost": "connection lost",
    "Timeout": "no answer",
    "timed out": "no answer",
    "Name or service not known": "unknown host",
    "Temporary failure in name resolution": "unknown host",
    "No route to host": "no route to host",
    "Connection reset": "connection lost",
    "Remote end closed": "connection lost",
    "No space left": "the disk is full",
    "database is locked": "the database is locked",
}
