"""The mirror on a real MLflow server, written in this process from studies that have run."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from dying import Death, Writes
from mlflow_reading import LARGEST, check_all_is_there, children_of, in_file, over_http, parent_of
from optuna.trial import TrialState

from hpo import runner
from hpo.spec.load import load_spec
from hpo.storage.load_study import load_study
from hpo.trackers.mlflow import place

PROVENANCE = {"mlflow.source.git.commit": "abc"}


@pytest.fixture
def ran(study_yaml, runs):
    """Runs a study without tracking; returns its spec, trials and the folder of runs."""

    def run(objective="smooth", **keys):
        spec = load_spec(study_yaml(objective, **keys))
        runner.run(spec, runs)
        return spec, load_study(runs, spec.name)[1].trials

    return run


@pytest.fixture
def mirror_of(runs, server, request):
    """Opens a mirror of a study on the server, in an experiment of the test's own."""
    from hpo.trackers.mlflow.mirror import Mirror

    experiment = request.node.name

    def mirror(spec, said=None, since=None, uri=server.url):
        key = place.keep_place(runs / spec.name, uri, experiment).key
        say = said.append if said is not None else pytest.fail
        return Mirror(spec, runs, uri, experiment, key, 1.5, PROVENANCE, since, say)

    mirror.experiment = experiment
    return mirror


def write(mirror, trials, status="FINISHED"):
    assert mirror.update(trials, last=True) == []
    mirror.close(trials, status)


def test_a_study_is_a_parent_and_a_child_for_each_trial(ran, mirror_of, server, runs):
    space = {"x": {"low": 0.0, "high": 1.0}, "arch": {"choices": ["unet", "resunet"]}, "mix": {"simplex": ["a", "b"]}}
    constants = {"epochs": 3, "data": {"root": "x", "sizes": [1, 2]}}
    spec, trials = ran(search_space=space, group_by="arch", constants=constants)
    write(mirror_of(spec, since=0.0), trials)
    found = over_http(server.url, mirror_of.experiment)
    children = check_all_is_there(runs, "toy", found)
    assert len(children) == 4
    for trial in trials:
        run, params = children[trial.number], trial.user_attrs["hpo:job"]["params"]
        assert run.name == f"trial {trial.number} {params['arch']}"
        assert run.params == {
            "x": str(params["x"]), "arch": params["arch"],
            "mix.a": str(params["mix"]["a"]), "mix.b": str(params["mix"]["b"]),
            "constants.epochs": "3", "constants.data.root": "x", "constants.data.sizes": "[1, 2]",
        }  # fmt: skip
        assert run.metrics["final/score"][0][2] == trial.value
        assert run.metrics["final/other"][0][2] == params["x"]
        assert run.tags["hpo.group"] == params["arch"]
        assert run.tags["hpo.seed"] == str(trial.user_attrs["hpo:job"]["seed"])
        assert run.tags["hpo.attempt"] == "1"
        assert run.tags["mlflow.source.git.commit"] == "abc"
    parent = parent_of(found)
    assert (parent.name, parent.status, parent.start) == ("toy", "FINISHED", 1500)
    assert parent.end == max(run.end for run in children.values())
    best = [value for _, _, value in parent.metrics["best/score"]]
    assert best == [max(trial.value for trial in trials[: n + 1]) for n in range(4)]
    assert [step for step, _, _ in parent.metrics["best/score"]] == [1, 2, 3, 4]
    assert parent.tags["hpo.sampler"] == "random"
    assert "4 of 4 trials finished, 4 complete." in parent.tags["mlflow.note.content"]


def test_artifacts_are_the_files_of_a_trial_and_the_reports(ran, mirror_of, server, runs):
    from mlflow.tracking import MlflowClient

    spec, trials = ran("raising", budget={"trials": 4})
    write(mirror_of(spec), trials)
    client = MlflowClient(server.url)
    found = over_http(server.url, mirror_of.experiment)
    assert {trial.state.name for trial in trials} == {"COMPLETE", "FAIL"}
    for number, run in children_of(found).items():
        names = {file.path for file in client.list_artifacts(run.id)}
        diagnosed = {path.name for path in (runs / f"toy/trials/{number}").glob("diagnosis.*")}
        failed = trials[number].state.name == "FAIL"
        assert names == {"history.jsonl"} | diagnosed | ({"error.txt"} if failed else set())
        if "error.txt" in names:
            assert run.status == "FAILED"
            assert run.tags["hpo.cause"] == "exception"
            assert run.tags["hpo.reason"] == trials[number].user_attrs["hpo:outcome"]["reason"] != ""
    assert {path.parent.name for path in (runs / "toy/trials").glob("*/diagnosis.md")} == {
        str(max(trials, key=lambda trial: trial.value if trial.value is not None else -1).number)
    }
    written = {file.path for file in client.list_artifacts(parent_of(found).id)}
    assert written == {"study.yaml", "report.html", "report.md", "report.json"}


@pytest.mark.slow
def test_a_diagnosis_that_is_written_later_follows_into_the_closed_run(ran, mirror_of, server, runs, monkeypatch):
    from mlflow.tracking import MlflowClient

    spec, trials = ran(budget={"trials": 3})
    first, later, gone = sorted(trials, key=lambda trial: -trial.value)
    write(mirror_of(spec), trials)
    client = MlflowClient(server.url)
    children = children_of(over_http(server.url, mirror_of.experiment))
    client.delete_run(children[gone.number].id)

    def names(trial):
        return {file.path for file in client.list_artifacts(children[trial.number].id)}

    assert "diagnosis.md" in names(first)
    assert "diagnosis.md" not in names(later)
    for trial in (later, gone):
        (runs / f"toy/trials/{trial.number}/diagnosis.md").write_text("healthy")
    (runs / "toy/report.zh-TW.md").write_text("報告")
    write(mirror_of(spec), trials)
    assert "diagnosis.md" in names(later)
    parent = parent_of(over_http(server.url, mirror_of.experiment))
    assert "report.zh-TW.md" in {file.path for file in client.list_artifacts(parent.id)}

    # What has not changed is not sent again, and a run that a user threw away stays as it was.
    mirror = mirror_of(spec)
    sent = []
    from hpo.trackers.mlflow import mirror as module

    upload = module.upload
    monkeypatch.setattr(module, "upload", lambda *args: sent.append(str(args[2])) or upload(*args))
    (runs / f"toy/trials/{later.number}/diagnosis.md").write_text("diverged")
    write(mirror, trials)
    assert [path for path in sent if "/trials/" in path] == [str(runs / f"toy/trials/{later.number}/diagnosis.md")]


def test_writing_twice_changes_nothing(ran, mirror_of, server):
    spec, trials = ran()
    write(mirror_of(spec), trials)
    first = over_http(server.url, mirror_of.experiment)
    mirror = mirror_of(spec)
    write(mirror, trials)
    write(mirror, trials)
    assert over_http(server.url, mirror_of.experiment) == first


@pytest.mark.slow
def test_odd_names_odd_values_and_more_than_mlflow_takes_at_once(ran, mirror_of, server):
    fixed = {f"p{k}": k for k in range(150)}
    space = {"x": {"low": 0.0, "high": 1.0}} | fixed
    spec, trials = ran("odd", search_space=space, budget={"trials": 1}, red_flags=[])  # one would stop it for its NaN
    write(mirror_of(spec), trials)
    (run,) = children_of(over_http(server.url, mirror_of.experiment)).values()
    assert {name: run.params[name] for name in fixed} == {name: str(value) for name, value in fixed.items()}
    assert sum(len(rows) for rows in run.metrics.values()) == 4 + 29 * 50 + 1
    assert [row[2] for row in run.metrics["layer49.norm"]] == [49.0 * step for step in range(1, 30)]
    values = {name: rows[0][2] for name, rows in run.metrics.items() if not name.startswith("layer")}
    changed = {name[:-7]: value for name, value in values.items() if name[-7] == "-"}
    assert changed == {"loss _train_ _": None, "a__b": LARGEST}
    assert values["µ/größe"] == -LARGEST
    assert values["seconds"] == 7.0  # the objective's own
    write(mirror_of(spec), trials)  # NaN is not equal to itself, yet not doubled
    (again,) = children_of(over_http(server.url, mirror_of.experiment)).values()
    assert again == run


def test_a_request_holds_as_much_as_mlflow_takes(ran, mirror_of, server, monkeypatch):
    from mlflow.tracking import MlflowClient

    spec, trials = ran(budget={"trials": 1}, constants={f"c{k}": k for k in range(90)})
    asked, log = [], MlflowClient.log_batch
    monkeypatch.setattr(
        MlflowClient,
        "log_batch",
        lambda client, run, *given, **more: asked.append(run) or log(client, run, *given, **more),
    )
    write(mirror_of(spec), trials)
    (run,) = children_of(over_http(server.url, mirror_of.experiment)).values()
    assert len(run.params) == 91
    assert asked.count(run.id) == 2  # one more for the mark of its diagnosis


def test_a_request_is_below_the_bytes_that_mlflow_takes():
    from mlflow.entities import Metric, Param

    from hpo.trackers.mlflow.mirror import _chunks

    long = [Param(f"p{k}", "ö" * 6000) for k in range(100)]  # 36 kB each, as MLflow sends them
    parts = list(_chunks(long, 100))
    assert [one.key for part in parts for one in part] == [param.key for param in long]
    assert {len(part) for part in parts[:-1]} == {8}
    points = [Metric("größe" * 50, 0.5, 1_700_000_000_000, step) for step in range(1000)]
    sizes = [len(json.dumps([dict(one) for one in part])) for part in _chunks(points, 1000)]
    assert len(sizes) > 1
    assert max(sizes) < 333_000
    assert list(_chunks([], 10)) == []
    short = [Param(f"p{k}", "1") for k in range(205)]
    assert [len(part) for part in _chunks(short, 100)] == [100, 100, 5]


WRITES = ("create_experiment", "create_run", "log_batch", "set_terminated", "update_run")


# MLflow 3.17's own tables use it; SQLAlchemy 2.1 says so when it first meets them.
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning")
@pytest.mark.parametrize(
    "after", [pytest.param(False, id="before"), pytest.param(True, id="after", marks=pytest.mark.slow)]
)
def test_a_death_at_any_write_is_made_good(ran, mirror_of, default_store, runs, monkeypatch, after):
    from mlflow.tracking import MlflowClient

    spec, trials = ran(budget={"trials": 1})
    writes = Writes(after)
    for name in WRITES:
        monkeypatch.setattr(MlflowClient, name, writes.dying(getattr(MlflowClient, name)))
    from hpo.trackers.mlflow import mirror as module

    monkeypatch.setattr(module, "upload", writes.dying(module.upload))
    uri, deaths = f"sqlite:///{default_store}", 0
    while True:
        writes.made, writes.fatal = 0, writes.fatal + 1
        (runs / "toy" / "mlflow.json").unlink(missing_ok=True)  # each round is a study of its own
        try:
            write(mirror_of(spec, uri=uri), trials)
        except Death:
            deaths += 1
        else:
            break
        writes.fatal, doomed = 0, writes.fatal
        write(mirror_of(spec, uri=uri), trials)
        writes.fatal = doomed
        key = place.read_place(runs / "toy").key
        found = [run for run in in_file(default_store) if run.tags["hpo.key"] == key]
        check_all_is_there(runs, "toy", found)
    assert deaths >= 8


def test_of_two_runs_of_a_trial_the_closed_one_stays(ran, mirror_of, server, runs):
    from mlflow.tracking import MlflowClient

    spec, trials = ran(budget={"trials": 2})
    write(mirror_of(spec), trials)
    first = over_http(server.url, mirror_of.experiment)
    client, run = MlflowClient(server.url), children_of(first)[1]
    number = client.get_experiment_by_name(mirror_of.experiment).experiment_id
    client.create_run(number, start_time=run.start, tags=run.tags)
    assert len(over_http(server.url, mirror_of.experiment)) == len(first) + 1
    write(mirror_of(spec), trials)
    assert over_http(server.url, mirror_of.experiment) == first


def test_what_a_user_deletes_stays_deleted_but_a_parent_and_an_experiment_are_needed(ran, mirror_of, server, runs):
    from mlflow.tracking import MlflowClient

    spec, trials = ran(budget={"trials": 2})
    write(mirror_of(spec), trials)
    client, first = MlflowClient(server.url), over_http(server.url, mirror_of.experiment)
    client.delete_run(children_of(first)[0].id)
    client.delete_run(parent_of(first).id)
    write(mirror_of(spec), trials)
    left = over_http(server.url, mirror_of.experiment)
    assert sorted(children_of(left)) == [1]
    assert parent_of(left).id == parent_of(first).id
    client.delete_experiment(client.get_experiment_by_name(mirror_of.experiment).experiment_id)
    said = []
    write(mirror_of(spec, said), trials)
    assert said == [f"the MLflow experiment '{mirror_of.experiment}' had been deleted; it was restored"]


def test_a_study_made_anew_is_another_one(ran, mirror_of, server, runs):
    spec, trials = ran(budget={"trials": 2})
    write(mirror_of(spec), trials)
    (runs / "toy" / "mlflow.json").unlink()
    write(mirror_of(spec), trials)
    found = over_http(server.url, mirror_of.experiment)
    assert len({run.tags["hpo.key"] for run in found}) == 2
    assert len(found) == 6


def test_one_trial_that_mlflow_refuses_does_not_hold_up_the_others(ran, mirror_of, server, runs):
    spec, trials = ran(budget={"trials": 3})
    said = []
    mirror = mirror_of(spec, said)
    broken = trials[1].user_attrs["hpo:job"] | {"params": {"x": 0.1}}
    running = [trials[0], replace_note(trials[1], broken), trials[2]]
    mirror.update(running, last=True)
    # The same trial with another value: MLflow lets no parameter change.
    refused = mirror_of(spec, said)
    reopened = client_of(server)
    reopened.update_run(children_of(over_http(server.url, mirror_of.experiment))[1].id, status="RUNNING")
    refused._find_runs()
    assert refused.update(trials, last=True) == [1]
    assert sorted(children_of(over_http(server.url, mirror_of.experiment))) == [0, 1, 2]
    assert len(said) == 1
    assert said[0].startswith("trial 1 could not be written to MLflow: ")


def client_of(server):
    from mlflow.tracking import MlflowClient

    return MlflowClient(server.url)


def replace_note(trial, job):
    from copy import deepcopy

    changed = deepcopy(trial)
    changed.set_user_attr("hpo:job", job)
    return changed


def test_provenance_is_of_the_trials_that_ran_under_it_alone(ran, mirror_of, server):
    spec, trials = ran(budget={"trials": 2})
    middle = trials[1].user_attrs["hpo:job"]["started"]
    write(mirror_of(spec, since=middle), trials)
    children = children_of(over_http(server.url, mirror_of.experiment))
    assert [children[n].tags.get("mlflow.source.git.commit") for n in (0, 1)] == [None, "abc"]


def test_a_step_in_pieces_is_whole_and_nothing_of_it_is_doubled(ran, mirror_of, server, runs):
    from copy import deepcopy

    spec, trials = ran("pieces", budget={"trials": 1})
    path = runs / "toy/trials/0/history.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    assert len(lines) == 10
    running = deepcopy(trials[0])
    running.state, running.values, running.datetime_complete = TrialState.RUNNING, None, None
    del running._user_attrs["hpo:outcome"]
    mirror = mirror_of(spec)
    for rows in (1, 2, 5):  # between the pieces of a step, and between steps
        path.write_text("".join(lines[:rows]))
        assert mirror.update([running], last=False) == []
        (run,) = children_of(over_http(server.url, mirror_of.experiment)).values()
        assert sum(map(len, run.metrics.values())) == rows + rows // 2
    path.write_text("".join(lines))
    write(mirror, trials)
    children = check_all_is_there(runs, "toy", over_http(server.url, mirror_of.experiment))
    assert {name: len(points) for name, points in children[0].metrics.items() if "score" in name} == {
        "train_score": 5, "score": 5, "final/score": 1,
    }  # fmt: skip


def test_a_running_trial_shows_what_no_retry_will_replace(ran):
    from hpo.storage.history import Step
    from hpo.trackers.mlflow.mirror import _settled

    _, trials = ran(budget={"trials": 1})
    trial = replace_note(trials[0], trials[0].user_attrs["hpo:job"] | {"attempt": 2})
    inherited = [Step(step, 1.0 + step, 1, {"score": 0.0}) for step in range(5)]
    assert _settled(inherited, trial) == []
    own = [*inherited[:3], replace(inherited[3], attempt=2, time=9.0), inherited[4]]
    # Of step 3 the attempt may report more, in place of what it inherited.
    assert _settled(own, trial) == own[:4]
    repeated = [*inherited, Step(3, 9.0, 2, {"score": 1.0})]
    assert _settled(repeated, trial) == [*inherited[:3], repeated[-1]]


def test_runs_are_read_page_by_page(mirror_of, server, ran, monkeypatch):
    from hpo.trackers.mlflow import client

    spec, trials = ran(budget={"trials": 5})
    write(mirror_of(spec), trials)
    monkeypatch.setattr(client, "_PAGE", 2)
    first = over_http(server.url, mirror_of.experiment)
    write(mirror_of(spec), trials)
    assert over_http(server.url, mirror_of.experiment) == first
