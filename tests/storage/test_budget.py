"""Budgets and shares of the machine, by hand."""

import time
from datetime import datetime
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.errors import ResourceError
from hpo.machine.resources import Slot, slots
from hpo.storage.budget import Span, exhausted, run_clock, seconds_left, span_of, wall_seconds


def limits(trials=None, hours=None, gpu_hours=None, by=None):
    return SimpleNamespace(trials=trials, hours=hours, gpu_hours=gpu_hours, by=by)


def test_wall_time_is_the_union_of_the_spans():
    # 0-10 and 5-20 overlap, 30-40 stands alone, 32-35 lies within: 20 + 10.
    spans = [Span(30, 40, 0), Span(0, 10, 0), Span(5, 20, 0), Span(32, 35, 0)]
    assert wall_seconds(spans) == 30
    assert wall_seconds([]) == 0


def test_runs_whose_clocks_were_apart_are_counted_each_by_itself():
    # The second run began at 5 by a clock that had been set back; both took 10.
    assert wall_seconds([Span(0, 10, 0, "a"), Span(5, 15, 0, "b"), Span(6, 9, 0, "b")]) == 20


@pytest.mark.parametrize("jump", [-1e9, -3600.0, 3600.0, 1e9])
def test_a_clock_that_is_set_during_a_run_changes_no_time_of_that_run(monkeypatch, jump):
    clock = run_clock()
    before, real = clock(), time.time
    monkeypatch.setattr(time, "time", lambda: real() + jump)
    assert 0 <= clock() - before < 600
    assert abs(before - real()) < 600


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 10)), max_size=12))
def test_wall_time_counts_each_second_once(pairs):
    seconds = {second for start, length in pairs for second in range(start, start + length)}
    assert wall_seconds([Span(start, start + length, 0) for start, length in pairs]) == len(seconds)


def test_what_spends_a_budget():
    hour = [Span(0, 3600, 1800)]
    assert exhausted(limits(trials=3), 2, hour, now=0.0) == ""
    assert exhausted(limits(trials=3), 3, hour, now=0.0) == "the budget of 3 trials is spent"
    assert exhausted(limits(trials=1), 1, hour, now=0.0) == "the budget of 1 trial is spent"
    assert exhausted(limits(hours=1), 1, hour, now=0.0) == "the budget of 1 hour is spent"
    assert exhausted(limits(hours=1.5), 1, hour, now=0.0) == ""
    assert exhausted(limits(gpu_hours=0.5), 1, hour, now=0.0) == "the budget of 0.5 GPU hours is spent"
    assert exhausted(limits(gpu_hours=0.6), 1, hour, now=0.0) == ""
    assert exhausted(limits(), 10**6, hour, now=0.0) == ""


def test_a_span_is_read_from_a_trials_notes():
    job, outcome = {"started": 5.0, "run": "a"}, {"finished": 9.0, "gpu_seconds": 2.0}
    assert span_of({"hpo:job": job, "hpo:outcome": outcome}) == Span(5.0, 9.0, 2.0, "a")
    del job["run"]  # of earlier versions
    assert span_of({"hpo:job": job, "hpo:outcome": outcome}) == Span(5.0, 9.0, 2.0)
    assert span_of({"hpo:job": job}) is None


def test_halves_of_gpus_are_spread_before_they_are_doubled():
    assert slots(3, 2, 0.5, ("0", "1")) == [Slot(2, ("0",), 0.5), Slot(2, ("1",), 0.5), Slot(2, ("0",), 0.5)]


def test_without_workers_the_gpus_are_filled():
    assert [slot.gpus for slot in slots(None, 1, 0.5, ("0", "1"))] == [("0",), ("1",), ("0",), ("1",)]
    assert [slot.gpus for slot in slots(None, 1, 2, ("0", "1", "2", "3"))] == [("0", "1"), ("2", "3")]


@pytest.mark.parametrize(
    ("workers", "gpu", "gpus", "words"),
    [
        (1, 1, (), "engine.gpu is 1, but no GPU is visible here"),
        (5, 0.5, ("0", "1"), "room for 5 workers of 0.5 GPU each, but 2 visible GPUs can hold 4"),
        (None, 4, ("0", "1"), "room for 1 worker of 4 GPU each, but 2 visible GPUs can hold 0"),
    ],
)
def test_too_few_gpus_is_a_sentence(workers, gpu, gpus, words):
    with pytest.raises(ResourceError) as caught:
        slots(workers, 1, gpu, gpus)
    assert words in str(caught.value)


def test_cpu_workers_share_the_cores():
    assert slots(2, 3, 0) == [Slot(3), Slot(3)]
    assert len(slots(None, None, 0)) >= 1


def test_a_moment_ends_a_budget_and_bounds_its_hours():
    by = datetime.fromtimestamp(1000.0).astimezone()
    hour = [Span(0, 3600, 0)]
    assert exhausted(limits(by=by), 0, [], now=999.0) == ""
    assert exhausted(limits(by=by), 0, [], now=1000.0).startswith("the time of the budget has come: 1970-01-01 ")
    assert seconds_left(limits(by=by), [], now=400.0) == 600.0
    assert seconds_left(limits(by=by, hours=1.1), hour, now=400.0) == pytest.approx(360.0)  # a tenth of an hour
    assert seconds_left(limits(by=by), [], now=1001.0) == 0.0
    assert seconds_left(limits(trials=3), hour, now=0.0) is None
