"""The runs of a study in MLflow: a parent run, and a child run for each of its trials.

Runs are found by their tags (`hpo.key` of the study, `hpo.trial`), not by IDs that were noted, and the run of a trial
is closed last. So a kill may come at any line: the next Mirror finishes what is missing and doubles nothing, as stores
drop a metric that they have (same name, step, time and value).
"""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from sqlalchemy import event
from sqlalchemy.engine import Engine

from hpo import layout
from hpo.machine.sqlite_uri import sqlite_path
from hpo.storage import history
from hpo.storage.histories import Histories
from hpo.storage.trial_attributes import JOB, OUTCOME
from hpo.trackers.mlflow import records
from hpo.trackers.mlflow.client import (
    Metric,
    MlflowException,
    Param,
    RunTag,
    client_of,
    ranked,
    reason,
    search,
    upload,
)
from hpo.trackers.mlflow.place import artifact_folder, is_server
from hpo.trackers.mlflow.store import bring_artifacts_along, make_store
from hpo.trackers.mlflow.summary import Summary, is_own_note

if TYPE_CHECKING:
    from mlflow.entities import Run
    from optuna.trial import FrozenTrial

    from hpo.spec.models import StudySpec

_log = logging.getLogger("hpo")
# MLflow's pages then show runs and charts, not those for language models.
_TRAINING = {"mlflow.experimentKind": "custom_model_development"}
# Of one request: MLflow takes 1000 metrics, 100 parameters, 100 tags, and a million bytes for the three together.
_METRICS, _PARAMS, _TAGS, _BYTES = 1000, 100, 100, 300_000
_MOST_FAILURES = 3
T = TypeVar("T", Metric, Param, RunTag)


@dataclass
class _Child:
    """The run of a trial.

    artifacts: the URI of its files. ended: closed, or deleted by a user in MLflow. deleted: in MLflow's trash. parent:
    the run it is shown below. tags, points: what this process wrote to it, points as (name, step, time). size: of the
    history file when it was read last, in bytes. diagnosed: the mark of the diagnosis that it has. gaps: what alone is
    to be written of a run that is written again.
    """

    run_id: str
    artifacts: str
    ended: bool = False
    deleted: bool = False
    parent: str = ""
    diagnosed: str = ""
    has_params: bool = False
    size: int = -1
    tags: Mapping[str, str] = field(default_factory=dict)
    points: set[tuple[str, int, int]] = field(default_factory=set)
    gaps: records.Gaps | None = None


class Mirror:
    """Writer of the runs of one study, so that they show its Optuna trials and its history files.

    Opening it makes or finds the experiment and the parent. Everything may raise MlflowException or what the store's
    libraries raise: open a new Mirror then, as an answer that was lost may hide a run that was made.

    Args:
        spec: The study's study.yaml.
        runs: The runs folder.
        uri: The store, with its password.
        experiment: Its name.
        key: The study's own (see hpo.trackers.mlflow.place).
        began: When the study did, for a parent that is made now, in seconds since the epoch.
        provenance: Tags of the parent and of trials started from `since` on.
        since: Seconds since the epoch; None gives these tags to no trial.
        say: Gets sentences for the user.
        between: Called between runs; what it raises ends the work.
        gaps: Closed runs to be written again, by their IDs, and what they lack.

    Attributes:
        artifacts_refused: Why the store took no artifacts; empty if it did.
    """

    def __init__(
        self,
        spec: StudySpec,
        runs: Path,
        uri: str,
        experiment: str,
        key: str,
        began: float,
        provenance: Mapping[str, str],
        since: float | None,
        say: Callable[[str], None],
        between: Callable[[], None] = lambda: None,
        gaps: Mapping[str, records.Gaps] = MappingProxyType({}),
    ) -> None:
        self._spec = spec
        self._directory = layout.study_directory(runs, spec.name)
        self._standings = records.standings(self._directory)
        self._key = key
        self._began = began
        self._provenance = provenance
        self._since = since
        self._say = say
        self._between = between
        self._gaps = gaps
        self._failures: dict[int, int] = {}
        self._histories = Histories(self._directory, ())
        self._said: set[str] = set()
        self.artifacts_refused = ""
        self._summary = Summary(spec)
        self._bests: list[records.Point] = []  # that are not written yet
        self._noted: Mapping[str, str] = {}
        self._known = 0  # trials that have been looked at
        self._unwritten: dict[int, None] = {}  # of them those that MLflow lacks or that go on, by their numbers
        self._unfinished: set[int] = set()
        if (file := sqlite_path(uri)) is not None:
            make_store(file)
            if file.parent == runs:
                bring_artifacts_along(file)
            _write_ahead(file)
        self._client = client_of(uri)
        folder = None if is_server(uri) else artifact_folder(uri, runs)
        self._experiment = self._find_experiment(experiment, folder)
        self._children: dict[int, _Child] = {}
        self._beyond: set[int] = set()  # of them those that bear the mark of a trial that is not among the best
        self._stale = False
        self._parent = self._find_runs() or self._create_parent()
        self._set_parents()

    def open_parent(self) -> None:
        """Note that the study runs now, again perhaps, and with other code."""
        self._client.update_run(self._parent, status="RUNNING")
        self._log(self._parent, tags=self._provenance)

    def update(self, trials: Sequence[FrozenTrial], last: bool) -> list[int]:
        """Write what is new in the trials.

        Args:
            trials: All trials of the study.
            last: No more will come of trials ended from outside.

        Returns:
            Numbers of finished trials that MLflow refused, for a reason of their own.
        """
        if self._stale:
            self._find_runs()
            self._stale = False
            self._unwritten = dict.fromkeys(range(self._known))
        self._histories = Histories(self._directory, trials)
        self._take_in(trials)
        self._keep_best()
        left = []
        for number in list(self._unwritten):
            if not self._is_wanted(trials[number]):
                continue
            if self._failures.get(number, 0) >= _MOST_FAILURES and not last:
                left.append(number)
                continue
            self._between()
            try:
                self._write(trials[number], self._children.get(number), last)
            except Exception as error:
                if getattr(error, "error_code", "") == "TEMPORARILY_UNAVAILABLE":
                    raise  # its database is, or was a moment ago: not this trial's fault either
                self._client.get_experiment(self._experiment)  # raises when it is not this trial's fault
                self._stale = True
                self._failures[number] = self._failures.get(number, 0) + 1
                left.append(number)
                self._say_once(f"trial {number} could not be written to MLflow: {reason(error)}")
        self._update_parent()
        return left

    def _take_in(self, trials: Sequence[FrozenTrial]) -> None:
        """Look at new trials, and at those that had not finished: an update costs no more with each trial before it."""
        new = range(self._known, len(trials))
        self._known = len(trials)
        self._unwritten |= dict.fromkeys(new)
        self._unfinished |= set(new)
        ended = [trials[number] for number in self._unfinished if trials[number].state.is_finished()]
        self._unfinished -= {trial.number for trial in ended}
        self._bests += self._summary.add(ended)

    def _is_wanted(self, trial: FrozenTrial) -> bool:
        """Return True if there is something to write of a trial, and drop it if there never will be."""
        child, shown = self._children.get(trial.number), self._summary.shown
        over = trial.state.is_finished() and not shown.has(trial.number)
        if over or (child is not None and child.ended):
            del self._unwritten[trial.number]
            return False
        if trial.state.is_finished() or child is not None:
            return True
        return JOB in trial.user_attrs and shown.room(len(self._unfinished & self._children.keys()))

    def _keep_best(self) -> None:
        """Move runs of trials that are not among the best to MLflow's trash, and bring back those of trials that are.

        A run is marked before it is moved: a kill in between is made good by the next update, and a run that a user
        has deleted bears no mark.
        """
        shown = self._summary.shown
        if shown.most is None and not self._beyond:
            return
        for number in sorted(self._beyond):
            if shown.has(number):
                self._bring_back(self._children[number])
                self._beyond.remove(number)
                self._unwritten[number] = None
        in_view = {number for number, child in self._children.items() if not child.deleted}
        for number in shown.beyond(in_view - self._unfinished):
            self._between()
            child = self._children[number]
            self._client.set_tag(child.run_id, records.BEYOND, f"best {shown.most}")
            self._client.delete_run(child.run_id)
            child.deleted = True
            self._beyond.add(number)

    def _bring_back(self, child: _Child) -> None:
        self._between()
        if child.deleted:
            self._client.restore_run(child.run_id)
            child.deleted = False
        self._client.delete_tag(child.run_id, records.BEYOND)

    def close(self, trials: Sequence[FrozenTrial], status: str) -> None:
        """End the parent with MLflow's `status`; a status of RUNNING leaves it open."""
        artifacts = self._client.get_run(self._parent).info.artifact_uri
        self._upload(self._parent, artifacts, records.artifacts(self._directory, records.STUDY_ARTIFACTS))
        self._upload_diagnoses()
        if status != "RUNNING":
            ended = max((records.finished(trial) for trial in trials), default=time.time())
            self._client.set_terminated(self._parent, status, end_time=records.milliseconds(ended))

    # --- experiment and parent

    def _find_experiment(self, name: str, artifacts: Path | None) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is None:
            # A server knows where its artifacts belong; a bare store would take ./mlruns.
            location = None if artifacts is None else (artifacts / quote(name, safe="")).as_uri()
            try:
                return str(self._client.create_experiment(name, artifact_location=location, tags=_TRAINING))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                found = self._client.get_experiment_by_name(name)  # another study was faster
                assert found is not None
        if found.lifecycle_stage == "deleted":
            self._client.restore_experiment(found.experiment_id)
            self._say(f"the MLflow experiment '{name}' had been deleted; it was restored")
        return str(found.experiment_id)

    def _find_runs(self) -> str:
        """Read which children there are; return the parent's ID, or an empty string."""
        parents: list[Run] = []
        children: dict[int, list[Run]] = {}
        for run in search(self._client, self._experiment, self._key):
            number = records.trial_of(run.data.tags)
            if run.data.tags.get(records.KIND) == records.STUDY_KIND:
                parents.append(run)
            elif number is not None:
                children.setdefault(number, []).append(run)
        self._children, self._beyond = {}, set()
        for number, found in children.items():
            run = self._keep_one(found)
            deleted, beyond = run.info.lifecycle_stage == "deleted", records.BEYOND in run.data.tags
            if beyond:
                self._beyond.add(number)
            gaps = self._gaps.get(run.info.run_id)
            ended = (deleted and not beyond) or (run.info.status != "RUNNING" and gaps is None)
            mark, parent_id = (run.data.tags.get(tag, "") for tag in (records.DIAGNOSED, records.PARENT))
            self._children[number] = _Child(
                run.info.run_id, run.info.artifact_uri, ended, deleted, parent_id, mark, gaps=gaps
            )
        if not parents:
            return ""
        parent = self._keep_one(parents, [child.parent for child in self._children.values()])
        if parent.info.lifecycle_stage == "deleted":
            self._client.restore_run(parent.info.run_id)
        # A kill may have come between the making of the parent and its parameters.
        params = records.study_params(self._spec)
        self._log(parent.info.run_id, params={name: params[name] for name in params.keys() - parent.data.params.keys()})
        return str(parent.info.run_id)

    def _keep_one(self, found: Sequence[Run], named: Sequence[str] = ()) -> Run:
        """Return the run that stays, where a lost answer made two of one (see `ranked`); delete the others."""
        first, *others = ranked(found, named)
        for run in others:
            if run.info.lifecycle_stage != "deleted":
                self._client.delete_run(run.info.run_id)
        return first

    def _set_parents(self) -> None:
        """Move children below the parent that were below another one."""
        for child in self._children.values():
            if not child.deleted and child.parent != self._parent:
                self._client.set_tag(child.run_id, records.PARENT, self._parent)
                child.parent = self._parent

    def _create_parent(self) -> str:
        tags = {records.KEY: self._key, **self._summary.tags()}
        start = records.milliseconds(self._began)
        run = self._client.create_run(self._experiment, start_time=start, tags=tags, run_name=self._spec.name)
        self._log(run.info.run_id, params=records.study_params(self._spec))
        return str(run.info.run_id)

    def _update_parent(self) -> None:
        tags = self._summary.tags()
        if self._bests or tags != self._noted:
            there = self._client.get_run(self._parent).data
            own = is_own_note(there.tags.get(records.NOTE, ""))  # what a user wrote in its place stays
            written = {name: text for name, text in tags.items() if own or name != records.NOTE}
            # They are written in the order of their steps, so that the last step tells what an earlier process wrote.
            last = {metric.key: metric.step for metric in there.to_proto().metrics}
            self._log(
                self._parent, [point for point in self._bests if point.step > last.get(point.name, 0)], tags=written
            )
            self._bests, self._noted = [], tags

    # --- a trial

    def _write(self, trial: FrozenTrial, child: _Child | None, last: bool) -> None:
        """Make or extend the run of a trial, and close it if the trial is over."""
        # Without an outcome it was ended from outside: its objective may still report once.
        over = trial.state.is_finished() and (OUTCOME in trial.user_attrs or last)
        tags = records.trial_tags(trial, self._spec, self._standings)
        if child is None:
            child = self._children[trial.number] = self._create(trial, tags)
        folder = layout.trial_directory(self._directory, trial.number)
        path = self._histories.path(trial)
        size = path.stat().st_size if path.exists() else 0
        if size == child.size and not over:
            return
        rows = self._histories.rows(trial)
        if over:
            points = records.ended_points(trial, self._spec, rows, folder)
        else:
            points = records.points_of(_settled(rows, trial))
        new = [point for point in points if (point.name, point.step, point.time) not in child.points]
        if child.gaps is not None:
            new = [point for point in new if (point.name, point.step) in child.gaps.points]
        params = {} if child.has_params else records.trial_params(trial, self._spec)
        if new or params or tags != child.tags:
            self._log(child.run_id, new, params, {} if tags == child.tags else tags)
        child.points.update((point.name, point.step, point.time) for point in new)
        child.has_params, child.tags, child.size = True, tags, size
        if over:
            files = records.artifacts(folder, records.ARTIFACTS)
            self._upload(
                child.run_id,
                child.artifacts,
                [file for file in files if child.gaps is None or file.name in child.gaps.files],
            )
            ended = records.milliseconds(records.finished(trial))
            self._client.set_terminated(child.run_id, records.status(trial), end_time=ended)
            self._children[trial.number] = _Child(
                child.run_id, child.artifacts, ended=True, parent=child.parent, diagnosed=child.diagnosed
            )
            self._unwritten.pop(trial.number, None)

    def _create(self, trial: FrozenTrial, tags: Mapping[str, str]) -> _Child:
        started = records.started(trial)
        made_now = self._since is not None and started >= self._since
        run = self._client.create_run(
            self._experiment,
            start_time=records.milliseconds(started),
            tags={
                **(self._provenance if made_now else {}),
                **tags,
                records.KEY: self._key,
                records.PARENT: self._parent,
            },
            run_name=records.run_name(trial, self._spec),
        )
        return _Child(run.info.run_id, run.info.artifact_uri, parent=self._parent, tags=tags)

    # --- requests

    def _log(
        self,
        run_id: str,
        points: Iterable[records.Point] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        parts = zip_longest(
            _chunks([Metric(point.name, point.value, point.time, point.step) for point in points], _METRICS),
            _chunks([Param(name, value) for name, value in (params or {}).items()], _PARAMS),
            _chunks([RunTag(name, value) for name, value in (tags or {}).items()], _TAGS),
            fillvalue=(),
        )
        for metrics, some_params, some_tags in parts:
            self._client.log_batch(run_id, metrics, some_params, some_tags, synchronous=True)

    def _upload(self, run_id: str, artifacts: str, files: Iterable[Path]) -> bool:
        """Return True if all were taken. A store that refuses artifacts costs the artifacts, not the run."""
        for file in files:
            try:
                upload(self._client, artifacts, file)
            except Exception as error:
                self._check_store(run_id)
                self.artifacts_refused = reason(error)
                self._say_once(f"MLflow takes no artifacts ({reason(error)}); runs are written without them")
                return False
        return True

    def _check_store(self, run_id: str) -> None:
        """Raise when the whole store is away.

        A server that fails at an upload may close the connection, which only the next request on it tells.
        """
        with contextlib.suppress(Exception):
            self._client.get_run(run_id)
            return
        self._client.get_run(run_id)

    def _upload_diagnoses(self) -> None:
        """Upload diagnoses that were written since their trial's run was closed."""
        for number, child in self._children.items():
            folder = layout.trial_directory(self._directory, number)
            files = records.artifacts(folder, layout.DIAGNOSES)
            mark = records.diagnosed(files)
            if files and child.ended and not child.deleted and mark != child.diagnosed:
                self._between()
                if self._upload(child.run_id, child.artifacts, files):
                    self._log(child.run_id, tags={records.DIAGNOSED: mark})
                    child.diagnosed = mark

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._say(text)


def _settled(rows: Sequence[history.Step], trial: FrozenTrial) -> list[history.Step]:
    """Return the rows of a running trial without those of earlier attempts that may yet be replaced.

    A retry starts with the rows of the attempt that was lost, and reports some of their steps again.
    """
    attempt = trial.user_attrs[JOB]["attempt"]
    newest = max((row.step for row in rows if row.attempt == attempt), default=-1)
    return [row for row in rows if row.attempt == attempt or row.step < newest]


def _chunks(items: Iterable[T], most: int) -> Iterator[list[T]]:
    """Divide metrics, parameters or tags into parts of at most so many, and of _BYTES as MLflow sends them."""
    part: list[T] = []
    size = 0
    for item in items:
        own = 100 + len(json.dumps([item.key, item.value]))
        if part and (len(part) == most or size + own > _BYTES):
            yield part
            part, size = [], 0
        part.append(item)
        size += own
    if part:
        yield part


def _write_ahead(path: Path) -> None:
    """Set a mode in which MLflow's pages can be read while runs are written.

    In it a write does not wait for the disk either, for which the driver's own writes would have to wait too. A power
    cut may cost the last runs, never the file; the next run of the study writes them again.
    """
    with contextlib.closing(sqlite3.connect(path, timeout=20)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    # Of all connections of this process, as MLflow shows none of its own.
    if not event.contains(Engine, "connect", _do_not_wait):
        event.listen(Engine, "connect", _do_not_wait)


def _do_not_wait(connection: Any, _: object) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous=NORMAL")
