"""What MLflow has of a study when the study's own files are lost: where its runs are, and the history of a trial."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hpo import layout
from hpo.errors import HpoError
from hpo.storage import history
from hpo.text import redact
from hpo.trackers.mlflow import place, records
from hpo.trackers.mlflow.client import client_of, infinite, ranked, reason, search
from hpo.trackers.mlflow.points import points_in

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient
    from optuna.trial import FrozenTrial

    from hpo.spec.models import StudySpec


def find_place(runs: Path, spec: StudySpec, trials: Iterable[FrozenTrial]) -> place.Place | None:
    """Where the runs of a study are whose note of it is gone: runs of its name that started when its trials did. None
    if there are none where study.yaml says that they would be.

    Raises HpoError when MLflow cannot be read."""
    uri, experiment = place.tracking_uri(spec, runs), place.experiment_name(spec)
    if place.is_missing_file(uri):
        return None
    starts = {(trial.number, records.milliseconds(records.started(trial))) for trial in trials if trial.datetime_start}
    taken = {
        noted.key
        for other in layout.studies_in(runs)
        if other != spec.name and (noted := place.read_place(runs / other)) is not None
    }
    seen: dict[str, list[bool]] = {}
    try:
        client = client_of(uri)
        found = client.get_experiment_by_name(experiment)
        for run in search(client, found.experiment_id, spec.name, tag=records.STUDY) if found else ():
            number, key = records.trial_of(run.data.tags), run.data.tags.get(records.KEY, "")
            if number is not None and key and key not in taken:
                seen.setdefault(key, []).append((number, run.info.start_time) in starts)
    except Exception as error:  # each store raises its own classes
        raise HpoError(f"MLflow at {redact(uri)} cannot be read: {reason(error)}") from error
    # A study of that name which was deleted and made anew left runs that started at other times.
    best = max(seen, key=lambda key: sum(seen[key]), default=None)
    if best is None or 2 * sum(seen[best]) <= len(seen[best]):
        return None
    return place.Place(best, redact(uri), experiment)


def metrics_of(runs: Path, spec: StudySpec, number: int) -> list[history.Step] | None:
    """The whole history of a finished trial as MLflow has it, with all metrics. None where it has no closed run of
    the trial, no metrics of it, or a metric under a name that was changed for MLflow and cannot be told back.

    Raises HpoError when MLflow cannot be read: it may have what would be lost."""
    directory = layout.study_directory(runs, spec.name)
    known = place.read_place(directory)
    if known is None:
        return None
    uri = place.written_uri(spec, runs, known)
    if place.is_missing_file(uri):
        return None
    try:
        client = client_of(uri)
        run = _run_of(client, known, number)
        if run is None:
            return None
        points = _reported(points_in(client, run.info.run_id, run.data.metrics), run)
        kept = _kept_history(client, run, points)
    except Exception as error:  # each store raises its own classes
        raise HpoError(f"MLflow at {redact(uri)} cannot be read: {reason(error)}") from error
    return kept or _from_points(points, run, _names(directory, spec)) or None


def _run_of(client: MlflowClient, known: place.Place, number: int) -> Run | None:
    experiment = client.get_experiment_by_name(known.experiment)
    if experiment is None:
        return None
    found = ranked(search(client, experiment.experiment_id, known.key, trial=number))
    return found[0] if found and found[0].info.status != "RUNNING" else None


def _reported(points: Iterable[records.Point], run: Run) -> list[records.Point]:
    """Without what hpo adds to a run when it closes it."""
    return [
        point
        for point in points
        if not (
            (point.name.startswith("final/") or point.name in records.ADDED)
            and point.step == 0
            and point.time == run.info.end_time
        )
    ]


def _kept_history(client: MlflowClient, run: Run, points: Sequence[records.Point]) -> list[history.Step]:
    """Of the history file among the run's artifacts, whose names are the objective's own; empty if there is none, or
    if it lacks steps of them that the run has."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            file = client.download_artifacts(run.info.run_id, layout.HISTORY, folder)
        except Exception:  # each store of artifacts raises its own classes
            client.get_run(run.info.run_id)  # raises when the whole store is away
            return []
        steps = history.read(Path(file))
    there = {(point.name, point.step) for point in records.points_of(steps)}
    names = {name for name, _ in there}
    return steps if all((point.name, point.step) in there for point in points if point.name in names) else []


def _from_points(points: Sequence[records.Point], run: Run, names: Mapping[str, str]) -> list[history.Step]:
    rows: dict[int, dict[str, float]] = {}
    times: dict[int, int] = {}
    for point in sorted(points, key=lambda point: (point.step, point.time)):
        name = names.get(point.name, point.name)
        if point.name not in names and re.search("-[0-9a-f]{6}$", point.name):
            return []
        rows.setdefault(point.step, {})[name] = infinite(point.value)
        times[point.step] = point.time
    attempt = int(run.data.tags.get("hpo.attempt", "1"))
    return [history.Step(step, times[step] / 1000, attempt, metrics) for step, metrics in rows.items()]


def _names(directory: Path, spec: StudySpec) -> dict[str, str]:
    """What metrics are called in MLflow, and by the objective: those of study.yaml, and of the trials whose history
    is there."""
    own = {metric.name for metric in spec.metrics}
    for path in layout.trials_directory(directory).glob(f"*/{layout.HISTORY}"):
        for step in history.read(path):
            own |= step.metrics.keys()
    return {records.name_of(name): name for name in own}
