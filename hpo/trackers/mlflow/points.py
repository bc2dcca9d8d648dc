"""Whether the metrics of a run in MLflow are those of its trial: what the trial's history and its outcome make of it,
against what the store has."""

from __future__ import annotations

import contextlib
import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from hpo import layout
from hpo.storage import history
from hpo.trackers.mlflow import records
from hpo.trackers.mlflow.place import is_server

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient
    from optuna.trial import FrozenTrial

    from hpo.spec.models import StudySpec

# name, step, and the value as `_kept` spells it. Not the time: of steps that were brought back it may be a guess.
Written = tuple[str, int, str]


@dataclass(frozen=True)
class Truth:
    """points: what the run must have. allowed: what it may have beside them: rows that later ones of the same step
    replaced, which a run gets while its trial is running. steps, reported: steps and names of the history."""

    points: frozenset[Written]
    allowed: frozenset[Written]
    steps: frozenset[int]
    reported: frozenset[str]

    @property
    def names(self) -> set[str]:
        return {name for name, _, _ in self.points | self.allowed}


@dataclass(frozen=True)
class Difference:
    """missing: of the truth, in the run. other: in the run, where the truth has another value. more: in the run, of
    steps and metrics that the truth does not have."""

    missing: frozenset[Written]
    other: frozenset[Written]
    more: frozenset[Written]


def truth_of(trial: FrozenTrial, spec: StudySpec, folder: Path) -> Truth:
    """Of a finished trial, whose folder is given."""
    path = folder / layout.HISTORY
    steps = history.read(path)
    reported = {records.name_of(name) for step in steps for name in step.metrics}
    points = records.points_of(steps) + records.final_points(trial, spec, reported)
    return Truth(
        _written(points), _written(_all_rows(path)), frozenset(step.step for step in steps), frozenset(reported)
    )


def counts_of(uri: str, key: str) -> Mapping[tuple[str, str], int] | None:
    """How many steps the runs of a study have, by run and name, where one question tells: of a database. None of a
    server, which would have to be asked for each metric of each run."""
    if is_server(uri):
        return None
    asked = text(
        "select m.run_uuid, m.key, count(distinct m.step) from metrics m join tags t on t.run_uuid = m.run_uuid "
        "where t.key = :tag and t.value = :study group by m.run_uuid, m.key"
    )
    try:
        with create_engine(uri, poolclass=NullPool).connect() as connection:
            found = connection.execute(asked, {"tag": records.KEY, "study": key})
            return {(run, name): number for run, name, number in found}
    except SQLAlchemyError:  # a store that keeps them otherwise
        return None


def looks_the_same(truth: Truth, run: Run, counts: Mapping[tuple[str, str], int] | None) -> bool:
    """By what a search tells of a run: the last value of each metric that it should have, and how many steps where
    that is known."""
    last: dict[str, Written] = {}
    number: dict[str, int] = {}
    for point in sorted(truth.points, key=lambda point: point[1]):
        last[point[0]] = point
        number[point[0]] = number.get(point[0], 0) + 1
    there = {metric.name: metric for metric in last_points(run)}
    if any(name not in there or _one(there[name]) != point for name, point in last.items()):
        return False
    return counts is None or all(counts.get((run.info.run_id, name)) == count for name, count in number.items())


def last_points(run: Run) -> list[records.Point]:
    """The last of each metric; `run.data.metrics` does not tell its step."""
    return [
        records.Point(metric.key, metric.value, metric.timestamp, metric.step) for metric in run.data.to_proto().metrics
    ]


def difference(client: MlflowClient, truth: Truth, run: Run) -> Difference:
    """Of a run that does not look the same: asks for every point of it."""
    there = _written(points_in(client, run.info.run_id, run.data.metrics))
    beside = there - truth.points - truth.allowed
    slots = {point[:2] for point in truth.points | truth.allowed}
    other = frozenset(point for point in beside if point[:2] in slots)
    return Difference(truth.points - there, other, beside - other)


def points_in(client: MlflowClient, run_id: str, names: Iterable[str]) -> list[records.Point]:
    """All that a run has under these names."""
    return [
        records.Point(name, point.value, point.timestamp, point.step)
        for name in sorted(names)
        for point in client.get_metric_history(run_id, name)
    ]


def _written(points: Iterable[records.Point]) -> frozenset[Written]:
    return frozenset(map(_one, points))


def _one(point: records.Point) -> Written:
    return point.name, point.step, _kept(point.value)


def _kept(value: float) -> str:
    """As MLflow keeps a value: an infinity as the largest number. Text, since NaN is not equal to itself."""
    return repr(math.copysign(min(abs(value), sys.float_info.max), value) if not math.isnan(value) else value)


def _all_rows(path: Path) -> Iterator[records.Point]:
    """Every row of a history file, in place of the last of each step."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
            row = json.loads(line)
            metrics = {name: float(value) for name, value in row["metrics"].items()}
            yield from records.points_of([history.Step(row["step"], row["time"], row["attempt"], metrics)])
