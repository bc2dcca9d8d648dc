"""The contract of an engine (`hpo.engines.base.Engine`), checked on every implementation.

Objectives that hang would hang for ever: a deadline on how they end is as wide as a busy machine needs.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import textwrap
import threading
import time

import optuna
import psutil
import pytest
from books import check_books
from ray_cluster import collecting_files_of_ray
from waiting import PATIENCE, wait_until

from hpo import layout, runner
from hpo.control import client as steer
from hpo.engines.factory import make_engine
from hpo.engines.replay import Clock, RecordedSampler, Recording, Recordings, ReplayEngine
from hpo.oracle.oracle import Oracle
from hpo.runner import run
from hpo.search.samplers import make_pruner, make_sampler
from hpo.spec.models import Budget
from hpo.storage import history
from hpo.storage.history import Step
from hpo.storage.load_study import load_study
from hpo.trackers.base import Tracker
from hpo.trial import Outcome

ENGINES = ["inline", "local", "ray"]


@contextlib.contextmanager
def ready(request):
    """What an engine needs besides."""
    if request.param != "ray":
        yield
        return
    request.getfixturevalue("ray_here")
    with collecting_files_of_ray():
        yield


@pytest.fixture(autouse=True)
def _patient(monkeypatch):
    """A driver on a busy machine answers later."""
    monkeypatch.setattr("hpo.control.requests.ANSWER_TIMEOUT", PATIENCE)


# Starting processes and Ray takes longest: on Ray, all but the first of these tests are for `make test-slow`.
RAY_LATER = [*ENGINES[:2], pytest.param("ray", marks=pytest.mark.slow)]
with_ray = pytest.mark.parametrize("engine", ENGINES, indirect=True)
# And these wait for seconds on each engine.
only_local = pytest.mark.parametrize(
    "engine", ["local", *(pytest.param(name, marks=pytest.mark.slow) for name in ("inline", "ray"))], indirect=True
)


@pytest.fixture(params=RAY_LATER)
def engine(request):
    with ready(request):
        yield {"name": request.param, "workers": 1}


@pytest.fixture(params=RAY_LATER[1:])
def apart(request):
    """An engine whose trials have processes of their own."""
    with ready(request):
        yield {"name": request.param, "workers": 1}


def trials_of(runs, name="toy"):
    return load_study(runs, name)[1].trials


def outcome(trial):
    return trial.user_attrs["hpo:outcome"]


@with_ray
def test_a_budget_is_spent_exactly_and_every_report_is_kept(make_spec, runs, engine):
    result = run(make_spec("smooth", engine=engine), runs)
    assert (result.done, result.progress.complete, result.progress.finished) == (True, 4, 4)
    for trial in trials_of(runs):
        assert trial.state.name == "COMPLETE"
        steps = history.read(layout.trial_directory(runs / "toy", trial.number) / layout.HISTORY)
        assert [step.step for step in steps] == list(range(10))
        assert {name for step in steps for name in step.metrics} == {"score", "other"}
        assert trial.intermediate_values == {step.step: step.metrics["score"] for step in steps}
        assert trial.values == [-((trial.params["x"] - 0.3) ** 2)]
        assert outcome(trial)["metrics"]["other"] == trial.params["x"]


def test_a_red_flag_stops_a_trial_and_every_report_says_what_it_takes(make_spec, runs, engine):
    flags = [
        {"name": "too_much_memory", "gib": 0.001, "action": "warn"},
        {"name": "patience", "when": "epoch == 3 and memory_gib > 0.001 and seconds >= 0"},
    ]
    run(make_spec("smooth", engine=engine, budget={"trials": 1}, red_flags=flags), runs)
    (trial,) = trials_of(runs)
    assert (trial.state.name, outcome(trial)["cause"], outcome(trial)["flag"]) == ("PRUNED", "red_flag", "patience")
    assert outcome(trial)["reason"].startswith("red flag 'patience' at epoch 3: ")
    assert [(flag["name"], flag["step"]) for flag in trial.user_attrs["hpo:flags"]] == [
        ("too_much_memory", 0), ("patience", 3),
    ]  # fmt: skip
    steps = history.read(layout.trial_directory(runs / "toy", 0) / layout.HISTORY)
    assert [step.step for step in steps] == [0, 1, 2, 3]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_trials_on_every_engine(make_spec, tmp_path, ray_here):
    tables = []
    for name in ENGINES:
        spec = make_spec(
            "smooth",
            engine={"name": name, "workers": 1},
            sampler={"name": "tpe", "multivariate": True, "n_startup_trials": 4},
            pruner={"name": "successive_halving", "min_resource": 1, "reduction_factor": 2},
            budget={"trials": 12},
        )
        with collecting_files_of_ray():
            run(spec, tmp_path / name)
        tables.append(
            [
                (t.number, t.state.name, t.params, t.values, t.user_attrs["hpo:job"]["seed"])
                for t in trials_of(tmp_path / name)
            ]
        )
    assert tables[0] == tables[1] == tables[2]
    assert {state for _, state, *_ in tables[0]} == {"COMPLETE", "PRUNED"}


@with_ray
def test_a_pruned_trial_keeps_its_reason(make_spec, runs, engine):
    spec = make_spec(
        "smooth",
        engine=engine,
        budget={"trials": 8},
        pruner={"name": "successive_halving", "min_resource": 1, "reduction_factor": 2},
    )
    result = run(spec, runs)
    pruned = [trial for trial in trials_of(runs) if trial.state.name == "PRUNED"]
    assert len(pruned) == result.progress.pruned > 0
    for trial in pruned:
        assert (
            outcome(trial)["reason"]
            == f"the pruner successive_halving stopped it at step {max(trial.intermediate_values)}"
        )


def test_several_metrics_are_pruned_by_the_first_ones_history(make_spec, runs, engine):
    metrics = [{"name": "score", "direction": "maximize"}, {"name": "other", "direction": "minimize"}]
    spec = make_spec(
        "smooth",
        engine=engine,
        metrics=metrics,
        budget={"trials": 8},
        pruner={"name": "successive_halving", "min_resource": 1, "reduction_factor": 2},
    )
    single = make_spec(
        "smooth",
        name="single",
        engine=engine,
        budget={"trials": 8},
        pruner={"name": "successive_halving", "min_resource": 1, "reduction_factor": 2},
    )
    run(spec, runs)
    run(single, runs)
    assert [t.state for t in trials_of(runs)] == [t.state for t in trials_of(runs, "single")]
    assert {t.state.name for t in trials_of(runs)} == {"COMPLETE", "PRUNED"}
    assert load_study(runs, "toy")[1].best_trials


@with_ray
def test_a_raising_trial_fails_with_its_traceback_and_the_study_goes_on(make_spec, runs, engine):
    result = run(make_spec("raising", engine=engine, budget={"trials": 6, "failures": 6}), runs)
    failed = [trial for trial in trials_of(runs) if trial.state.name == "FAIL"]
    assert result.progress.finished == 6
    assert 0 < len(failed) < 6
    for trial in failed:
        assert outcome(trial)["cause"] == "exception"
        assert outcome(trial)["reason"].startswith("ValueError: the labels are all zero (toys.py:")
        error = layout.trial_directory(runs / "toy", trial.number) / layout.ERROR
        assert "Traceback (most recent call last)" in error.read_text()


@pytest.mark.parametrize(
    ("objective", "cause", "words"),
    [
        ("nan_at_end", "invalid", "metric 'score' is nan at the end of the trial; expected a finite number"),
        ("infinite", "invalid", "metric 'score' is inf at the end"),
        (
            "misspelt",
            "invalid",
            "returned no metric 'score', but scoer; expected {'score': 0.9}. Did you mean 'scoer'?",
        ),
        ("not_a_dict", "invalid", "returned 0.5 (float); expected a dict such as {'score': 0.9}"),
        ("text_metric", "invalid", "metric 'score' is 'good' (str); expected one number"),
        ("text_report", "exception", "TypeError: metric 'score' is 'good' (str); expected one number"),
        ("exits", "exception", "the objective called sys.exit(3)"),
    ],
)
def test_a_wrong_result_is_a_clear_failure(make_spec, runs, engine, objective, cause, words):
    result = run(make_spec(objective, engine=engine, budget={"trials": 1}), runs)
    (trial,) = trials_of(runs)
    assert (trial.state.name, outcome(trial)["cause"]) == ("FAIL", cause)
    assert words in outcome(trial)["reason"]
    assert result.progress.failed == 1


@pytest.mark.parametrize(
    ("objective", "cause", "words"),
    [("out_of_memory", "out_of_memory", "cannot hold 40 GB"), ("gives_up", "objective", "no positives in this fold")],
)
def test_out_of_memory_and_giving_up_are_pruned_with_their_reason(make_spec, runs, engine, objective, cause, words):
    run(make_spec(objective, engine=engine, budget={"trials": 1}), runs)
    (trial,) = trials_of(runs)
    assert (trial.state.name, outcome(trial)["cause"]) == ("PRUNED", cause)
    assert words in outcome(trial)["reason"]


def test_a_study_whose_first_trials_all_fail_is_stopped(make_spec, runs, engine):
    result = run(make_spec("not_a_dict", engine=engine, budget={"trials": 50, "failures": 3}), runs)
    assert result.progress.failed == 3
    assert result.stopped == "the first 3 trials all failed (budget.failures = 3)"


class InterruptAt(Tracker):
    """Presses Ctrl-C at the n-th report."""

    def __init__(self, count):
        self.count = count

    def reported(self, number, step, metrics):
        self.count -= 1
        if self.count == 0:
            os.kill(os.getpid(), 2)


@with_ray
def test_ctrl_c_puts_running_trials_back_and_the_same_command_resumes_from_their_checkpoint(make_spec, runs, engine):
    spec = make_spec("slow", engine=engine, budget={"trials": 3})
    first = run(spec, runs, [InterruptAt(15)])
    assert (first.interrupted, first.done, first.progress.complete, first.progress.requeued) == (True, False, 1, 1)
    second = run(spec, runs)
    assert (second.interrupted, second.done, second.progress.complete) == (False, True, 3)
    trials = trials_of(runs)
    (lost,) = [trial for trial in trials if trial.state.name == "FAIL"]
    (retry,) = [trial for trial in trials if trial.user_attrs["hpo:job"]["retry_of"] == lost.number]
    assert retry.params == lost.params
    assert retry.user_attrs["hpo:job"]["seed"] == lost.user_attrs["hpo:job"]["seed"]
    trained = (layout.trial_directory(runs / "toy", retry.number) / "trained.txt").read_text().split("\n")
    assert [line.split()[1] for line in trained if line] == [str(step) for step in range(10)]
    assert {line.split()[0] for line in trained if line} == {"1", "2"}
    steps = history.read(layout.trial_directory(runs / "toy", retry.number) / layout.HISTORY)
    assert [step.step for step in steps] == list(range(10))
    assert sorted(retry.intermediate_values) == list(range(10))


def test_enqueued_first_then_the_sampler(make_spec, runs, engine):
    run(make_spec("smooth", engine=engine, enqueue=[{"x": 0.25}, {"x": 0.75}], budget={"trials": 3}), runs)
    trials = trials_of(runs)
    assert [trial.params["x"] for trial in trials[:2]] == [0.25, 0.75]
    assert [trial.user_attrs["hpo:job"]["source"] for trial in trials] == ["enqueue", "enqueue", "sampler"]


@pytest.mark.parametrize(
    ("first", "sources"),
    [(0.9, ["enqueue", "fallback", "fallback", "sampler"]), (0.1, ["enqueue", "sampler", "sampler", "sampler"])],
)
def test_fallbacks_are_tried_in_order_only_while_nothing_has_passed(make_spec, runs, engine, first, sources):
    spec = make_spec(
        "raising",
        engine=engine,
        enqueue=[{"x": first}],
        fallbacks=[{"x": 0.8}, {"x": 0.2}, {"x": 0.7}],
        budget={"trials": 4},
    )
    run(spec, runs)
    assert [trial.user_attrs["hpo:job"]["source"] for trial in trials_of(runs)] == sources


def test_every_cell_of_a_grid_once_over_resumes(make_spec, runs, engine):
    space = {
        "x": {"choices": [0.1, 0.2, 0.3]},
        "loss": {"choices": {"bce": {}, "focal": {"gamma": {"choices": [1, 2]}}}},
    }
    keys = {
        "search_space": space,
        "sampler": {"name": "grid"},
        "engine": engine,
        "enqueue": [{"x": 0.2, "loss": "bce"}],
    }
    run(make_spec("smooth", budget={"trials": 4}, **keys), runs)
    result = run(make_spec("smooth", budget={"trials": 100}, **keys), runs)
    cells = [json.dumps(trial.params, sort_keys=True) for trial in trials_of(runs)]
    assert len(cells) == len(set(cells)) == 9
    assert result.done


COMMANDS = {
    "report": """
        import sys, hpo
        trial = hpo.current_trial()
        start = trial.restore() or 0
        for step in range(start, 10):
            trial.save(step)
            hpo.report(step, score=float(sys.argv[1]) - 1 / (step + 1))
    """,
    "json_lines": """
        import json, sys, time
        print("hello, this is not JSON")
        for step in range(10):
            print(json.dumps({"step": step, "score": float(sys.argv[1]) - 1 / (step + 1)}), flush=True)
            time.sleep(0.01)
    """,
}


@pytest.mark.parametrize("program", COMMANDS)
def test_a_command_is_an_objective_too(make_spec, runs, engine, tmp_path, program):
    (tmp_path / "train.py").write_text(textwrap.dedent(COMMANDS[program]))
    spec = make_spec(
        command=[sys.executable, "train.py", "{x}"],
        engine=engine,
        budget={"trials": 6},
        pruner={"name": "successive_halving", "min_resource": 1, "reduction_factor": 2},
    )
    result = run(spec, runs)
    trials = trials_of(runs)
    assert {trial.state.name for trial in trials} == {"COMPLETE", "PRUNED"}
    assert result.progress.failed == 0
    complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
    assert all(trial.value == pytest.approx(trial.params["x"] - 0.1) for trial in complete)
    assert all(trial.intermediate_values.keys() == set(range(10)) for trial in complete)


def test_a_command_that_fails_shows_the_end_of_what_it_printed(make_spec, runs, engine):
    run(
        make_spec(command=["sh", "-c", "echo cannot read the masks >&2; exit 7"], engine=engine, budget={"trials": 1}),
        runs,
    )
    (trial,) = trials_of(runs)
    assert outcome(trial)["reason"] == "the command exited with code 7"
    assert "cannot read the masks" in (layout.trial_directory(runs / "toy", 0) / layout.ERROR).read_text()


def test_the_last_json_line_without_a_step_holds_the_final_metrics(make_spec, runs, engine):
    script = """echo '{{"step": 0, "score": 0.1}}'; echo '{{"score": 0.7}}'"""
    run(make_spec(command=["sh", "-c", script], engine=engine, budget={"trials": 1}), runs)
    assert trials_of(runs)[0].value == 0.7


def test_a_trial_failed_in_the_dashboard_is_ended(make_spec, runs, engine):
    class FailButton(Tracker):
        def reported(self, number, step, metrics):
            if number == 1 and step == 2:
                study = load_study(runs, "toy")[1]
                study._storage.set_trial_state_values(study.trials[1]._trial_id, optuna.trial.TrialState.FAIL)

    result = run(make_spec("slow", engine=engine), runs, [FailButton()])
    assert (result.progress.complete, result.progress.failed) == (3, 1)
    steps = history.read(layout.trial_directory(runs / "toy", 1) / layout.HISTORY)
    assert len(steps) <= 4


def test_seeds_belong_to_the_trial(make_spec, runs, engine, tmp_path):
    run(make_spec("random_numbers", engine=engine), runs)
    values = [trial.value for trial in trials_of(runs)]
    assert len(set(values)) == 4
    run(make_spec("random_numbers", engine=engine), tmp_path / "again")
    assert [trial.value for trial in trials_of(tmp_path / "again")] == values


# --- engines whose trials have processes of their own


def test_a_killed_worker_is_replaced_and_its_trial_resumed_once(make_spec, runs, apart):
    result = run(make_spec("dies_once", engine=apart, budget={"trials": 2}), runs)
    assert (result.progress.complete, result.progress.requeued, result.progress.failed) == (2, 2, 0)
    for trial in trials_of(runs):
        job = trial.user_attrs["hpo:job"]
        if job["attempt"] == 1:
            assert outcome(trial)["cause"] == "lost"
            assert "SIGKILL" in outcome(trial)["reason"]
        else:
            assert trial.state.name == "COMPLETE"
            attempts = {
                s.step: s.attempt
                for s in history.read(layout.trial_directory(runs / "toy", trial.number) / layout.HISTORY)
            }
            assert attempts == {0: 1, 1: 1, 2: 2, 3: 2, 4: 2, 5: 2}


def test_a_trial_that_kills_its_worker_twice_fails_with_its_stacks(make_spec, runs, apart):
    result = run(make_spec("dies_always", engine=apart, budget={"trials": 1}), runs)
    assert (result.progress.failed, result.progress.requeued, result.done) == (1, 1, True)
    last = trials_of(runs)[-1]
    assert "SIGSEGV" in outcome(last)["reason"]
    assert "dies_always" in (layout.trial_directory(runs / "toy", last.number) / layout.ERROR).read_text()


# Seconds that a trial may take. On a busy machine a healthy one, too, is late for the first.
LIMITS = (1.5, 6.0, 24.0, 96.0)


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ("trial_timeout", "ran longer than trial_timeout = {:g} s"),
        ("report_timeout", "reported nothing for report_timeout = {:g} s"),
    ],
)
def test_a_hanging_trial_fails_and_says_where_it_hung(make_spec, runs, apart, limit, words):
    stacks = ""
    for number, seconds in enumerate(LIMITS):
        name = f"toy{number}"
        spec = make_spec("hangs", name=name, budget={"trials": 1}, engine={**apart, limit: seconds})
        result = run(spec, runs)
        (trial,) = trials_of(runs, name)
        assert (result.progress.failed, outcome(trial)["cause"]) == (1, "timeout")
        assert words.format(seconds) in outcome(trial)["reason"]
        stacks = (layout.trial_directory(runs / name, 0) / layout.ERROR).read_text()
        if "_sleep_for_ever" in stacks:
            break  # it did come to where it hangs, and had the time to say so
    assert "_sleep_for_ever" in stacks


def workers_alive():
    """The worker processes that this process keeps, itself or through Ray."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
            if "hpo.worker.main" in child.cmdline():
                found.append(child)
    return found


class PressTwice(Tracker):
    """Ctrl-C twice at the first report, which is the last before the trial hangs."""

    at = 0.0

    def reported(self, number, step, metrics):
        self.at = time.monotonic()
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)  # two of them sent to a busy process may come as one


def test_ctrl_c_twice_ends_even_hanging_trials_at_once(make_spec, runs, apart):
    pressed = PressTwice()
    result = run(make_spec("hangs", engine=apart), runs, [pressed])
    assert time.monotonic() - pressed.at < 60
    assert (result.interrupted, result.progress.requeued) == (True, 1)
    assert not workers_alive()


@pytest.mark.parametrize("cause", ["exception", pytest.param("timeout", marks=pytest.mark.slow)])
def test_retries_are_counted_by_cause(make_spec, runs, apart, cause):
    objective, limits = {
        "exception": ("raises_once", [{}]),
        "timeout": ("hangs_once", [{"report_timeout": seconds} for seconds in LIMITS]),
    }[cause]
    for number, limit in enumerate(limits):
        name = f"toy{number}"
        spec = make_spec(objective, name=name, engine={**apart, **limit, "retries": {cause: 1}}, budget={"trials": 2})
        progress = run(spec, runs).progress
        if progress.failed == 0:
            break  # the second attempts, which do not hang, were in time
    assert (progress.complete, progress.failed, progress.requeued) == (2, 0, 2)
    lost = [trial for trial in trials_of(runs, name) if trial.state.name == "FAIL"]
    assert {outcome(trial)["cause"] for trial in lost} == {cause}
    result = run(make_spec(objective, name="never", engine={**apart, **limits[0]}, budget={"trials": 1}), runs)
    assert (result.progress.failed, result.progress.requeued) == (1, 0)


# --- steering: what is asked of a run from elsewhere, through files


class Steers(Tracker):
    """At the report number `at` it begins to do something from another thread, as another process would: `ask`, while
    the trial waits for the answer to its report, and then `go_on`, while it trains again."""

    def __init__(self, at, ask=lambda: None, go_on=lambda: None):
        self.left = at
        self.ended = {}
        self.failures = []
        self._answered = threading.Event()
        self._thread = threading.Thread(target=self._do, args=(ask, go_on))

    def _do(self, ask, go_on):
        try:
            ask()
            self._answered.set()
            go_on()
        except BaseException as error:
            self.failures.append(error)
        finally:
            self._answered.set()

    def reported(self, number, step, metrics):
        self.left -= 1
        if self.left == 0:
            self._thread.start()
            self._answered.wait()

    def trial_finished(self, job, outcome, progress):
        self.ended[job.number] = time.monotonic()

    def check(self):
        self._thread.join()
        if self.failures:
            raise self.failures[0]


def in_state(runs, *states):
    return [trial.number for trial in trials_of(runs) if trial.state.name in states]


@only_local
def test_while_a_study_is_paused_nothing_starts_and_no_worker_stays(make_spec, runs, engine):
    seen = []

    def pause():
        answer, driven = steer.pause(runs / "toy")
        assert (answer.ok, driven) == (True, True)
        assert "trial 0 is running to the end" in answer.said

    def resume():
        wait_until(lambda: not in_state(runs, "RUNNING"))
        wait_until(lambda: not workers_alive())
        time.sleep(1.0)
        seen.append([trial.state.name for trial in trials_of(runs)])
        assert steer.resume(runs / "toy")[0].ok

    steers = Steers(3, pause, resume)
    result = run(make_spec("slow", engine=engine, budget={"trials": 3}, constants={"seconds": 0.1}), runs, [steers])
    steers.check()
    assert seen == [["COMPLETE"]]
    assert (result.done, result.progress.complete, result.progress.requeued) == (True, 3, 0)
    check_books(runs, 3)


@only_local
def test_a_study_paused_at_once_takes_its_trials_up_again_from_where_they_were(make_spec, runs, engine):
    def pause():
        assert steer.pause(runs / "toy", now=True)[0].ok

    def resume():
        wait_until(lambda: not in_state(runs, "RUNNING"))
        assert [trial.state.name for trial in trials_of(runs)] == ["FAIL", "WAITING"]
        assert steer.resume(runs / "toy")[0].ok

    steers = Steers(3, pause, resume)
    result = run(make_spec("slow", engine=engine, budget={"trials": 2}, constants={"seconds": 0.2}), runs, [steers])
    steers.check()
    assert (result.done, result.progress.complete, result.progress.requeued) == (True, 2, 1)
    trials, _ = check_books(runs, 2)
    assert outcome(trials[0])["reason"] == "the study was paused at once"
    trained = (layout.trial_directory(runs / "toy", 1) / "trained.txt").read_text().split()[1::2]
    assert trained == [str(step) for step in range(10)]


@only_local
def test_a_paused_study_can_be_stopped_and_starts_paused(make_spec, runs, engine):
    def pause():
        assert steer.pause(runs / "toy")[0].ok

    def stop():
        wait_until(lambda: not in_state(runs, "RUNNING"))
        assert steer.stop(runs / "toy").ok

    spec = make_spec("slow", engine=engine, budget={"trials": 2}, constants={"seconds": 0.05})
    steers = Steers(2, pause, stop)
    result = run(spec, runs, [steers])
    steers.check()
    assert (result.interrupted, result.paused, result.progress.complete) == (True, True, 1)
    assert result.stopped_by.count("@") == 1

    class Resumes(Tracker):
        said = ()

        def message(self, text):
            self.said += (text,)
            if "nothing starts until `hpo resume toy" in text:
                threading.Timer(1.0, steer.resume, [runs / "toy"]).start()

    resumes = Resumes()
    result = run(spec, runs, [resumes])
    assert (result.done, result.paused, result.progress.complete) == (True, False, 2), resumes.said
    check_books(runs, 2)


@only_local
def test_a_killed_trial_ends_and_is_not_tried_again(make_spec, runs, engine):
    def kill():
        assert steer.kill(runs / "toy", [0]).ok

    steers = Steers(3, kill)
    spec = make_spec(
        "slow", engine={**engine, "retries": 3}, budget={"trials": 3, "failures": 1}, constants={"seconds": 0.15}
    )
    result = run(spec, runs, [steers])
    steers.check()
    assert (result.progress.failed, result.progress.complete, result.progress.requeued) == (1, 2, 0)
    trials = trials_of(runs)
    note = outcome(trials[0])
    assert note["cause"] == "killed"
    assert note["reason"].endswith(" with `hpo kill`")
    assert [trial.number for trial in trials if trial.params == trials[0].params] == [0]
    check_books(runs, 3)


def test_trials_that_say_nothing_are_killed_at_once(make_spec, runs, apart):
    asked = {}

    def kill():
        for number in (0, 1):
            wait_until(lambda: in_state(runs, "RUNNING") == [number])  # noqa: B023
            wait_until(lambda: history.read(layout.trial_directory(runs / "toy", number) / layout.HISTORY))  # noqa: B023
            asked[number] = time.monotonic()
            assert steer.kill(runs / "toy", [number]).ok

    steers = Steers(1, go_on=kill)
    spec = make_spec("hangs", engine={**apart, "retries": 3}, budget={"trials": 2, "failures": 1})
    result = run(spec, runs, [steers])
    steers.check()
    assert all(steers.ended[number] - asked[number] < 60 for number in (0, 1))  # by themselves they would never
    assert (result.progress.failed, result.progress.requeued, result.stopped) == (2, 0, "")
    assert {outcome(trial)["cause"] for trial in trials_of(runs)} == {"killed"}
    wait_until(lambda: not workers_alive())


def test_a_trial_that_says_nothing_and_is_failed_in_the_dashboard_is_ended(make_spec, runs, apart):
    pressed = []

    def fail():
        study = load_study(runs, "toy")[1]
        study._storage.set_trial_state_values(study.trials[0]._trial_id, optuna.trial.TrialState.FAIL)
        pressed.append(time.monotonic())

    steers = Steers(1, go_on=fail)
    result = run(make_spec("hangs", engine={**apart, "retries": 3}, budget={"trials": 1}), runs, [steers])
    steers.check()
    assert steers.ended[0] - pressed[0] < 60  # by itself it would never
    assert (result.progress.failed, result.progress.requeued) == (1, 0)
    assert len(trials_of(runs)) == 1
    wait_until(lambda: not workers_alive())


def test_a_study_stopped_at_once_ends_in_the_middle_of_a_step(make_spec, runs, engine):
    asked = []

    def stop():
        asked.append(time.monotonic())
        assert steer.stop(runs / "toy", now=True).ok

    steers = Steers(1, go_on=stop)
    # After its first report a trial sleeps for ever.
    result = run(make_spec("hangs", engine=engine, budget={"trials": 2}), runs, [steers])
    steers.check()
    assert time.monotonic() - asked[0] < 120
    assert (result.interrupted, result.progress.requeued) == (True, 1)
    assert "@" in result.stopped_by
    assert in_state(runs, "RUNNING") == []


def test_a_budget_can_be_extended_while_it_is_spent_and_afterwards(make_spec, runs, engine):
    class ExtendsAtTheEnd(Tracker):
        """While the driver's own thread waits: it is another that answers."""

        def trial_finished(self, job, outcome, progress):
            if progress.finished == 2:
                assert steer.extend(runs / "toy", {"trials": "+1"})[0].ok

    spec = make_spec("slow", engine=engine, budget={"trials": 2})
    result = run(spec, runs, [ExtendsAtTheEnd()])
    assert (result.done, result.progress.complete, result.progress.budget) == (True, 3, 3)
    answer, driven = steer.extend(runs / "toy", {"trials": "4"})
    assert (answer.ok, driven) == (True, False)
    assert answer.said == "the budget of study 'toy' is now 4 trials (was 3); no driver is at work on it"
    assert load_study(runs, "toy")[0].budget.trials == 4
    result = run(spec, runs)  # whose own budget is of 2 trials
    assert (result.done, result.progress.complete) == (True, 4)
    check_books(runs, 4)


def test_an_extension_that_comes_as_the_engine_ends_is_not_forgotten(make_spec, runs, engine, monkeypatch):
    made = runner.make_engine

    def make_patched(*arguments):
        engine = made(*arguments)
        drive, times = engine.run, []

        def run(oracle):
            drive(oracle)
            times.append(oracle.budget.progress.finished)
            if len(times) == 1:
                assert steer.extend(runs / "toy", {"trials": "+1"})[0].ok

        engine.run = run
        return engine

    monkeypatch.setattr(runner, "make_engine", make_patched)
    result = run(make_spec("slow", engine=engine, budget={"trials": 1}), runs)
    assert (result.done, result.progress.complete) == (True, 2)


# --- every engine, the replay engine included, with an Oracle over a study in memory


class Calls(Tracker):
    """Note each call of the Oracle, and the thread that it came from."""

    def __init__(self):
        self.calls = []
        self.threads = set()
        self.at_report = lambda number, step: None

    def _note(self, *call):
        self.calls.append(call)
        self.threads.add(threading.current_thread())

    def trial_started(self, job):
        self._note("starts", job.number)

    def reported(self, number, step, metrics):
        self._note("reports", number, step, metrics["score"])
        self.at_report(number, step)

    def trial_finished(self, job, outcome, progress):
        self._note("ends", job.number, outcome.state, outcome.cause)

    def of(self, number):
        return [call for call in self.calls if call[1] == number]


XS = [0.3, 0.9, 0.1, 0.7]


def recorded(x, number):
    """The training that `toys.smooth` does, one second an epoch."""
    score = -((x - 0.3) ** 2)
    steps = tuple(Step(k, k + 1.0, 1, {"score": score - 1.0 / (k + 1), "other": x}) for k in range(10))
    return Recording({"x": x}, steps, Outcome(number, "COMPLETE", {"score": score, "other": x}, seconds=10.0))


every_engine = pytest.mark.parametrize("engine", [*RAY_LATER, "replay"], indirect=True)


@pytest.fixture
def driven(engine, make_spec, runs):
    """Make the parts of a run over four enqueued trials of `toys.smooth`: Oracle, engine, and the calls."""
    calls = Calls()
    made = []

    def make(**keys):
        replayed = engine["name"] == "replay"
        usual = {"enqueue": [{"x": x} for x in XS], "budget": {"trials": len(XS)}}
        keys = usual | {"engine": {"name": "inline"} if replayed else engine} | keys
        spec = make_spec("smooth", **keys)
        sampler, pruner, clock = make_sampler(spec, 0), make_pruner(spec), time.time
        if replayed:
            recordings, clock = Recordings(spec.space, [recorded(x, k) for k, x in enumerate(XS)]), Clock()
            sampler, drives = RecordedSampler(sampler, recordings), ReplayEngine(recordings, clock, 1)
        else:
            drives = make_engine(spec, runs / "toy", print)
        study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
        made.append(Oracle(spec, study, runs / "toy", calls, clock))
        return made[-1], drives, calls

    yield make
    for oracle in made:
        oracle.close()


@every_engine
def test_every_job_has_its_reports_in_order_and_one_outcome(driven):
    oracle, engine, calls = driven()
    engine.run(oracle)
    for number, x in enumerate(XS):
        score = -((x - 0.3) ** 2)
        reports = [("reports", number, k, pytest.approx(score - 1.0 / (k + 1))) for k in range(10)]
        assert calls.of(number) == [("starts", number), *reports, ("ends", number, "COMPLETE", "")]
    assert len(calls.calls) == 4 * 12
    assert calls.threads == {threading.current_thread()}
    assert oracle.ask() is None
    assert oracle.no_more_jobs
    assert not workers_alive()


@every_engine
def test_a_trial_that_gets_a_stop_ends_with_that_report(driven):
    pruner = {"name": "successive_halving", "min_resource": 1, "reduction_factor": 4}
    oracle, engine, calls = driven(pruner=pruner)
    engine.run(oracle)
    pruned = [number for number in range(4) if calls.of(number)[-1] == ("ends", number, "PRUNED", "pruner")]
    assert pruned == [1, 2, 3]  # the first one is the best
    for number in pruned:
        assert [call[2] for call in calls.of(number) if call[0] == "reports"] == [0, 1]


@every_engine
def test_an_interrupted_run_ends_and_its_trial_is_queued_again(driven):
    oracle, engine, calls = driven()
    calls.at_report = lambda number, step: oracle.control.interrupt("stopped") if (number, step) == (1, 2) else None
    engine.run(oracle)
    assert calls.of(1)[-1] == ("ends", 1, "FAIL", "interrupted")
    assert [call[2] for call in calls.of(1) if call[0] == "reports"] == [0, 1, 2]
    progress = oracle.budget.progress
    assert (progress.complete, progress.requeued, progress.running) == (1, 1, 0)
    assert oracle.no_more_jobs
    assert not workers_alive()


@every_engine
def test_a_trial_to_kill_ends_at_the_latest_with_its_report(driven):
    oracle, engine, calls = driven()
    calls.at_report = lambda number, step: oracle.control.kill(1, "killed") if (number, step) == (1, 2) else None
    engine.run(oracle)
    assert calls.of(1)[-1] == ("ends", 1, "FAIL", "killed")
    assert [call[2] for call in calls.of(1) if call[0] == "reports"] == [0, 1, 2]
    assert oracle.budget.progress.complete == 3


@every_engine
def test_it_can_be_run_again_when_the_budget_has_grown(driven):
    oracle, engine, calls = driven(budget={"trials": 2})
    engine.run(oracle)
    assert (oracle.budget.progress.finished, oracle.no_more_jobs) == (2, True)
    oracle.control.extend(Budget(trials=3))
    engine.run(oracle)
    assert (oracle.budget.progress.complete, oracle.no_more_jobs) == (3, True)
    assert calls.of(2)[0] == ("starts", 2)
    assert calls.threads == {threading.current_thread()}


def test_a_paused_replay_ends_and_can_go_on(make_spec, runs):
    """In simulated time nobody can resume it meanwhile."""
    spec = make_spec("smooth", enqueue=[{"x": x} for x in XS], budget={"trials": len(XS)})
    recordings, clock = Recordings(spec.space, [recorded(x, k) for k, x in enumerate(XS)]), Clock()
    study = optuna.create_study(direction="maximize", sampler=RecordedSampler(make_sampler(spec, 0), recordings))
    oracle = Oracle(spec, study, runs / "toy", None, clock)
    oracle.control.pause()
    engine = ReplayEngine(recordings, clock, 2)
    engine.run(oracle)
    assert (oracle.budget.progress.finished, oracle.no_more_jobs) == (0, False)
    oracle.control.resume()
    engine.run(oracle)
    assert (oracle.budget.progress.complete, clock.now) == (4, 20.0)
