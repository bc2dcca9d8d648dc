"""What can be wrong with the runs of a study in MLflow: each a function that makes it so, in a store that was right.

They are planted through MlflowClient, and in the tables of the store's SQLite file where no client can."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow_reading import Read, children_of, parent_of

from hpo import layout
from hpo.trackers.mlflow import place


@dataclass(frozen=True)
class Store:
    """client: MLflow's. file: the SQLite file below it. artifacts: the folder of a run's files, by its id. found: the
    runs, as they were."""

    client: object
    uri: str
    experiment: str
    file: Path
    artifacts: Callable[[str], Path]
    runs: Path
    found: Sequence[Read]

    @property
    def number(self) -> str:
        return self.client.get_experiment_by_name(self.experiment).experiment_id

    @property
    def key(self) -> str:
        return place.read_place(self.runs / "toy").key

    @property
    def parent(self) -> str:
        return parent_of(self.found).id

    def run(self, trial: int) -> Read:
        return children_of(self.found)[trial]

    def another(self, trial: int, start: int | None = None, closed: bool = True, **params: str) -> str:
        """A second run of a trial."""
        like = self.run(trial)
        made = self.client.create_run(self.number, start_time=start or like.start, tags=like.tags).info.run_id
        for name, value in (like.params | params).items():
            self.client.log_param(made, name, value)
        if closed:
            self.client.set_terminated(made, like.status, end_time=like.end)
        return made

    def sql(self, statement: str, *values: object) -> None:
        with closing(sqlite3.connect(self.file, timeout=60)) as database, database:
            database.execute(statement, values)


def open_run(store):
    store.client.update_run(store.run(1).id, status="RUNNING")


def run_left_half_open(store):
    """Its points, all but the first ones, and its end were never written."""
    run = store.run(1)
    store.client.update_run(run.id, status="RUNNING")
    store.sql("delete from metrics where run_uuid = ? and key <> 'other'", run.id)
    store.sql("delete from latest_metrics where run_uuid = ? and key <> 'other'", run.id)


def doubled_open_run(store):
    store.another(1, closed=False)


def doubled_closed_run(store):
    store.another(1)


def missing_run(store):
    store.client.set_tag(store.run(1).id, "hpo.key", "elsewhere")


def run_of_an_unknown_trial(store):
    made = store.another(1, closed=False)
    store.client.set_tag(made, "hpo.trial", "99")
    store.client.log_metric(made, "score", 0.9)


def run_of_no_trial(store):
    made = store.another(1)
    store.client.set_tag(made, "hpo.trial", "the best")


def run_of_another_trial(store):
    missing_run(store)
    store.another(1, start=1_600_000_000_000)


def run_with_another_parameter(store):
    missing_run(store)
    store.another(1, x="0.987")


def run_of_another_trial_and_one_in_the_trash(store):
    store.client.delete_run(store.run(1).id)
    store.another(1, start=1_600_000_000_000)


def doubled_run_of_another_trial(store):
    store.another(1, start=1_600_000_000_000)


def open_parent(store):
    store.client.update_run(store.parent, status="RUNNING")


def doubled_parent(store):
    like = parent_of(store.found)
    made = store.client.create_run(store.number, start_time=like.start, tags=like.tags).info.run_id
    store.client.set_terminated(made, like.status)


def parent_in_the_trash(store):
    store.client.delete_run(store.parent)


def missing_parent(store):
    store.client.delete_tag(store.parent, "hpo.key")


def parent_that_ended_otherwise(store):
    store.client.set_terminated(store.parent, "FAILED")


def run_below_another_parent(store):
    store.client.set_tag(store.run(1).id, "mlflow.parentRunId", "0" * 32)


def another_status(store):
    store.client.set_terminated(store.run(1).id, "FAILED", end_time=store.run(1).end)


def another_end(store):
    store.client.set_terminated(store.run(1).id, store.run(1).status)
    store.sql("update runs set end_time = end_time + 60000 where run_uuid = ?", store.run(1).id)


def another_state(store):
    store.client.set_tag(store.run(1).id, "hpo.state", "FAIL")


def a_tag_too_many(store):
    store.client.set_tag(store.run(1).id, "hpo.requeued", "true")


def a_missing_parameter(store):
    store.sql("delete from params where run_uuid = ?", store.run(1).id)


def another_final_value(store):
    store.client.log_metric(store.run(1).id, "final/score", 9.0, timestamp=store.run(1).end, step=0)


def another_value_of_a_step(store):
    store.client.log_metric(store.run(1).id, "other", 5.0, timestamp=store.run(1).end, step=9)


def missing_last_points(store):
    run = store.run(1)
    store.sql("delete from metrics where run_uuid = ? and key = 'score' and step > 6", run.id)
    store.sql("update latest_metrics set step = 6 where run_uuid = ? and key = 'score'", run.id)
    (value,) = [value for step, _, value in run.metrics["score"] if step == 6]
    store.sql("update latest_metrics set value = ? where run_uuid = ? and key = 'score'", value, run.id)


def a_missing_metric(store):
    for table in ("metrics", "latest_metrics"):
        store.sql(f"delete from {table} where run_uuid = ? and key = 'other'", store.run(1).id)


def a_missing_point_in_the_middle(store):
    store.sql("delete from metrics where run_uuid = ? and key = 'score' and step = 4", store.run(1).id)


def a_metric_that_the_history_lost(store):
    path = layout.trial_directory(store.runs / "toy", 1) / layout.HISTORY
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        del row["metrics"]["other"]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def missing_artifact(store):
    (store.artifacts(store.run(1).id) / layout.HISTORY).unlink()


def torn_artifact(store):
    path = store.artifacts(store.run(1).id) / layout.HISTORY
    path.write_bytes(path.read_bytes()[:100])


def missing_artifact_of_the_study(store):
    (store.artifacts(store.parent) / layout.SPEC).unlink()


def deleted_experiment(store):
    store.client.delete_experiment(store.number)


# The kinds of findings that each leads to, all of which are mended; those that only a database can be asked for.
PLANTS = {
    open_run: {"open-run"},
    run_left_half_open: {"open-run"},
    doubled_open_run: {"doubled-run"},
    doubled_closed_run: {"doubled-run"},
    missing_run: {"missing-run"},
    run_of_an_unknown_trial: {"unknown-trial"},
    run_of_no_trial: {"unknown-run"},
    run_of_another_trial: {"other-trial"},
    run_with_another_parameter: {"other-trial"},
    run_of_another_trial_and_one_in_the_trash: {"other-trial"},
    doubled_run_of_another_trial: {"other-trial"},
    open_parent: {"open-parent"},
    doubled_parent: {"doubled-parent"},
    parent_in_the_trash: {"missing-parent"},
    missing_parent: {"missing-parent"},
    parent_that_ended_otherwise: {"study-status"},
    run_below_another_parent: {"wrong-parent"},
    another_status: {"ended-otherwise"},
    another_end: {"ended-otherwise"},
    another_state: {"ended-otherwise"},
    a_tag_too_many: {"ended-otherwise"},
    a_missing_parameter: {"ended-otherwise"},
    another_final_value: {"values"},
    another_value_of_a_step: {"values"},
    missing_last_points: {"points"},
    a_missing_metric: {"points"},
    a_missing_point_in_the_middle: {"points"},
    a_metric_that_the_history_lost: {"more"},
    missing_artifact: {"artifacts"},
    torn_artifact: {"artifacts"},
    missing_artifact_of_the_study: {"study-artifacts"},
    deleted_experiment: {"experiment-deleted"},
}
OF_DATABASES = {a_missing_point_in_the_middle}


def plants(of_databases: bool) -> list:
    """For parametrize: of those that lead to the same findings, the first is in `make test`. A server's are slow."""
    seen: list[set[str]] = []
    given = []
    for plant, kinds in PLANTS.items():
        if of_databases or plant not in OF_DATABASES:
            slow = kinds in seen or not (of_databases or plant in (open_run, missing_run, another_final_value))
            given.append(pytest.param(plant, id=plant.__name__, marks=[pytest.mark.slow] if slow else []))
            seen.append(kinds)
    return given
