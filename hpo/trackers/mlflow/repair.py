"""Mends the runs of one study in MLflow: takes what is wrong out of the way, and lets the Mirror write the rest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hpo import layout
from hpo.errors import HpoError
from hpo.text import redact
from hpo.trackers.mlflow import place, records
from hpo.trackers.mlflow.client import client_of, reason
from hpo.trackers.mlflow.sync import write

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient
    from optuna import Study

    from hpo.spec.models import StudySpec


class Repair:
    """All that is to be done for one study, done in one go when the first finding asks for it: the Mirror writes all
    that is missing at once. Whoever calls it keeps drivers from starting.

    reopen: ids of closed runs that the Mirror is to write again. detach: runs that are no longer to be the study's:
    they keep all that they have, under another tag. clear: tags that a run should not have, by its id.
    Raises HpoError when MLflow cannot be written."""

    def __init__(self, runs: Path, spec: StudySpec, study: Study, uri: str, experiment: str) -> None:
        self._runs, self._spec, self._study = runs, spec, study
        self._uri, self._experiment = uri, experiment
        self._directory = layout.study_directory(runs, spec.name)
        self.reopen: set[str] = set()
        self.detach: dict[str, Run] = {}
        self.clear: dict[str, set[str]] = {}
        self._done = False
        self._failed = self._refused = ""

    def __call__(self) -> None:
        if self._failed:
            raise HpoError(self._failed)
        if self._done:
            return
        said: list[str] = []
        try:
            with place.writer_lock(self._directory, self._refuse):
                self._prepare()
                self._refused = write(
                    self._runs, self._spec, self._study, self._uri, self._experiment, False, said.append
                )
        except HpoError as error:
            # Each further finding would wait as long to hear the same.
            self._failed = "; ".join([str(error), *said])
            raise HpoError(self._failed) from error
        self._done = True

    def upload(self) -> None:
        """The same, for findings that are mended only if the artifacts are taken."""
        self()
        if self._refused:
            raise HpoError(f"MLflow at {redact(self._uri)} takes no artifacts: {self._refused}")

    def _refuse(self) -> None:
        raise HpoError(f"another process is writing study '{self._spec.name}' to MLflow now; ask again when it is done")

    def _prepare(self) -> None:
        known = place.read_place(self._directory)
        try:
            client = client_of(self._uri)
            for run in self.detach.values():
                _detach(client, run, known.key if known else "")
            for run_id, tags in self.clear.items():
                for tag in tags & client.get_run(run_id).data.tags.keys():
                    client.delete_tag(run_id, tag)
            for run_id in self.reopen - self.detach.keys():
                client.update_run(run_id, status="RUNNING")
        except Exception as error:  # each store raises its own classes
            raise HpoError(f"MLflow at {redact(self._uri)} cannot be written: {reason(error)}") from error


def _detach(client: MlflowClient, run: Run, key: str) -> None:
    """The key goes last: a run that a kill leaves between is found again. What is in the trash goes back there."""
    deleted = client.get_run(run.info.run_id).info.lifecycle_stage == "deleted"
    if deleted:
        client.restore_run(run.info.run_id)
    client.set_tag(run.info.run_id, records.ORPHAN, key)
    if run.info.status == "RUNNING":
        client.set_terminated(run.info.run_id, "KILLED")
    if records.KEY in client.get_run(run.info.run_id).data.tags:
        client.delete_tag(run.info.run_id, records.KEY)
    if deleted:
        client.delete_run(run.info.run_id)


def put_place(directory: Path, found: place.Place, keep: Callable[[Path], object]) -> None:
    """Notes where a study's runs are. `keep` is given a damaged note that is about to be written over."""
    noted = directory / layout.MLFLOW
    if noted.exists():
        keep(noted)
    place.write_place(directory, found)
