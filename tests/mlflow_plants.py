"""What can be wrong with the runs of a study in MLflow: each a function that makes it so, in a store that was right.

They are planted through MlflowClient, and in the tables of the store's SQLite file where no client can."""

from __future__ import annotations

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


def missing_artifact(store):
    (store.artifacts(store.run(1).id) / layout.HISTORY).unlink()


def torn_artifact(store):
    path = store.artifacts(store.run(1).id) / layout.HISTORY
    path.write_bytes(path.read_bytes()[:100])


def missing_artifact_of_the_study(store):
    (store.artifacts(store.parent) / layout.SPEC).unlink()


def deleted_experiment(store):
    store.client.delete_experiment(store.number)


def missing_parameters_of_the_study(store):
    store.sql("delete from params where run_uuid = ?", store.parent)


def another_tag_of_the_study(store):
    store.client.set_tag(store.parent, "hpo.sampler", "another")


# What `sync` says that it did about each.
PLANTS = {
    open_run: "completed and closed 1 run left open",
    run_left_half_open: "completed and closed 1 run left open",
    doubled_open_run: "moved 1 doubled run to MLflow's trash",
    doubled_closed_run: "moved 1 doubled run to MLflow's trash",
    missing_run: "wrote 1 missing run",
    run_of_an_unknown_trial: "took 1 run of no trial of the study out of the study (tag hpo.orphan_of)",
    run_of_no_trial: "took 1 run of no trial of the study out of the study (tag hpo.orphan_of)",
    run_of_another_trial: "took 1 run with another start",
    run_with_another_parameter: "took 1 run with another start",
    run_of_another_trial_and_one_in_the_trash: "took 1 run with another start",
    doubled_run_of_another_trial: "took 1 run with another start",
    open_parent: "closed 1 parent run left open",
    doubled_parent: "moved 1 doubled parent run to MLflow's trash",
    parent_in_the_trash: "wrote 1 missing parent run",
    missing_parent: "wrote 1 missing parent run",
    parent_that_ended_otherwise: "corrected 1 parent run",
    missing_parameters_of_the_study: "corrected 1 parent run",
    another_tag_of_the_study: "corrected 1 parent run",
    run_below_another_parent: "moved 1 run below another parent below the study's parent run",
    another_status: "corrected 1 run with another status",
    another_end: "corrected 1 run with another status",
    another_state: "corrected 1 run with another status",
    a_tag_too_many: "corrected 1 run with another status",
    a_missing_parameter: "completed 1 run that lacks parameters, metrics or files",
    another_final_value: "took 1 run with another start",
    another_value_of_a_step: "took 1 run with another start",
    missing_last_points: "completed 1 run that lacks parameters, metrics or files",
    a_missing_metric: "completed 1 run that lacks parameters, metrics or files",
    a_missing_point_in_the_middle: "completed 1 run that lacks parameters, metrics or files",
    missing_artifact: "completed 1 run that lacks parameters, metrics or files",
    torn_artifact: "completed 1 run that lacks parameters, metrics or files",
    missing_artifact_of_the_study: "corrected 1 parent run",
    deleted_experiment: "had been deleted; it was restored",
}
# Differences that one search does not tell, so that only `sync` finds them; the second on a server alone.
BEYOND_A_SEARCH = {missing_artifact, torn_artifact, missing_artifact_of_the_study, another_tag_of_the_study}
BEYOND_A_SEARCH_ON_A_SERVER = {a_missing_point_in_the_middle}


def plants(on_server: bool) -> list:
    """Parameters for a test: of plants that `sync` says the same of, the first is fast. Most on a server are slow."""
    seen: list[str] = []
    given = []
    for plant, said in PLANTS.items():
        fast_on_server = plant in (open_run, missing_run, another_final_value, a_missing_point_in_the_middle)
        slow = not fast_on_server if on_server else said in seen
        given.append(pytest.param(plant, id=plant.__name__, marks=[pytest.mark.slow] if slow else []))
        seen.append(said)
    return given
