"""The contract of an engine, run on every implementation."""

from __future__ import annotations

import json
import os
import signal
import sys
import textwrap
import time

import optuna
import psutil
import pytest

from hpo import history, layout
from hpo.runner import run
from hpo.storage import load_study
from hpo.trackers.base import Tracker

ENGINES = ["inline", "local", "ray"]


@pytest.fixture(params=ENGINES)
def engine(request):
    if request.param == "ray":
        request.getfixturevalue("ray_here")
    return {"name": request.param, "workers": 1}


@pytest.fixture(params=ENGINES[1:])
def apart(request):
    """An engine whose trials have processes of their own."""
    if request.param == "ray":
        request.getfixturevalue("ray_here")
    return {"name": request.param, "workers": 1}


def trials_of(runs, name="toy"):
    return load_study(runs, name)[1].trials


def outcome(trial):
    return trial.user_attrs["hpo:outcome"]


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
        run(spec, tmp_path / name)
        tables.append(
            [
                (t.number, t.state.name, t.params, t.values, t.user_attrs["hpo:job"]["seed"])
                for t in trials_of(tmp_path / name)
            ]
        )
    assert tables[0] == tables[1] == tables[2]
    assert {state for _, state, *_ in tables[0]} == {"COMPLETE", "PRUNED"}


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


@pytest.mark.parametrize(
    ("timeout", "words"),
    [
        ({"trial_timeout": 1.5}, "ran longer than trial_timeout = 1.5 s"),
        ({"report_timeout": 1.5}, "reported nothing for report_timeout = 1.5 s"),
    ],
)
def test_a_hanging_trial_fails_and_says_where_it_hung(make_spec, runs, apart, timeout, words):
    result = run(make_spec("hangs", budget={"trials": 1}, engine={**apart, **timeout}), runs)
    (trial,) = trials_of(runs)
    assert (result.progress.failed, outcome(trial)["cause"]) == (1, "timeout")
    assert words in outcome(trial)["reason"]
    assert "_sleep_for_ever" in (layout.trial_directory(runs / "toy", 0) / layout.ERROR).read_text()


def workers_alive():
    """The worker processes that this process keeps, itself or through Ray."""
    return [child for child in psutil.Process().children(recursive=True) if "hpo.worker" in child.cmdline()]


class PressTwice(Tracker):
    """Ctrl-C twice at the first report, which is the last before the trial hangs."""

    at = 0.0

    def reported(self, number, step, metrics):
        self.at = time.monotonic()
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_twice_ends_even_hanging_trials_at_once(make_spec, runs, apart):
    pressed = PressTwice()
    result = run(make_spec("hangs", engine=apart), runs, [pressed])
    assert time.monotonic() - pressed.at < 15
    assert (result.interrupted, result.progress.requeued) == (True, 1)
    assert not workers_alive()


@pytest.mark.parametrize("cause", ["exception", "timeout"])
def test_retries_are_counted_by_cause(make_spec, runs, apart, cause):
    objective, limit = {"exception": ("raises_once", {}), "timeout": ("hangs_once", {"report_timeout": 1.0})}[cause]
    spec = make_spec(objective, engine={**apart, **limit, "retries": {cause: 1}}, budget={"trials": 2})
    result = run(spec, runs)
    assert (result.progress.complete, result.progress.failed, result.progress.requeued) == (2, 0, 2)
    lost = [trial for trial in trials_of(runs) if trial.state.name == "FAIL"]
    assert {outcome(trial)["cause"] for trial in lost} == {cause}
    result = run(make_spec(objective, name="never", engine={**apart, **limit}, budget={"trials": 1}), runs)
    assert (result.progress.failed, result.progress.requeued) == (1, 0)
