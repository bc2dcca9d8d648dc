"""MLflow's runs as anyone can read them: over HTTP with its REST API, or in the tables of its database."""

from __future__ import annotations

import json
import math
import sqlite3
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from hpo import layout
from hpo.storage import history
from hpo.storage.load_study import load_study
from hpo.storage.trial_attributes import waits

LARGEST = 1.7976931348623157e308  # what MLflow makes of an infinity


@dataclass(frozen=True)
class Read:
    """metrics: name -> sorted (step, milliseconds, value), NaN as None."""

    id: str
    name: str
    status: str
    stage: str
    start: int
    end: int | None
    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, list[tuple[int, int, float | None]]] = field(default_factory=dict)


def in_file(path: Path) -> list[Read]:
    """All runs of a store in a SQLite file, deleted ones too."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
        return _in_tables(database.execute)


def in_postgresql(url: str) -> list[Read]:
    """The same of a store in PostgreSQL."""
    with closing(psycopg.connect(url, autocommit=True)) as database:  # no lock is held from one table to the next
        return _in_tables(database.execute)


def _in_tables(select: Callable[[str], Iterable[Any]]) -> list[Read]:
    runs = {
        row[0]: Read(*row)
        for row in select(
            "select run_uuid, name, status, lifecycle_stage, start_time, end_time from runs order by start_time"
        )
    }
    for run, key, value in select("select run_uuid, key, value from tags"):
        runs[run].tags[key] = value
    for run, key, value in select("select run_uuid, key, value from params"):
        runs[run].params[key] = value
    for run, key, step, time, value, nan in select(
        "select run_uuid, key, step, timestamp, value, is_nan from metrics order by step, timestamp"
    ):
        runs[run].metrics.setdefault(key, []).append((step, time, None if nan else value))
    return list(runs.values())


def over_http(server: str, experiment: str) -> list[Read]:
    """The active runs of an experiment."""
    query = urllib.parse.urlencode({"experiment_name": experiment})
    number = _call(server, f"experiments/get-by-name?{query}")["experiment"]["experiment_id"]
    found = _call(server, "runs/search", {"experiment_ids": [number], "max_results": 1000}).get("runs", [])
    return [_read(server, run["info"], run["data"]) for run in found]


def _read(server: str, info: dict[str, Any], data: dict[str, Any]) -> Read:
    metrics = {}
    for key in sorted({metric["key"] for metric in data.get("metrics", [])}):
        rows = [
            (int(row.get("step", 0)), int(row["timestamp"]), _number(row["value"]))
            for row in _history(server, info["run_id"], key)
        ]
        metrics[key] = sorted(rows, key=lambda row: row[:2])
    return Read(
        info["run_id"],
        info["run_name"],
        info["status"],
        info["lifecycle_stage"],
        int(info["start_time"]),
        int(info["end_time"]) if info.get("end_time") else None,
        {tag["key"]: tag["value"] for tag in data.get("tags", [])},
        {param["key"]: param.get("value", "") for param in data.get("params", [])},
        metrics,
    )


def _history(server: str, run: str, key: str) -> Iterator[dict[str, Any]]:
    token = ""
    while True:
        asked = {"run_id": run, "metric_key": key, "max_results": 10000} | ({"page_token": token} if token else {})
        answer = _call(server, f"metrics/get-history?{urllib.parse.urlencode(asked)}")
        yield from answer.get("metrics", [])
        token = answer.get("next_page_token", "")
        if not token:
            return


def _number(value: Any) -> float | None:
    number = float(value)
    return None if math.isnan(number) else number


def _call(server: str, path: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"{server}/api/2.0/mlflow/{path}", data=data, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=300) as answer:
        return json.load(answer)


def children_of(found: list[Read]) -> dict[int, Read]:
    """The active runs of trials by their numbers, of which none may be there twice."""
    children = [run for run in found if run.tags["hpo.kind"] == "trial" and run.stage == "active"]
    numbers = [int(run.tags["hpo.trial"]) for run in children]
    assert len(set(numbers)) == len(numbers), sorted(numbers)
    return dict(zip(numbers, children, strict=True))


def parent_of(found: list[Read]) -> Read:
    (parent,) = [run for run in found if run.tags["hpo.kind"] == "study" and run.stage == "active"]
    return parent


STATUS = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}


def check_all_is_there(runs: Path, study: str, found: list[Read]) -> dict[int, Read]:
    """Every ended trial has exactly one closed run, and the latest value of each name in each step
    of its history is in it and no other."""
    trials = load_study(runs, study)[1].trials
    children, parent = children_of(found), parent_of(found)
    waiting = children.keys() & {trial.number for trial in trials if waits(trial)}  # they may go on
    assert sorted(children.keys() - waiting) == [trial.number for trial in trials if trial.state.is_finished()]
    assert {children[number].status for number in waiting} <= {"RUNNING"}
    for trial in (trial for trial in trials if trial.state.is_finished()):
        run, outcome = children[trial.number], trial.user_attrs["hpo:outcome"]
        assert run.status == ("KILLED" if outcome["requeued"] else STATUS[trial.state.name])
        assert run.tags["mlflow.parentRunId"] == parent.id
        assert run.tags["hpo.state"] == trial.state.name
        job = trial.user_attrs.get("hpo:job")  # none if its driver died while it asked
        assert run.start == round((job["started"] if job else trial.datetime_start.timestamp()) * 1000)
        assert run.end == round(outcome["finished"] * 1000)
        latest: dict[str, dict[int, tuple[int, int, float | None]]] = {}
        for row in history.rows(layout.trial_directory(runs / study, trial.number) / layout.HISTORY):
            for name, value in row.metrics.items():
                latest.setdefault(name, {})[row.step] = (row.step, round(row.time * 1000), value)
        rows = {name: [steps[step] for step in sorted(steps)] for name, steps in latest.items()}
        own = {name for name in run.metrics if name.startswith("final/")} | {"seconds"}
        assert {name: values for name, values in run.metrics.items() if name not in own} == rows
    return children
