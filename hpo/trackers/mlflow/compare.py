"""Differences between a study and its runs in MLflow.

The study is Optuna's trials, the history files and the trials' folders. Nothing is written here:
`hpo.trackers.mlflow.sync` removes the differences that are found.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from hpo import layout
from hpo.errors import HpoError
from hpo.storage import history
from hpo.storage.histories import Histories
from hpo.storage.readonly import engine_options
from hpo.storage.trial_attributes import JOB, params_of
from hpo.trackers.mlflow import place, records
from hpo.trackers.mlflow.client import client_of, files_of, ranked, reader_of, reason, search
from hpo.trackers.mlflow.summary import is_own_note, summary_of

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient
    from optuna.trial import FrozenTrial

    from hpo.spec.models import StudySpec

# Clocks are read once for a start and an end, and MLflow keeps milliseconds: more than this is another moment.
_SAME_MOMENT = 1000
# A server is asked for one run at a time, and a far one is waited for.
_PARALLEL_REQUESTS = 8

# Name, step, and the value as `_stored` spells it. The time is left out: that of a restored step may be a guess.
_Value = tuple[str, int, str]


class Kind(Enum):
    """Kinds of differences.

    `one` and `several` are the words for them, `done` says what `sync` has done about them (empty: it is said
    elsewhere). A run is counted once, under the first kind that fits; one that is below another parent is counted for
    that too.
    """

    def __init__(self, one: str, several: str, done: str) -> None:
        self.one, self.several, self.done = one, several, done

    EXPERIMENT_DELETED = ("deleted experiment", "deleted experiments", "")
    PARENT_MISSING = ("missing parent run", "missing parent runs", "wrote {}")
    PARENT_DOUBLED = ("doubled parent run", "doubled parent runs", "moved {} to MLflow's trash")
    PARENT_OPEN = ("parent run left open", "parent runs left open", "closed {}")
    PARENT_CHANGED = (
        "parent run with another status, other tags or other files",
        "parent runs with another status, other tags or other files",
        "corrected {}",
    )
    UNKNOWN = (
        "run of no trial of the study",
        "runs of no trial of the study",
        "took {} out of the study (tag hpo.orphan_of)",
    )
    OTHER = (
        "run with another start, other parameters or other values than its trial",
        "runs with another start, other parameters or other values than their trials",
        "took {} out of the study (tag hpo.orphan_of) and wrote it anew",
    )
    BEYOND = (
        "run of a trial that is not among the best",
        "runs of trials that are not among the best",
        "moved {} to MLflow's trash",
    )
    MISSING = ("missing run", "missing runs", "wrote {}")
    DOUBLED = ("doubled run", "doubled runs", "moved {} to MLflow's trash")
    OPEN = ("run left open", "runs left open", "completed and closed {}")
    CHANGED = (
        "run with another status, another end or other tags than its trial",
        "runs with another status, another end or other tags than their trials",
        "corrected {}",
    )
    INCOMPLETE = (
        "run that lacks parameters, metrics or files",
        "runs that lack parameters, metrics or files",
        "completed {}",
    )
    MISPLACED = ("run below another parent", "runs below another parent", "moved {} below the study's parent run")


@dataclass
class Differences:
    """Differences of the runs from the study.

    counts: how many runs there are of each kind. remove: runs that are no longer to be the study's. gaps: by run ID,
    what a run lacks that is to be written again. clear: tags to remove, as (run ID, name). unlisted: why the files of
    the runs could not be listed, empty if they could.
    """

    counts: Counter[Kind] = field(default_factory=Counter)
    remove: dict[str, Run] = field(default_factory=dict)
    gaps: dict[str, records.Gaps] = field(default_factory=dict)
    clear: list[tuple[str, str]] = field(default_factory=list)
    unlisted: str = ""

    def found(self) -> list[str]:
        """Return the differences in words, such as `2 missing runs`."""
        return [_counted(kind, self.counts[kind]) for kind in Kind if self.counts[kind]]

    def done(self) -> list[str]:
        """Return in words what removing the differences did, such as `wrote 2 missing runs`."""
        there = [kind for kind in Kind if self.counts[kind] and kind.done]
        return [kind.done.format(_counted(kind, self.counts[kind])) for kind in there]


def _counted(kind: Kind, number: int) -> str:
    return f"{number} {kind.one if number == 1 else kind.several}"


@dataclass(frozen=True)
class Store:
    """The runs of a study in a store.

    client: None of a SQLite file that is not there. deleted: the experiment is in MLflow's trash. steps: numbers of
    steps by (run ID, metric) if one query tells them, else None.
    """

    client: MlflowClient | None = None
    uri: str = ""
    runs: Sequence[Run] = ()
    deleted: bool = False
    steps: Mapping[tuple[str, str], int] | None = None


def read_store(uri: str, experiment: str, key: str, readonly: bool = False) -> Store:
    """Read the runs that carry a study's key; `readonly`: its client will not write.

    Raises:
        HpoError: The runs are in an experiment that has been renamed since.
        Exception: The store cannot be read; each store raises its own classes.
    """
    if place.is_missing_file(uri):  # a client would make it
        return Store(uri=uri)
    client = (reader_of if readonly else client_of)(uri)
    found = client.get_experiment_by_name(experiment)
    if found is None:
        _check_not_renamed(client, experiment, key)
        return Store(client, uri)
    runs = list(search(client, found.experiment_id, key))
    return Store(client, uri, runs, found.lifecycle_stage == "deleted", _numbers_of_steps(uri, key))


def _check_not_renamed(client: MlflowClient, experiment: str, key: str) -> None:
    names = {found.experiment_id: found.name for found in client.search_experiments()}
    run = next(search(client, list(names), key), None) if names else None
    if run is not None:
        raise HpoError(
            f"MLflow's experiment of the study is called '{names[run.info.experiment_id]}' now rather than "
            f"'{experiment}': rename it back in MLflow, or put the new name under `mlflow: {{experiment: NAME}}` in "
            "study.yaml"
        )


def _numbers_of_steps(uri: str, key: str) -> Mapping[tuple[str, str], int] | None:
    """Count the steps of all metrics by one query; None of a server, which has no such request."""
    if place.is_server(uri):
        return None
    query = text(
        "select m.run_uuid, m.key, count(distinct m.step) from metrics m join tags t on t.run_uuid = m.run_uuid "
        "where t.key = :tag and t.value = :study group by m.run_uuid, m.key"
    )
    try:
        with create_engine(uri, **engine_options(uri)).connect() as connection:
            found = connection.execute(query, {"tag": records.KEY, "study": key})
            return {(run, name): number for run, name, number in found}
    except SQLAlchemyError:  # a store with other tables
        return None


def compare(
    directory: Path,
    spec: StudySpec,
    trials: Sequence[FrozenTrial],
    store: Store,
    thorough: bool,
    driven: bool = False,
) -> Differences:
    """Compare a study with its runs.

    A run's own tags, metrics of other names and files of other names are a user's: they are no difference. Nor is a
    trial whose run a user moved to MLflow's trash.

    Args:
        directory: The study's folder.
        spec: Its study.yaml.
        trials: All its trials.
        store: Its runs.
        thorough: False compares only what the search for the runs tells: no files, nothing that `hpo run` changes
            from run to run (the parent's tags), and on a server only the last value of each metric.
        driven: The study runs now, so that its parent run must be open.
    """
    return _Comparison(directory, spec, trials, store, thorough, driven).result()


class _Comparison:
    def __init__(
        self,
        directory: Path,
        spec: StudySpec,
        trials: Sequence[FrozenTrial],
        store: Store,
        thorough: bool,
        driven: bool,
    ) -> None:
        self._driven = driven
        self._directory = directory
        self._spec = spec
        self._standings = records.standings(directory)
        self._trials = {trial.number: trial for trial in trials}
        self._histories = Histories(directory, trials)
        self._summary = summary_of(spec, trials)
        self._store = store
        self._thorough = thorough
        self._found = Differences()
        self._children: dict[int, list[Run]] = {}
        self._parents: list[Run] = []
        for run in store.runs:
            number = records.trial_of(run.data.tags)
            if number is not None:
                self._children.setdefault(number, []).append(run)
            elif run.data.tags.get(records.KIND) == records.STUDY_KIND:
                self._parents.append(run)
            elif _is_active(run):
                self._remove(Kind.UNKNOWN, run)

    def result(self) -> Differences:
        """Return all differences."""
        # A study without tracking lacks no runs, unless somebody asks for them.
        wanted = self._thorough or self._spec.mlflow is not None
        shown = self._summary.shown
        kept: list[tuple[FrozenTrial, Run]] = []
        for number, found in self._children.items():
            trial = self._trials.get(number)
            if trial is None or trial.state.name == "WAITING":
                for run in filter(_is_active, found):
                    self._remove(Kind.UNKNOWN, run)
            elif trial.state.is_finished() and not shown.has(number):
                self._found.counts[Kind.BEYOND] += any(map(_is_active, found))
            elif trial.state.is_finished() and (own := self._own_run(trial, found)) is not None:
                kept.append((trial, own))
        for trial in self._trials.values():
            if trial.state.is_finished():
                started = shown.has(trial.number)
            else:
                started = self._thorough and JOB in trial.user_attrs and shown.most is None
            if wanted and started and not any(map(_is_not_beyond, self._children.get(trial.number, ()))):
                self._found.counts[Kind.MISSING] += 1
        missing = self._missing_files(self._folders(kept))
        for trial, run, gaps in self._with_gaps(kept):
            self._compare_run(trial, run, gaps, missing.get(run.info.run_id, frozenset()))
        self._compare_parents(kept, wanted, missing)
        return self._found

    def _remove(self, kind: Kind, run: Run) -> None:
        self._found.remove[run.info.run_id] = run
        self._found.counts[kind] += 1

    # --- trials

    def _own_run(self, trial: FrozenTrial, found: Sequence[Run]) -> Run | None:
        """Choose the run that stays a finished trial's; None if it has none, or a user deleted it."""
        active = [run for run in ranked(found) if _is_active(run)]
        own = [run for run in active if not self._is_other_trial(trial, run)]
        for run in active:
            if run not in own:
                self._replace(run, found if not own else [run])
        self._found.counts[Kind.DOUBLED] += len(own[1:])
        return own[0] if own else None

    def _replace(self, run: Run, others: Sequence[Run]) -> None:
        """Note that a run is to be written anew, and remove others of its trial.

        One of them would be taken for the trial's, and one in MLflow's trash for a user's wish to have none.
        """
        self._remove(Kind.OTHER, run)
        self._found.remove |= {other.info.run_id: other for other in others}

    def _is_other_trial(self, trial: FrozenTrial, run: Run) -> bool:
        """Return True if the run differs in what MLflow lets nobody change: its start and its parameters."""
        if abs(run.info.start_time - records.milliseconds(records.started(trial))) > _SAME_MOMENT:
            return True
        params = records.flat(params_of(trial, self._spec.space))
        return any(run.data.params.get(name, value) != value for name, value in params.items())

    def _with_gaps(
        self, kept: Sequence[tuple[FrozenTrial, Run]]
    ) -> Iterator[tuple[FrozenTrial, Run, frozenset[tuple[str, int]] | None]]:
        """Yield each run with the points that it lacks, as (name, step); None if it has another value of one."""

        def gaps_of(one: tuple[FrozenTrial, Run]) -> frozenset[tuple[str, int]] | None:
            return self._missing_points(*one)

        if self._store.steps is not None:
            for trial, run in kept:
                yield trial, run, gaps_of((trial, run))
            return
        with ThreadPoolExecutor(_PARALLEL_REQUESTS) as pool:
            for (trial, run), gaps in zip(kept, pool.map(gaps_of, kept), strict=True):
                yield trial, run, gaps

    def _missing_points(self, trial: FrozenTrial, run: Run) -> frozenset[tuple[str, int]] | None:
        folder = layout.trial_directory(self._directory, trial.number)
        truth = _points_of(trial, self._spec, self._histories.rows(trial), folder)
        if truth is None:
            return frozenset()
        points, replaced = truth
        on_server = self._store.steps is None
        if _looks_equal(points, run, self._store.steps) and not (self._thorough and on_server):
            return frozenset()
        assert self._store.client is not None  # it gave the run
        names = {name for name, _, _ in points}
        there = _values(_points_in(self._store.client, run, names & run.data.metrics.keys()))
        slots = {(name, step) for name, step, _ in points}
        if any((name, step) in slots for name, step, _ in there - points - replaced):
            return None
        return frozenset((name, step) for name, step, _ in points - there)

    def _compare_run(
        self, trial: FrozenTrial, run: Run, points: frozenset[tuple[str, int]] | None, files: frozenset[str]
    ) -> None:
        run_id = run.info.run_id
        if points is None:
            self._replace(run, self._children[trial.number])
            return
        due = records.trial_tags(trial, self._spec, self._standings)
        extra = [tag for tag in records.TRIAL_TAGS - due.keys() if tag in run.data.tags]
        params = records.flat(params_of(trial, self._spec.space)).keys() - run.data.params.keys()
        kind = None
        if run.info.status == "RUNNING":
            kind = Kind.OPEN
        elif extra or self._ended_otherwise(trial, run) or _differ(due, run):
            kind = Kind.CHANGED
        elif points or params or files or self._lacks_diagnosis(trial, run):
            kind = Kind.INCOMPLETE
        if kind is not None:
            self._found.counts[kind] += 1
            self._found.gaps[run_id] = records.Gaps(points, files)
            self._found.clear += [(run_id, tag) for tag in extra]

    def _ended_otherwise(self, trial: FrozenTrial, run: Run) -> bool:
        apart = (run.info.end_time or 0) - records.milliseconds(records.finished(trial))
        return bool(run.info.status != records.status(trial)) or abs(apart) > _SAME_MOMENT

    def _lacks_diagnosis(self, trial: FrozenTrial, run: Run) -> bool:
        files = records.artifacts(layout.trial_directory(self._directory, trial.number), layout.DIAGNOSES)
        return bool(self._thorough and files and records.diagnosed(files) != run.data.tags.get(records.DIAGNOSED))

    # --- the parent

    def _compare_parents(
        self, kept: Sequence[tuple[FrozenTrial, Run]], wanted: bool, missing: Mapping[str, frozenset[str]]
    ) -> None:
        counts = self._found.counts
        active = [run for run in ranked(self._parents, self._named(kept)) if _is_active(run)]
        if not active:
            if self._store.deleted:
                counts[Kind.EXPERIMENT_DELETED] = 1
            elif self._store.runs or (wanted and self._trials):
                counts[Kind.PARENT_MISSING] = 1
            return
        parent, *others = active
        counts[Kind.PARENT_DOUBLED] = len(others)
        due = "RUNNING" if self._driven else records.study_status(self._spec, self._trials.values())
        tags = self._summary.tags()
        if not is_own_note(parent.data.tags.get(records.NOTE, "")):
            del tags[records.NOTE]
        if parent.info.status == "RUNNING" and not self._driven:
            counts[Kind.PARENT_OPEN] = 1
        # Without a run since, one that had finished may have been extended.
        elif (
            parent.info.status not in ((due,) if self._thorough else (due, "FINISHED"))
            or records.study_params(self._spec).keys() - parent.data.params.keys()
            or (self._thorough and (_differ(tags, parent) or missing.get(parent.info.run_id)))
        ):
            counts[Kind.PARENT_CHANGED] = 1
        for _, run in kept:
            wrong = run.data.tags.get(records.PARENT) != parent.info.run_id
            counts[Kind.MISPLACED] += wrong and run.info.run_id not in self._found.remove

    def _named(self, kept: Sequence[tuple[FrozenTrial, Run]]) -> list[str]:
        return [run.data.tags.get(records.PARENT, "") for _, run in kept]

    # --- files

    def _folders(self, kept: Sequence[tuple[FrozenTrial, Run]]) -> Iterator[tuple[Run, list[Path]]]:
        for trial, run in kept:
            folder = layout.trial_directory(self._directory, trial.number)
            # A damaged history must not take the place of the one that MLflow has.
            if not _lacks_steps(trial, self._spec, self._histories.rows(trial)):
                yield run, records.artifacts(folder, records.ARTIFACTS)
        for run in filter(_is_active, self._parents):
            yield run, records.artifacts(self._directory, records.STUDY_ARTIFACTS)

    def _missing_files(self, wanted: Iterable[tuple[Run, list[Path]]]) -> dict[str, frozenset[str]]:
        """List by run ID the files that MLflow lacks, or has cut short."""
        if not self._thorough:
            return {}

        def missing(one: tuple[Run, list[Path]]) -> frozenset[str]:
            run, files = one
            there = files_of(self._store.uri, run)
            return frozenset(
                file.name for file in files if file.name not in there or (there[file.name] or 0) < file.stat().st_size
            )

        asked = [one for one in wanted if one[1]]
        try:
            with ThreadPoolExecutor(_PARALLEL_REQUESTS) as pool:
                return {one[0].info.run_id: names for one, names in zip(asked, pool.map(missing, asked), strict=True)}
        except Exception as error:  # each store of artifacts raises its own classes
            self._found.unlisted = reason(error)
            return {}


def _is_active(run: Run) -> bool:
    return bool(run.info.lifecycle_stage != "deleted")


def _is_not_beyond(run: Run) -> bool:
    """Return True unless the run is in MLflow's trash because its trial was not among the best."""
    return _is_active(run) or records.BEYOND not in run.data.tags


def _differ(tags: Mapping[str, str], run: Run) -> bool:
    return not all(run.data.tags.get(name) == value for name, value in tags.items())


# --- points


def _points_of(
    trial: FrozenTrial, spec: StudySpec, rows: Sequence[history.Step], folder: Path
) -> tuple[frozenset[_Value], frozenset[_Value]] | None:
    """Return what the run of a finished trial must have, and what it may have besides.

    The latter are values that later rows of the same step replaced. None if the history lacks steps that Optuna has:
    then it is damaged, and proves nothing.
    """
    if _lacks_steps(trial, spec, rows):
        return None
    points = records.ended_points(trial, spec, rows, folder)
    replaced = (point for row in rows for point in records.points_of([row]))
    return _values(points), _values(replaced)


def _lacks_steps(trial: FrozenTrial, spec: StudySpec, rows: Iterable[history.Step]) -> bool:
    return bool(history.lacking(rows, trial.intermediate_values, spec.metrics[0].name))


def _looks_equal(points: Iterable[_Value], run: Run, steps: Mapping[tuple[str, str], int] | None) -> bool:
    """Compare what a search tells of a run: the last value of each metric, and the numbers of steps if known."""
    last: dict[str, _Value] = {}
    number: Counter[str] = Counter()
    for point in sorted(points, key=lambda point: point[1]):
        last[point[0]] = point
        number[point[0]] += 1
    # `run.data.metrics` does not tell the steps.
    there = {metric.key: (metric.key, metric.step, _stored(metric.value)) for metric in run.data.to_proto().metrics}
    if any(there.get(name) != point for name, point in last.items()):
        return False
    return steps is None or all(steps.get((run.info.run_id, name)) == count for name, count in number.items())


def _points_in(client: MlflowClient, run: Run, names: Iterable[str]) -> Iterator[records.Point]:
    for name in sorted(names):
        for point in client.get_metric_history(run.info.run_id, name):
            yield records.Point(name, point.value, point.timestamp, point.step)


def _values(points: Iterable[records.Point]) -> frozenset[_Value]:
    return frozenset((point.name, point.step, _stored(point.value)) for point in points)


def _stored(value: float) -> str:
    """Spell a value as MLflow stores it: an infinity as the largest number, and -0.0 as SQLite does, 0.0.

    Text, since NaN is not equal to itself.
    """
    finite = value if math.isnan(value) else math.copysign(min(abs(value), sys.float_info.max), value)
    return repr(finite + 0.0)
