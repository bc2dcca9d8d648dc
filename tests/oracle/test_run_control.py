"""What people ask of a run, and what it counts."""

from __future__ import annotations

import math
from types import SimpleNamespace

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo.oracle.budget_count import BudgetCount
from hpo.oracle.run_control import RunControl
from hpo.spec.models import Budget
from hpo.storage.budget import Span, exhausted, wall_seconds
from hpo.trial import EXCEPTION, INTERRUPTED, KILLED, LOST, OBJECTIVE, PRUNER, Outcome


@pytest.fixture
def running():
    return {3: "a trial", 1: "another"}


@pytest.fixture
def control(make_spec, running):
    return RunControl(make_spec(budget={"trials": 3, "failures": 2}), optuna.create_study(), running)


def test_an_interruption_is_the_answer_to_every_report_and_a_pause_to_those_of_trials_that_nobody_kills(control):
    assert control.interruption(1) is None
    control.pause()
    assert control.interruption(1) is None  # it runs to its end
    control.pause(now=True)
    control.pause()  # does not take the other back
    control.kill(3, "killed")
    stop = control.interruption(1)
    assert (stop.reason, stop.interrupted) == ("the study was paused at once", True)
    assert control.interruption(3) is None
    control.resume()
    assert (control.paused, control.interruption(1)) == (False, None)
    control.interrupt("the study is being stopped")
    assert control.interruption(3).reason == control.interruption(1).reason == "the study is being stopped"


def test_only_running_trials_are_killed_and_the_first_reason_stays(control, running):
    assert control.running == (1, 3)
    assert not control.kill(2, "killed")
    assert control.kill(1, "killed by alice")
    assert control.kill(1, "killed by bob")
    assert control.trials_to_kill() == {1: "killed by alice"}
    del running[1]  # it ended by itself
    assert control.trials_to_kill() == {}
    assert (control.take_kill(1), control.take_kill(1), control.take_kill(3)) == ("killed by alice", None, None)


def test_an_extension_is_taken_once_and_does_not_outlast_an_interruption(control):
    assert (control.extended, control.take_extension()) == (False, False)
    control.extend(Budget(trials=9))
    assert (control.extended, control.spec.budget.trials) == (True, 9)
    assert control.take_extension()
    assert not control.take_extension()
    control.extend(Budget(trials=10))
    control.interrupt("stopped")
    assert not control.extended


def end(count, number, state, cause="", again=False):
    count.on_trial_started(number, 0.0)
    metrics = {} if cause else {"score": 0.1 * number}
    count.on_trial_finished(Outcome(number, state, metrics, cause=cause, reason=cause and "why"), again, 1.0, 0.0)


def test_a_count_by_hand(control):
    count = BudgetCount(control, [], lambda: 10.0)
    assert (count.progress.budget, count.progress.best, count.spent()) == (3, None, False)
    end(count, 0, "FAIL", KILLED)
    assert not count.fallback_due  # a trial that a person killed says nothing
    end(count, 1, "PRUNED", OBJECTIVE)
    assert count.fallback_due
    end(count, 2, "FAIL", INTERRUPTED, again=True)
    end(count, 3, "PRUNED", PRUNER)
    assert not count.fallback_due
    count.on_trial_started(4, 5.0)
    progress = count.progress
    assert (progress.failed, progress.pruned, progress.requeued, progress.running) == (1, 2, 1, 1)
    assert count.spent()  # 3 finished, and one is running
    assert (count.done, count.stopped) == ("the budget of 3 trials is spent", "")
    control.extend(Budget(trials=5))
    assert (count.spent(), count.done, count.progress.budget) == (False, "", 5)


def test_the_best_is_the_largest_of_a_metric_to_maximise_and_of_equals_the_first(control):
    count = BudgetCount(control, [], lambda: 10.0)
    for number in (2, 5, 1):
        end(count, number, "COMPLETE")
    count.on_trial_started(7, 0.0)
    count.on_trial_finished(Outcome(7, "COMPLETE", {"score": 0.5}), False, 1.0, 0.0)
    assert (count.progress.best, count.progress.best_number, count.progress.complete) == (0.5, 5, 4)


def test_failures_from_the_start_stop_a_study(control):
    count = BudgetCount(control, [], lambda: 10.0)
    end(count, 0, "FAIL", KILLED)
    end(count, 1, "FAIL", EXCEPTION)
    assert not count.spent()
    control.extend(Budget(trials=9, failures=2))
    end(count, 2, "FAIL", EXCEPTION)
    assert (count.spent(), count.stopped) == (True, "the first 2 trials all failed (budget.failures = 2)")


def test_hours_count_running_trials_up_to_now(control):
    control.extend(Budget(hours=1))
    now = [0.0]
    count = BudgetCount(control, [], lambda: now[0])
    count.on_trial_started(0, 0.0)
    now[0] = 3599.0
    assert not count.spent()
    now[0] = 3600.0
    assert (count.spent(), count.done) == (True, "the budget of 1 hour is spent")


@settings(max_examples=100)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 90)), max_size=40), st.integers(0, 20))
def test_what_was_spent_is_what_all_spans_together_say(turns: list[tuple[bool, int]], until: int) -> None:
    """Trials start and end at random; in the middle another run takes over."""
    limits = Budget(hours=0.2, gpu_hours=0.1)
    spec = SimpleNamespace(
        metrics=[SimpleNamespace(name="score")], search_budget=limits, engine=SimpleNamespace(gpus=0.5)
    )
    control, now = SimpleNamespace(spec=spec), [1000.0]
    count = BudgetCount(control, [], lambda: now[0])  # type: ignore[arg-type]
    spans, running = list[Span](), dict[int, float]()
    for number, (starts, seconds) in enumerate(turns):
        now[0] += seconds
        if starts or not running:
            running[number] = now[0]
            count.on_trial_started(number, now[0])
        else:
            ended, started = running.popitem()
            spans.append(Span(started, now[0], (now[0] - started) / 2, "this"))
            outcome = Outcome(ended, "FAIL", cause=LOST, reason="why")
            count.on_trial_finished(outcome, True, now[0], spans[-1].gpu_seconds)
        now[0] += until
        all_spans = [*spans, *(Span(one, now[0], (now[0] - one) / 2, "this") for one in running.values())]
        count.spent()
        assert count.done == exhausted(limits, len(running), all_spans, now[0])
        longest = max(span.finished - span.started for span in all_spans)
        dearest = max(span.gpu_seconds for span in all_spans)
        assert sum(span.finished - span.started for span in count._spans(now[0])) == wall_seconds(all_spans)
        gpu_left = 360 - sum(span.gpu_seconds for span in all_spans)
        at_once = count._at_once
        wall_left = max(0.0, 720 - wall_seconds(all_spans))
        expected = min(
            wall_left * at_once / longest if longest else math.inf, gpu_left / dearest if dearest else math.inf
        )
        assert count.trials_left() == pytest.approx(expected)
        assert len(count._spans(now[0])) == 2, "however many trials there were"
