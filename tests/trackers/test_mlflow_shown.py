"""Which trials have runs under `mlflow: {trials: best N}`, and that a study of many trials is looked at once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import optuna
import pytest
from dying import Death, Writes
from hypothesis import given
from hypothesis import strategies as st
from mlflow_reading import children_of, in_file, parent_of
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, create_trial

from hpo import layout, runner
from hpo.spec.load import load_spec
from hpo.storage.load_study import load_study
from hpo.trackers.mlflow import place
from hpo.trackers.mlflow.shown import Shown
from hpo.trackers.mlflow.summary import Summary, summary_of
from hpo.trackers.mlflow.sync import check, sync

# MLflow 3.17's own tables use it; SQLAlchemy 2.1 says so when it first meets them.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning")

TWO = [{"name": "score", "direction": "maximize"}, {"name": "cost", "direction": "minimize"}]


def ended(number, values=None, state="COMPLETE", requeued=False):
    trial = create_trial(
        state=optuna.trial.TrialState[state],
        values=values,
        params={"x": 0.5},
        distributions={"x": FloatDistribution(0, 1)},
        user_attrs={"hpo:outcome": {"finished": float(number), "requeued": requeued, "metrics": {}}},
    )
    trial.number = number
    return trial


def shown_of(spec, trials):
    shown = Shown(spec)
    shown.add(trials)
    return {trial.number for trial in trials if shown.has(trial.number)}


def test_complete_trials_come_first_then_the_earliest_of_the_others(make_spec):
    trials = [
        ended(0, state="PRUNED"), ended(1, [0.2]), ended(2, state="FAIL"), ended(3, [0.9]), ended(4, state="PRUNED"),
        ended(5, [0.2]), ended(6, state="FAIL", requeued=True), ended(7, [0.5]),
    ]  # fmt: skip
    order = [3, 7, 1, 5, 0, 2, 4]  # of equals the one of the lower number first; 6 was tried again
    for most in range(1, 8):
        spec = make_spec(mlflow={"trials": f"best {most}"})
        assert shown_of(spec, trials) == set(order[:most])
    assert shown_of(make_spec(mlflow=True), trials) == set(range(8))
    lower = make_spec(mlflow={"trials": "best 2"}, metrics=[{"name": "score", "direction": "minimize"}])
    assert shown_of(lower, trials) == {1, 5}


def test_with_several_metrics_the_pareto_front_comes_first(make_spec):
    #        front:  0, 1, 2; of the others 4 is second in score, 3 and 5 are third and second in cost
    values = [(0.9, 9.0), (0.5, 5.0), (0.1, 1.0), (0.4, 5.5), (0.8, 9.5), (0.05, 2.0)]
    trials = [ended(number, list(pair)) for number, pair in enumerate(values)] + [ended(6, state="FAIL")]
    order = [2, 0, 1, 4, 5, 3, 6]
    for most in range(3, 8):
        spec = make_spec(metrics=TWO, mlflow={"trials": f"best {most}"})
        assert shown_of(spec, trials) == set(order[:most])


@st.composite
def histories(draw):
    metrics = draw(st.sampled_from([TWO[:1], TWO]))
    value = st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0])
    ends = st.sampled_from(["COMPLETE", "COMPLETE", "PRUNED", "FAIL"])
    trials = []
    for number, state in enumerate(draw(st.lists(ends, max_size=14))):
        values = [draw(value) for _ in metrics] if state == "COMPLETE" else None
        trials.append(ended(number, values, state, state == "FAIL" and draw(st.booleans())))
    return metrics, trials, draw(st.permutations(trials)), draw(st.integers(1, 6)), draw(st.integers(1, 4))


def by_hand(metrics, trials, most):
    """Sorts all trials, pair by pair as the documentation says it."""
    signs = [-1 if metric["direction"] == "maximize" else 1 for metric in metrics]
    counted = [trial for trial in trials if not trial.user_attrs["hpo:outcome"]["requeued"]]
    costs = {
        trial.number: [sign * value for sign, value in zip(signs, trial.values, strict=True)]
        for trial in counted
        if trial.values is not None
    }

    def dominated(number):
        return any(
            all(a <= b for a, b in zip(other, costs[number], strict=True)) and other != costs[number]
            for other in costs.values()
        )

    def place(number):
        if number not in costs:
            return (2, 0, number)
        if len(metrics) == 1:
            return (0, costs[number][0], number)
        ranks = [sorted(costs, key=lambda one, k=k: (costs[one][k], one)).index(number) for k in range(len(metrics))]
        return (int(dominated(number)), min(ranks), number)

    return set(sorted((trial.number for trial in counted), key=place)[:most])


def test_the_best_are_the_same_whatever_the_order_in_which_trials_end(make_spec):
    specs = {
        (len(metrics), most): make_spec(metrics=metrics, mlflow={"trials": f"best {most}"})
        for metrics in (TWO[:1], TWO)
        for most in range(1, 7)
    }

    @given(histories())
    def same(history):
        metrics, trials, order, most, step = history
        spec, shown = specs[len(metrics), most], Shown(specs[len(metrics), most])
        for start in range(0, len(order), step):
            shown.add(order[start : start + step])
            so_far = order[: start + step]
            numbers = {trial.number for trial in so_far}
            assert {number for number in numbers if shown.has(number)} == by_hand(metrics, so_far, most)
            assert set(shown.beyond(numbers)) == numbers - by_hand(metrics, so_far, most)
        assert shown_of(spec, trials) == by_hand(metrics, trials, most)

    same()


def test_numbers_of_runs_in_words(make_spec):
    shown = Shown(make_spec(mlflow={"trials": "best 1000"}))
    assert shown.words() == "0 best of 0 trials"
    shown.add([ended(0, [1.0])])
    assert shown.words() == "1 best of 1 trial"
    shown.add(ended(number, [math.sin(number)]) for number in range(1, 2345))
    assert shown.words() == "1,000 best of 2,345 trials"
    assert Shown(make_spec(mlflow=True)).words() == ""


def test_a_summary_by_parts_is_that_of_all_at_once(make_spec):
    spec = make_spec(budget={"trials": 9}, mlflow={"trials": "best 2"})
    trials = [ended(0, [0.5]), ended(1, state="PRUNED"), ended(2, [0.25]), ended(3, [0.75]), ended(4, state="FAIL")]
    summary = Summary(spec)
    points = [point for trial in trials for point in summary.add([trial])]
    assert points == Summary(spec).add(trials)
    assert [(point.step, point.value) for point in points] == [(1, 0.5), (2, 0.5), (3, 0.5), (4, 0.75), (5, 0.75)]
    assert summary.tags() == summary_of(spec, trials).tags()
    assert summary.tags()["hpo.runs"] == "2 best of 5 trials"
    assert "Runs: 2 best of 5 trials (`mlflow: {trials: best 2}`)." in summary.note()


# --- in MLflow


class Looked(Sequence[FrozenTrial]):
    """Trials of a study, and how many of them were looked at."""

    def __init__(self, trials):
        self._trials = list(trials)
        self.looks = 0

    def __len__(self):
        return len(self._trials)

    def __getitem__(self, index):
        self.looks += 1
        return self._trials[index]

    def __iter__(self) -> Iterator[FrozenTrial]:
        self.looks += len(self._trials)
        return iter(self._trials)


@pytest.fixture
def study(study_yaml, runs, default_store):
    """Runs a study of six trials whose scores rise and fall; sets its `mlflow:` afterwards."""
    xs = [0.9, 0.3, 0.8, 0.31, 0.2, 0.7]  # the score is that of the distance to 0.3; SQLite makes 0.0 of its -0.0
    keys = {"budget": {"trials": 6}, "enqueue": [{"x": x} for x in xs]}
    runner.run(load_spec(study_yaml(**keys)), runs)

    def track(trials):
        spec = load_spec(study_yaml(**keys, mlflow=True if trials is None else {"trials": trials}))
        (runs / "toy" / layout.SPEC).write_text(spec.to_yaml())
        return spec

    return track


def mirror_of(spec, runs, store):
    from hpo.trackers.mlflow.mirror import Mirror

    uri = f"sqlite:///{store}"
    key = place.keep_place(runs / "toy", uri, "toy").key
    return Mirror(spec, runs, uri, "toy", key, 1.5, {}, None, pytest.fail)


def stages(store):
    """Trials by where their runs are, none of which may have two."""
    runs = [run for run in in_file(store) if run.tags.get("hpo.kind") == "trial"]
    assert len(runs) == len({run.tags["hpo.trial"] for run in runs})
    found = {"active": set(), "deleted": set()}
    for run in runs:
        found[run.stage].add(int(run.tags["hpo.trial"]))
        assert (run.stage == "deleted") == ("hpo.beyond" in run.tags)
    return found


def test_the_best_so_far_have_runs_at_any_moment(study, runs, default_store):
    spec = study("best 2")
    trials = load_study(runs, "toy")[1].trials
    mirror = mirror_of(spec, runs, default_store)
    seen = []
    for count in range(1, 7):
        assert mirror.update(trials[:count], last=False) == []
        seen.append(stages(default_store)["active"])
        assert (
            parent_of(in_file(default_store)).tags["hpo.runs"]
            == f"{min(2, count)} best of {count} trial{'s' * (count > 1)}"
        )
    assert seen == [{0}, {0, 1}, {1, 2}, {1, 3}, {1, 3}, {1, 3}]
    assert stages(default_store)["deleted"] == {0, 2}  # trials 4 and 5 never had a run
    mirror.close(trials, "FINISHED")
    children = children_of(in_file(default_store))
    assert all(run.status == "FINISHED" and len(run.metrics["score"]) == 10 for run in children.values())
    assert not sync(runs, "toy", pytest.fail)


def test_a_number_that_grows_brings_runs_back_and_one_that_shrinks_moves_them_away(study, runs, default_store):
    study("best 2")
    assert sync(runs, "toy", lambda sentence: None)
    assert stages(default_store) == {"active": {1, 3}, "deleted": set()}
    before = {run.id for run in in_file(default_store)}
    for trials, active, deleted, said in (
        ("best 1", {1}, {3}, "moved 1 run of a trial that is not among the best to MLflow's trash"),
        ("best 3", {1, 3, 4}, set(), "wrote 2 missing runs"),
        (None, {0, 1, 2, 3, 4, 5}, set(), "wrote 3 missing runs"),
        ("best 2", {1, 3}, {0, 2, 4, 5}, "moved 4 runs of trials that are not among the best to MLflow's trash"),
    ):
        spec, heard = study(trials), []
        assert check(runs, spec, load_study(runs, "toy")[1], False)
        assert sync(runs, "toy", heard.append)
        assert said in heard
        assert stages(default_store) == {"active": active, "deleted": deleted}
        assert check(runs, spec, load_study(runs, "toy")[1], False) == []
        assert not sync(runs, "toy", pytest.fail)
    assert before <= {run.id for run in in_file(default_store)}  # those that came back are those that went


def test_what_a_user_deletes_among_the_best_stays_deleted(study, runs, default_store):
    from mlflow.tracking import MlflowClient

    study("best 2")
    sync(runs, "toy", lambda sentence: None)
    client = MlflowClient(f"sqlite:///{default_store}")
    client.delete_run(children_of(in_file(default_store))[3].id)
    assert not sync(runs, "toy", pytest.fail)
    assert sorted(children_of(in_file(default_store))) == [1]


@pytest.mark.parametrize("after", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_death_while_runs_come_and_go_is_made_good(study, runs, default_store, monkeypatch, after):
    from mlflow.tracking import MlflowClient

    trials, deaths, writes = load_study(runs, "toy")[1].trials, 0, Writes(after)
    for most, active in (("best 1", {1}), ("best 3", {1, 3, 4})):
        writes.made = writes.fatal = 0
        with monkeypatch.context() as patched:
            for name in ("create_run", "delete_run", "restore_run", "set_tag", "delete_tag"):
                patched.setattr(MlflowClient, name, writes.dying(getattr(MlflowClient, name)))
            while True:
                # From the other number each time: all that a death interrupts is to be done again.
                writes.made, writes.fatal, doomed = 0, 0, writes.fatal + 1
                mirror_of(study("best 4" if most == "best 1" else "best 1"), runs, default_store).update(
                    trials, last=True
                )
                writes.made, writes.fatal = 0, doomed
                try:
                    mirror_of(study(most), runs, default_store).update(trials, last=True)
                except Death:
                    deaths += 1
                    writes.made, writes.fatal, doomed = 0, 0, writes.fatal
                    mirror_of(study(most), runs, default_store).update(trials, last=True)
                    assert stages(default_store)["active"] == active
                    writes.fatal = doomed
                else:
                    break
    assert deaths >= 8


def test_a_trial_that_runs_has_a_run_while_there_is_room(make_spec, runs, default_store):
    spec = make_spec(mlflow={"trials": "best 2"})
    (runs / "toy").mkdir()
    job = {"started": 1.0, "params": {"x": 0.5}, "attempt": 1, "seed": 7, "source": "sampler"}

    def running(number):
        trial = create_trial(state=optuna.trial.TrialState.RUNNING, user_attrs={"hpo:job": job})
        trial.number = number
        return trial

    mirror = mirror_of(spec, runs, default_store)
    mirror.update([running(0), running(1), running(2)], last=False)
    assert stages(default_store)["active"] == {0, 1}
    mirror.update([running(0), ended(1, [0.5]), ended(2, [0.75])], last=False)
    assert stages(default_store)["active"] == {0, 1, 2}  # what runs keeps its run until it ends
    mirror.update([ended(0, [0.25]), ended(1, [0.5]), ended(2, [0.75])], last=False)
    assert stages(default_store) == {"active": {1, 2}, "deleted": {0}}


def test_an_update_looks_at_what_is_new_alone(study, runs, default_store):
    spec = study(None)
    trials = load_study(runs, "toy")[1].trials
    mirror = mirror_of(spec, runs, default_store)
    mirror.update(trials[:5], last=False)
    looked = Looked(trials)
    mirror.update(looked, last=False)
    assert 0 < looked.looks <= 4  # at the one that is new
    looked.looks = 0
    mirror.update(looked, last=False)
    assert looked.looks == 0
