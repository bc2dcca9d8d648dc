"""The audit of a study's runs on a real MLflow server: each mistake is planted, found and mended."""

from __future__ import annotations

import shutil
from contextlib import closing

import psycopg
import pytest
from mlflow_plants import PLANTS, Store, plants
from mlflow_reading import check_all_is_there, children_of, in_postgresql, over_http, parent_of
from servers import PostgreSQL

from hpo import layout, runner
from hpo.errors import HpoError
from hpo.spec.load import load_spec
from hpo.storage import history
from hpo.storage.load_study import load_study
from hpo.trackers.mlflow import place
from hpo.trackers.mlflow.sync import sync


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    return tmp_path_factory.mktemp("once") / "runs"


@pytest.fixture
def ran(study_yaml, runs, once, server, request):
    """A study of three trials, tracked on the server in an experiment of the test's own."""
    experiment = request.node.name
    spec = load_spec(study_yaml(budget={"trials": 3}, mlflow={"tracking_uri": server.url, "experiment": experiment}))
    if not once.exists():
        runner.run(load_spec(study_yaml(budget={"trials": 3})), once)
    shutil.copytree(once, runs)
    (runs / "toy" / layout.SPEC).write_text(spec.to_yaml())
    sync(runs, "toy", pytest.fail)
    return load_study(runs, "toy")


@pytest.fixture
def store(ran, runs, server):
    from mlflow.tracking import MlflowClient

    spec = ran[0]
    found = over_http(server.url, spec.mlflow.experiment)
    client = MlflowClient(server.url)
    number = client.get_experiment_by_name(spec.mlflow.experiment).experiment_id
    folder = server.file.parent / "artifacts" / number
    return Store(
        client, server.url, spec.mlflow.experiment, server.file, lambda run: folder / run / "artifacts", runs, found
    )


def audit(runs, driven=False):
    from hpo.trackers.mlflow.audit import audit as compare

    return compare(runs, *load_study(runs, "toy"), driven)


def own_runs(store):
    return [run for run in over_http(store.uri, store.experiment) if run.tags.get("hpo.key") == store.key]


def check_mended(store):
    assert audit(store.runs) == []
    found = own_runs(store)
    check_all_is_there(store.runs, "toy", found)
    assert parent_of(found).status == "FINISHED"


def test_nothing_is_found_in_what_was_written(store):
    check_mended(store)


@pytest.mark.parametrize("plant", plants(of_databases=False))
def test_each_mistake_is_found_and_mended_on_a_server(store, plant):
    plant(store)
    faults = audit(store.runs)
    assert {fault.kind for fault in faults} == PLANTS[plant]
    # To mend all of them by the first, and then by each again, does no harm.
    if PLANTS[plant] == {"more"}:  # the history's, not MLflow's
        (fault,) = faults
        assert fault.mend is None
        assert (fault.trials, fault.detail) == ((1,), "10")
        return
    for fault in [*faults, *faults]:
        fault.mend()
    check_mended(store)


def test_nothing_that_mlflow_has_is_lost_when_a_run_is_taken_out(store):
    made = store.another(1, closed=False)
    store.client.set_tag(made, "hpo.trial", "99")
    store.client.log_metric(made, "score", 0.9)
    store.client.log_metric(store.run(2).id, "final/score", 9.0, store.run(2).end + 1, step=0)
    faults = {fault.kind: fault for fault in audit(store.runs)}
    assert {kind: fault.trials for kind, fault in faults.items()} == {"unknown-trial": (99,), "values": (2,)}
    assert faults["values"].detail == "final/score of step 0 is 9.0 in MLflow"
    faults["values"].mend()
    check_mended(store)
    for run, value in ((made, 0.9), (store.run(2).id, 9.0)):
        kept = store.client.get_run(run)
        assert kept.info.lifecycle_stage == "active"
        assert kept.info.status != "RUNNING"
        assert kept.data.tags["hpo.orphan_of"] == store.key
        assert value in kept.data.metrics.values()


def test_what_a_user_did_in_mlflow_is_no_mistake(store):
    store.client.delete_run(store.run(0).id)
    store.client.log_metric(store.run(1).id, "test/score", 0.4, step=100)
    store.client.set_tag(store.run(2).id, "note", "the one of the paper")
    store.client.update_run(store.run(2).id, name="the best")
    assert audit(store.runs) == []


def test_an_experiment_under_another_name_is_not_written_a_second_time(store):
    store.client.rename_experiment(store.number, f"{store.experiment} of May")
    (fault,) = audit(store.runs)
    assert (fault.kind, fault.mend) == ("experiment-renamed", None)
    assert fault.detail == f"'{store.experiment} of May' rather than '{store.experiment}'"


def test_of_a_study_that_is_driven_nothing_is_said_that_its_writer_may_yet_write(store):
    store.client.update_run(store.run(1).id, status="RUNNING")
    store.client.set_terminated(store.run(2).id, "FAILED")
    assert {fault.kind for fault in audit(store.runs)} == {"open-run", "ended-otherwise"}
    assert audit(store.runs, driven=True) == []


@pytest.mark.slow
def test_a_server_that_is_away_is_one_fault_and_neither_mended_nor_read(study_yaml, runs, once, own_server, ran):
    own_server.start()
    own_server.wait()
    spec = load_spec(study_yaml(budget={"trials": 3}, mlflow=own_server.url))
    (runs / "toy" / layout.SPEC).write_text(spec.to_yaml())
    sync(runs, "toy", pytest.fail)
    from mlflow.tracking import MlflowClient

    from hpo.trackers.mlflow.restore import find_place, metrics_of

    MlflowClient(own_server.url).update_run(parent_of(over_http(own_server.url, "toy")).id, status="RUNNING")
    (planted,) = audit(runs)
    own_server.kill()
    (fault,) = audit(runs)
    said = f"MLflow at {own_server.url} cannot be read: connection"
    assert (fault.kind, fault.trials, fault.mend) == ("unreachable", (), None)
    assert fault.detail in (f"{said} lost", f"{said} refused")  # the connection was kept open
    (fault,) = audit(runs, driven=True)
    assert (fault.kind, fault.detail) == ("unreachable", f"{said} refused")
    for _ in range(2):
        with pytest.raises(HpoError, match=f"MLflow at {own_server.url} cannot be written: connection refused"):
            planted.mend()
    for ask in (lambda: metrics_of(runs, spec, 1), lambda: find_place(runs, spec, load_study(runs, "toy")[1].trials)):
        with pytest.raises(HpoError, match=said):
            ask()


def test_artifacts_that_are_taken_no_more_are_said_to_be_refused(store, server):
    run = store.run(1).id
    folder = store.artifacts(run)
    shutil.rmtree(folder)
    folder.write_text("a file is where the folder was")
    (fault,) = audit(store.runs)
    assert (fault.kind, fault.trials, fault.detail) == ("artifacts", (1,), "history.jsonl")
    with pytest.raises(HpoError, match=f"MLflow at {server.url} takes no artifacts: "):
        fault.mend()
    folder.unlink()
    (fault,) = audit(store.runs)
    fault.mend()
    check_mended(store)


@pytest.mark.parametrize("with_artifact", [True, False])
def test_a_history_comes_back_as_it_was(store, with_artifact):
    from hpo.trackers.mlflow.restore import metrics_of

    path = layout.trial_directory(store.runs / "toy", 1) / layout.HISTORY
    was = history.read(path)
    assert len(was) == 10
    path.unlink()
    if not with_artifact:
        (store.artifacts(store.run(1).id) / layout.HISTORY).unlink()
    spec = load_study(store.runs, "toy")[0]
    back = metrics_of(store.runs, spec, 1)
    assert [step.metrics for step in back] == [step.metrics for step in was]
    assert back == was
    assert metrics_of(store.runs, spec, 7) is None
    store.client.update_run(store.run(1).id, status="RUNNING")
    assert metrics_of(store.runs, spec, 1) is None


def test_odd_names_and_values_come_back_or_not_at_all(study_yaml, runs, server, request):
    from hpo.trackers.mlflow.restore import metrics_of

    tracked = {"tracking_uri": server.url, "experiment": request.node.name}
    spec = load_spec(study_yaml("odd", budget={"trials": 2}, red_flags=[], mlflow=False))
    runner.run(spec, runs)
    spec = load_spec(study_yaml("odd", budget={"trials": 2}, red_flags=[], mlflow=tracked))
    (runs / "toy" / layout.SPEC).write_text(spec.to_yaml())
    sync(runs, "toy", pytest.fail)
    assert audit(runs) == []  # infinities, NaN and names that MLflow does not take
    paths = [runs / f"toy/trials/{number}/history.jsonl" for number in range(2)]
    was = [repr(history.read(path)) for path in paths]  # NaN is not equal to itself
    for artifact in (server.file.parent / "artifacts").glob("**/history.jsonl"):
        if repr(history.read(artifact)) in was:
            kept = artifact
            break
    assert repr(metrics_of(runs, spec, 0)) == was[0]
    for artifact in (server.file.parent / "artifacts").glob("**/history.jsonl"):
        if repr(history.read(artifact)) in was:
            artifact.unlink()
    assert not kept.exists()
    paths[0].unlink()
    by_name = [{**step.metrics} for step in metrics_of(runs, spec, 0)]
    assert repr([sorted(metrics.items()) for metrics in by_name]) == repr(
        [sorted(step.metrics.items()) for step in history.read(paths[1])]
    )
    paths[1].unlink()
    assert metrics_of(runs, spec, 0) is None  # nobody knows any more what `loss _train_ _-...` was called


@pytest.mark.slow
def test_five_hundred_trials_take_seconds(study_yaml, runs, server, request, monkeypatch):
    """One search, and no request a trial but for the list of its artifacts."""
    import time

    import optuna
    from mlflow.tracking import MlflowClient

    experiment = request.node.name
    tracked = {"tracking_uri": server.url, "experiment": experiment}
    spec = load_spec(study_yaml(budget={"trials": 500}, mlflow=tracked))
    directory = runs / "toy"
    directory.mkdir(parents=True)
    (directory / layout.SPEC).write_text(spec.to_yaml())
    _write_study(runs, 500)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sync(runs, "toy", pytest.fail)
    asked = []
    for name in ("search_runs", "get_run", "get_metric_history"):
        original = getattr(MlflowClient, name)
        monkeypatch.setattr(
            MlflowClient, name, lambda *args, _n=name, _o=original, **kw: asked.append(_n) or _o(*args, **kw)
        )
    began = time.monotonic()
    assert audit(runs) == []
    print(f"{time.monotonic() - began:.1f} s")
    assert time.monotonic() - began < 60
    assert asked == ["search_runs"]


def _write_study(runs, trials):
    """As `hpo run` leaves it, without the time that it takes."""
    import optuna
    from optuna.distributions import FloatDistribution
    from optuna.trial import create_trial

    from hpo.storage.open import open_storage

    study = optuna.create_study(
        storage=open_storage(f"journal:{runs / layout.JOURNAL}"), study_name="toy", direction="maximize"
    )
    made = []
    for number in range(trials):
        began, x = 1_700_000_000.0 + number, number / trials
        writer = history.HistoryWriter(layout.trial_directory(runs / "toy", number) / layout.HISTORY)
        for step in range(10):
            writer.append(history.Step(step, began + step / 20, 1, {"score": x * step, "other": x}))
        writer.close()
        job = {"seed": number, "attempt": 1, "source": "sampler", "started": began, "params": {"x": x}}
        outcome = {"state": "COMPLETE", "cause": "", "reason": "", "metrics": {"score": x}, "finished": began + 0.5,
                   "seconds": 0.5, "gpu_seconds": 0.0, "peak_gpu_bytes": 0, "requeued": False}  # fmt: skip
        made.append(
            create_trial(
                params={"x": x}, distributions={"x": FloatDistribution(0, 1)}, value=x,
                intermediate_values={step: x * step for step in range(10)},
                user_attrs={"hpo:job": job, "hpo:outcome": outcome},
            )
        )  # fmt: skip
    study.add_trials(made)


def test_a_report_that_was_written_later_is_no_fault(store):
    later = store.runs / "toy" / "report.zh-TW.html"
    assert not later.exists()
    later.write_text("<p>報告")
    assert audit(store.runs) == []
    for name in layout.REPORTS:
        (store.artifacts(store.parent) / name).unlink(missing_ok=True)
    (fault,) = audit(store.runs)
    assert fault.kind == "study-artifacts"
    assert "report.zh-TW.html" in fault.detail


def test_two_folders_with_one_key_are_told_apart_and_each_gets_its_own_runs(store):
    from hpo.trackers.mlflow.audit import audit as compare

    copy = store.runs / "copied"
    shutil.copytree(store.runs / "toy", copy)
    path = copy / layout.SPEC
    path.write_text(path.read_text().replace("name: toy", "name: copied", 1))
    storage = f"journal:{store.runs / layout.JOURNAL}"
    import optuna

    from hpo.storage.open import open_storage

    opened = open_storage(storage)
    optuna.copy_study(from_study_name="toy", from_storage=opened, to_storage=opened, to_study_name="copied")
    assert audit(store.runs) == []  # the original
    spec, study = load_study(store.runs, "copied")
    (fault,) = compare(store.runs, spec, study, driven=False)
    assert (fault.kind, fault.detail) == ("shared-key", "'toy'")
    fault.mend()
    fault.mend()
    key = place.read_place(copy).key
    assert key != store.key
    for fault in compare(store.runs, spec, study, driven=False):
        fault.mend()
    assert compare(store.runs, spec, study, driven=False) == []
    found = over_http(store.uri, store.experiment)
    check_all_is_there(store.runs, "copied", [run for run in found if run.tags["hpo.key"] == key])
    check_mended(store)


@pytest.mark.slow
# MLflow 3.17's own tables use it; SQLAlchemy 2.1 says so when it first meets them.
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning")
def test_a_store_in_postgresql_is_asked_for_the_number_of_points_too(study_yaml, runs, tmp_path):
    (tmp_path / "postgresql").mkdir()
    database = PostgreSQL(tmp_path / "postgresql")
    try:
        uri = database.url("mlflow")
        runner.run(load_spec(study_yaml(budget={"trials": 3})), runs)
        spec = load_spec(study_yaml(budget={"trials": 3}, mlflow=uri))
        (runs / "toy" / layout.SPEC).write_text(spec.to_yaml())
        sync(runs, "toy", pytest.fail)
        assert audit(runs) == []
        run = children_of(in_postgresql(uri))[1]
        with closing(psycopg.connect(uri, autocommit=True)) as connection:
            connection.execute("delete from metrics where run_uuid = %s and key = 'score' and step = 4", [run.id])
        (fault,) = audit(runs)
        assert (fault.kind, fault.trials, fault.detail) == ("points", (1,), "1 of 23")
        fault.mend()
        assert audit(runs) == []
        check_all_is_there(runs, "toy", in_postgresql(uri))
    finally:
        database.close()
