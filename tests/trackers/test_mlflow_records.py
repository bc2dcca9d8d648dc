from __future__ import annotations

import string
import subprocess

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import FloatDistribution
from optuna.trial import create_trial

from hpo import __version__
from hpo.trackers.mlflow import place, records
from hpo.trackers.mlflow.provenance import provenance
from hpo.trackers.mlflow.summary import Summary, is_own_note, summary_of


def ended(number, value=None, state="COMPLETE", finished=0.0, requeued=False, **outcome):
    note = {"finished": finished, "seconds": 1.5, "requeued": requeued, "metrics": {}, "gpu_seconds": 0.0, **outcome}
    job = {"started": 1.0, "params": {"x": 0.5}, "attempt": 1, "seed": 7, "source": "sampler"}
    trial = create_trial(
        state=optuna.trial.TrialState[state],
        value=value,
        params={"x": 0.5},
        distributions={"x": FloatDistribution(0, 1)},
        user_attrs={"hpo:job": job, "hpo:outcome": note},
    )
    trial.number = number
    return trial


@pytest.mark.parametrize("name", ["val_loss", "val/loss", "a.b-c d:e", "größe", "x" * 250])
def test_a_name_that_mlflow_takes_stays(name):
    assert records.name_of(name) == name


@pytest.mark.parametrize("name", ["loss (train)", "a//b", "/a", "../a", ".", "", "a/", "x" * 251, "a\\b", "100 %"])
def test_other_names_are_changed_and_do_not_meet(name):
    changed = records.name_of(name)
    assert changed != name
    assert changed != records.name_of(name + "!")
    assert len(changed) <= 250


def test_every_name_becomes_one_that_mlflow_takes():
    from mlflow.utils.validation import _validate_metric, _validate_param  # imported here: it takes seconds

    @given(st.text(string.ascii_letters + "/. %(_\\ä:-", max_size=300), st.text("/.%(", max_size=6))
    def check(name, other):
        mapped = records.name_of(name)
        _validate_metric(mapped, 1.0, 0, 0)
        _validate_param(mapped, "value")
        if name != other:
            assert mapped != records.name_of(other)

    check()


def test_parameters_are_flat_text_within_the_limits():
    given = {"lr": 1e-3, "weights": {"bce": 0.25, "dice": 0.75}, "freeze": None, "bias": True, "note": "y" * 7000}
    flat = records.flat(given)
    note = flat.pop("note")
    assert flat == {"lr": "0.001", "weights.bce": "0.25", "weights.dice": "0.75", "freeze": "None", "bias": "True"}
    assert (len(note), note[-3:]) == (6000, "...")


def test_best_values_by_the_number_of_finished_trials(make_spec):
    trials = [
        ended(0, -1.0, finished=1.0),
        ended(1, state="PRUNED", finished=0.5),
        ended(2, state="FAIL", finished=1.5, requeued=True),
        ended(3, -3.0, finished=2.0),
        ended(4, -0.25, finished=3.0),
    ]
    points = Summary(make_spec()).add(trials)
    assert points == [
        records.Point("best/score", -1.0, 1000, 2),
        records.Point("best/score", -1.0, 2000, 3),
        records.Point("best/score", -0.25, 3000, 4),
    ]
    lower = make_spec(metrics=[{"name": "score", "direction": "minimize"}])
    assert [point.value for point in Summary(lower).add(trials)] == [-1.0, -3.0, -3.0]


def test_a_trial_is_tagged_with_its_red_flags_and_where_it_came_from(make_spec):
    flags = [{"name": "overfitting", "action": "warn"}, {"name": "collapsed", "action": "stop"}]
    origin = {"source": "warm_start", "from": "old", "number": 3, "value": 0.5}
    trial = ended(0, state="PRUNED", cause="red_flag", reason="recall is 0", flag="collapsed")
    trial.set_user_attr("hpo:flags", flags)
    trial.set_user_attr("hpo:origin", origin)
    tags = records.trial_tags(trial, make_spec())
    shown = {name: tags[name] for name in ("hpo.cause", "hpo.flag", "hpo.reason", "hpo.warnings", "hpo.warm_start")}
    assert shown == {
        "hpo.cause": "red_flag", "hpo.flag": "collapsed", "hpo.reason": "recall is 0", "hpo.warnings": "overfitting",
        "hpo.warm_start": "old/3",
    }  # fmt: skip
    trial.set_user_attr("hpo:origin", {"from": "knowledge.json", "number": None})
    assert records.trial_tags(trial, make_spec())["hpo.warm_start"] == "knowledge.json"
    plain = records.trial_tags(ended(1, 0.5), make_spec())
    assert {"hpo.flag", "hpo.warnings", "hpo.warm_start"} & plain.keys() == set()


def test_a_study_is_finished_when_its_budget_is_spent(make_spec):
    spec = make_spec(budget={"trials": 2})
    assert records.study_status(spec, [ended(0, 1.0)]) == "KILLED"
    assert records.study_status(spec, [ended(0, 1.0), ended(1, state="FAIL", requeued=True)]) == "KILLED"
    assert records.study_status(spec, [ended(0, 1.0), ended(1, state="PRUNED")]) == "FINISHED"
    hours = make_spec(budget={"hours": 0.5})  # trials start at 1 s
    assert records.study_status(hours, [ended(0, 1.0, finished=1000.0)]) == "KILLED"
    assert records.study_status(hours, [ended(0, 1.0, finished=1801.0)]) == "FINISHED"
    grid = make_spec(sampler={"name": "grid"}, budget=None, search_space={"x": {"choices": [1, 2]}})
    assert records.study_status(grid, [ended(0, 1.0), ended(1, 1.0)]) == "FINISHED"


def test_what_a_trial_came_to_spares_the_names_it_reported_itself(make_spec):
    trial = ended(0, 0.5, finished=2.0, metrics={"score": 0.5, "other": 3.0}, peak_gpu_bytes=3 * 2**20)
    points = {point.name: point.value for point in records.final_points(trial, make_spec(), [])}
    assert points == {"final/score": 0.5, "final/other": 3.0, "seconds": 1.5, "peak_gpu_mib": 3.0}
    names = {point.name for point in records.final_points(trial, make_spec(), ["seconds"])}
    assert names == {"final/score", "final/other", "peak_gpu_mib"}


def test_the_uri_is_that_of_the_study_then_of_the_environment_then_the_default(make_spec, runs, monkeypatch, tmp_path):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    default, own = make_spec(mlflow=True), make_spec(mlflow="http://own:5000")
    assert place.tracking_uri(default, runs) == f"sqlite:///{runs}/mlflow.db"
    assert place.tracking_uri(default, runs, "http://earlier:5000") == "http://earlier:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///here.db")
    monkeypatch.chdir(tmp_path)
    assert place.tracking_uri(default, runs, "http://earlier:5000") == f"sqlite:///{tmp_path}/here.db"
    assert place.tracking_uri(own, runs) == "http://own:5000"


def test_a_study_keeps_its_key_and_no_password(tmp_path):
    first = place.keep_place(tmp_path, "http://me:secret@host:5000", "a")
    assert first.tracking_uri == "http://me@host:5000"
    assert "secret" not in (tmp_path / "mlflow.json").read_text()
    second = place.keep_place(tmp_path, "sqlite:////x.db", "b")
    assert second.key == first.key
    assert place.read_place(tmp_path) == second
    (tmp_path / "mlflow.json").write_text("{")
    assert place.read_place(tmp_path) is None


def test_provenance_names_the_commit_and_whether_files_differ_from_it(tmp_path):
    def git(*arguments):
        config = ("-c", "user.name=n", "-c", "user.email=e@x")
        done = subprocess.run(["git", "-C", tmp_path, *config, *arguments], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    source = tmp_path / "study.yaml"
    source.write_text("a")
    assert "mlflow.source.git.commit" not in provenance(tmp_path, source)
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    clean = provenance(tmp_path, source)
    assert clean["mlflow.source.git.commit"] == git("rev-parse", "HEAD")
    assert clean["hpo.git_dirty"] == "false"
    assert clean["mlflow.source.name"] == str(source)
    assert clean["hpo.version"] == __version__
    assert clean["hpo.optuna"] == optuna.__version__
    source.write_text("b")
    assert provenance(tmp_path, source)["hpo.git_dirty"] == "true"


def test_a_note_of_a_users_own_is_told_from_that_of_the_study(make_spec):
    def note(spec, trials):
        return summary_of(spec, trials).note()

    spec, best = make_spec(budget={"trials": 2}), make_spec(budget={"trials": 2}, mlflow={"trials": "best 1"})
    trials = [ended(0, -1.0), ended(1, state="PRUNED")]
    assert note(spec, trials).startswith("2 of 2 trials finished, 1 complete, 1 pruned.\n\nBest: `score` -1, ")
    assert note(make_spec(budget={"trials": 1}), trials[:1]).startswith("1 of 1 trial finished, 1 complete.")
    for own in (note(spec, trials), note(spec, []), "", " \n", note(spec, trials) + "\n", note(best, trials)):
        assert is_own_note(own)
    # As versions before this one wrote it.
    assert is_own_note(note(make_spec(budget={"trials": 1}), trials[:1]).replace("1 trial ", "1 trials "))
    written = note(spec, trials)
    for users in (
        "My best one.",
        f"{written}\n\nSee the paper.",
        f"Note: {written}",
        written.replace("finished", "done"),
    ):
        assert not is_own_note(users)


def test_a_trial_is_tagged_with_what_it_confirms_and_how_it_was_confirmed(make_spec, tmp_path):
    racing = {"name": "racing", "study": "old", "trials": [4, 17]}
    spec = make_spec(sampler=racing, enqueue=[{"x": 0.1}, {"x": 0.5}])
    trial = ended(0, 0.5)
    trial.set_user_attr("hpo:origin", {"source": "racing", "race": {"configuration": 1, "part": "choose", "index": 2}})
    tags = records.trial_tags(trial, spec)
    assert (tags["hpo.confirms"], tags["hpo.part"]) == ("old/17", "choose")

    (tmp_path / "confirmed.json").write_text('{"1": "winner", "3": "worse"}')
    standings = records.standings(tmp_path)
    assert records.trial_tags(ended(1, 0.5), make_spec(), standings)["hpo.confirmed"] == "winner"
    plain = records.trial_tags(ended(2, 0.5), make_spec(), standings)
    assert {"hpo.confirmed", "hpo.confirms", "hpo.part"} & plain.keys() == set()
    (tmp_path / "confirmed.json").write_text("[1")
    assert records.standings(tmp_path) == {}
