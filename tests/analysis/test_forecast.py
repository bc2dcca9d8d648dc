"""The forecast of a study's end, by hand."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import pytest
from reading import study, trial

from hpo.analysis import forecast
from hpo.analysis.forecast import (
    Composition,
    Interval,
    Limits,
    Model,
    Timing,
    composition_of,
    epochs_of,
    gaps,
    group_of,
    rest_of,
    timing,
    timings_of,
)
from hpo.analysis.records import StudyRecord, TrialRecord
from hpo.storage.history import Step


def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave nothing that is not known beforehand."""
    monkeypatch.setattr(forecast, "SPREAD", 0.0)


def model(timings: list[Timing], shares=(1.0,), epochs=(10,), cells=None, drift=0.0, weights=None) -> Model:
    groups = {one.group for one in timings}
    weights = weights or dict.fromkeys(groups, 1e6)
    return Model(timings, Composition(weights, cells, dict.fromkeys(groups, epochs)), list(shares), drift)


def test_seconds_of_a_training_are_told_apart():
    # 10 s in all; 4 epochs of 2 s each, so 2 s beside them; it was to have 8.
    reports = [(1, 104.0), (2, 106.0), (3, 108.0), (4, 110.0)]
    assert timing("a", 10.0, reports, 8) == Timing("a", 2.0, 2.0, 0.5)
    # It reports every fifth epoch: 10 s for five are 2 s an epoch, of 20 epochs.
    every_fifth = [(5, 10.0), (10, 20.0), (15, 30.0), (20, 40.0)]
    assert timing("a", 41.0, every_fifth, 20, whole=True) == Timing("a", 1.0, 2.0, 1.0)
    # Its steps are batches: only the whole of it is known.
    batches = [(100, 1.0), (200, 2.0)]
    assert timing("a", 30.0, batches, 10, whole=True) == Timing("a", 0.0, 3.0, 1.0)
    assert timing("a", 30.0, batches, 10) is None
    assert timing("a", 7.0, [], None) == Timing("a", 0.0, 7.0, 1.0)


def test_a_night_between_two_reports_is_no_epoch():
    assert gaps([0.0, 1.0, 2.0, 50_000.0, 50_001.0]) == [1.0, 1.0, 1.0, 1.0]
    assert gaps([0.0, 2.0, 1.0, 3.0]) == [2.0, 2.0, 2.0]  # a clock that was set back
    assert gaps([5.0]) == []


def test_trials_are_placed_as_workers_become_free(monkeypatch):
    exact(monkeypatch)
    # A trial: 1 s + 10 epochs of 0.9 s = 10 s; five on two workers: 30 s. A worker takes 3 s to start.
    timings = [Timing("a", 4.0, 0.9, first=True), *[Timing("a", 1.0, 0.9)] * 5]
    found = model(timings).forecast(Limits(trials=5), workers=2)
    assert found.seconds == pytest.approx((33.0, 33.0, 33.0))
    assert found.busy == pytest.approx((50.0, 50.0, 50.0))
    assert found.trials == (5, 5, 5)


def test_hours_end_the_start_of_trials_and_not_trials(monkeypatch):
    exact(monkeypatch)
    # Trials of 10 s on one worker: those that start at 0, 10 and 20 s are started before 25 s, and the last ends at 30.
    found = model([Timing("a", 0.0, 1.0)] * 3).forecast(Limits(seconds=25.0), workers=1, running=())
    assert found.trials.middle == 3
    assert found.seconds.middle == pytest.approx(30.0)
    # GPU seconds: after 25 of them none starts.
    assert model([Timing("a", 0.0, 1.0)] * 3).forecast(Limits(busy=25.0), 1, ()).trials.middle == 3


def test_running_trials_take_the_rest_of_what_such_trials_take(monkeypatch):
    exact(monkeypatch)
    found = model([Timing("a", 0.0, 1.0)] * 3).forecast(Limits(trials=0), 2, [("a", 4.0), ("a", 9.0)])
    assert found.seconds == pytest.approx((6.0, 6.0, 6.0))


def test_a_grid_has_exactly_the_cells_that_are_left(monkeypatch):
    exact(monkeypatch)
    timings = [Timing("a", 0.0, 1.0), Timing("b", 0.0, 3.0)]
    found = model(timings, cells={"a": 2, "b": 1}).forecast(Limits(trials=3), 1, ())
    assert found.seconds == pytest.approx((50.0, 50.0, 50.0))
    assert found.parts == pytest.approx({"a": 0.4, "b": 0.6})


def test_the_pruner_and_the_epochs_count(monkeypatch):
    exact(monkeypatch)
    # Half of the trials train 2 of 10 epochs: 6 s as a mean, of 20-epoch trials 12 s.
    shares = [0.2, 1.0] * 50
    tens = model([Timing("a", 0.0, 1.0)] * 3, shares).forecast(Limits(trials=400), 1, ())
    twenties = model([Timing("a", 0.0, 1.0)] * 3, shares, epochs=(20,)).forecast(Limits(trials=400), 1, ())
    assert tens.seconds.middle == pytest.approx(2400, rel=0.05)
    assert twenties.seconds.middle == pytest.approx(4800, rel=0.05)


def test_many_trials_are_drawn_as_fewer(monkeypatch):
    exact(monkeypatch)
    found = model([Timing("a", 0.0, 1.0)] * 3).forecast(Limits(trials=100_000), 10, ())
    assert found.seconds.middle == pytest.approx(100_000, rel=0.01)
    assert found.trials.middle == pytest.approx(100_000, rel=0.01)


def test_the_interval_is_that_of_the_drift_where_nothing_else_is_unknown(monkeypatch):
    exact(monkeypatch)
    # 80% of a normal distribution lie within 1.2816 standard deviations.
    found = model([Timing("a", 0.0, 1.0)] * 3, drift=0.2).forecast(Limits(trials=4), 1, (), draws=20_000)
    assert found.seconds.low == pytest.approx(40 * math.exp(-1.2816 * 0.2), rel=0.02)
    assert found.seconds.high == pytest.approx(40 * math.exp(1.2816 * 0.2), rel=0.02)


def test_the_start_of_the_only_trials_may_be_the_workers(monkeypatch):
    exact(monkeypatch)
    # 20 s of start and 10 of training, seen once. Each of ten trials pays it, or the worker once: 120 to 300 s.
    found = model([Timing("a", 20.0, 1.0, first=True)]).forecast(Limits(trials=10), 1)
    assert 120 < found.seconds.low < 125
    assert 215 < found.seconds.high < 280  # 251 at the nine tenths of a uniform number, cubed


def test_more_measurements_make_a_narrower_interval():
    rng = random.Random(0)
    logs = [rng.gauss(0, 0.3) for _ in range(40)]
    few, many = (
        model([Timing("a", 0.0, math.exp(log)) for log in logs[:n]]).forecast(Limits(trials=30), 2, ()) for n in (2, 40)
    )
    assert many.seconds.high / many.seconds.low < few.seconds.high / few.seconds.low


def test_the_interval_holds_in_four_of_five_studies():
    """Whole studies are drawn from the model's own assumptions, with means, spread and drift that it is not told."""
    rng = np.random.default_rng(3)
    held, tries = 0, 150
    for _ in range(tries):
        means, spread, drift = rng.normal(0, 1, 3), 0.3, math.exp(rng.normal(0, forecast.DRIFT))

        def training(index: int, means=means, spread=spread) -> float:
            return math.exp(means[index] + rng.normal(0, spread))

        seen = [Timing("abc"[k % 3], 0.0, training(k % 3)) for k in range(12)]
        took = drift * 10 * sum(training(int(k)) for k in rng.integers(0, 3, 40))
        found = model(seen, drift=forecast.DRIFT, weights=dict.fromkeys("abc", 20.0)).forecast(Limits(trials=40), 1, ())
        held += found.seconds.low <= took <= found.seconds.high
    assert 0.72 <= held / tries <= 0.95


def test_what_is_known_of_the_space(make_spec):
    space = {"net": {"choices": ["small", "large"], "structural": True}, "epochs": {"choices": [5, 10]}}
    spec = make_spec(search_space=space, sampler="grid", budget={})
    composition = composition_of(spec)
    assert composition.cells == {"net small": 2, "net large": 2}
    assert composition.epochs == {"net small": (5, 10), "net large": (5, 10)}
    assert composition.with_trials(["net small"]).cells == {"net small": 1, "net large": 2}
    assert group_of(spec, {"net": "small", "epochs": 5}) == "net small"
    assert epochs_of(spec, {"net": "small", "epochs": 5}) == 5
    plain = make_spec(constants={"max_epochs": 7})
    assert (group_of(plain, {"x": 0.5}), epochs_of(plain, {"x": 0.5})) == ("all trials", 7)
    assert composition_of(plain).cells is None
    assert epochs_of(make_spec(constants={"epochs": "many"}), {}) is None


def test_the_rest_of_a_run(monkeypatch, make_spec, tmp_path):
    exact(monkeypatch)
    monkeypatch.setattr(forecast, "DRIFT_IN_RUN", 0.0)
    spec = make_spec(constants={"epochs": 4}, budget={"trials": 6}, engine={"workers": 2})

    def trial(number: int, started: float, seconds: float | None, state: str = "COMPLETE") -> TrialRecord:
        history = tuple(Step(k, started + 5 * k, 1, {"score": 0.0}) for k in (1, 2, 3, 4))
        return TrialRecord(number, state, {"x": 0.5}, seconds=seconds, started=started, history=history)

    # 20 s a trial, but for the first of each worker, which take 30. At 110 s one runs since 0 s, one since 5 s, and two
    # are to come: at 15 and 20 s from now they start, and at 40 the last one ends.
    done = [trial(0, 50.0, 30.0), trial(1, 55.0, 30.0), *(trial(k, 80.0, 20.0) for k in (2, 3))]
    running = [trial(4, 105.0, None, "RUNNING"), trial(5, 110.0, None, "RUNNING")]
    study = StudyRecord("toy", tmp_path, spec.metrics, None, spec.space, (*done, *running), spec)
    more = make_spec(constants={"epochs": 4}, budget={"trials": 8}, engine={"workers": 2})
    found = rest_of(study, more, 110.0)
    assert found is not None
    assert found.seconds == pytest.approx((40.0, 40.0, 40.0))
    assert rest_of(study, spec, 110.0).seconds == pytest.approx((20.0, 20.0, 20.0))
    # Of 65 s in which trials may run 60 are over: in 5 s none starts, and those that run then end.
    hours = make_spec(constants={"epochs": 4}, budget={"hours": 65 / 3600}, engine={"workers": 2})
    assert rest_of(study, hours, 110.0).seconds == pytest.approx((20.0, 20.0, 20.0))
    assert rest_of(study, make_spec(budget={"gpu_hours": 1}), 110.0) is None
    assert rest_of(replace(study, trials=()), spec, 110.0) is None


def test_what_waits_is_still_to_come_where_time_is_left_to_it(monkeypatch, make_spec, tmp_path):
    exact(monkeypatch)
    monkeypatch.setattr(forecast, "DRIFT_IN_RUN", 0.0)
    keys = {"constants": {"epochs": 4}, "engine": {"workers": 1}, "search_space": {"x": {"choices": [1, 2, 3]}}}
    spec = make_spec(**keys, sampler="grid", budget={"hours": 1})

    def trial(number: int, state: str, waits: bool = False) -> TrialRecord:
        history = tuple(Step(k, 100.0 * number + 5 * k, 1, {"score": 0.0}) for k in ((1,) if waits else (1, 2, 3, 4)))
        took = 5.0 if waits else 20.0
        return TrialRecord(number, state, {"x": 1}, seconds=took, started=100.0 * number, history=history, waits=waits)

    def left(trials: tuple[TrialRecord, ...], of=spec) -> float:
        return rest_of(StudyRecord("toy", tmp_path, of.metrics, None, of.space, trials, of), of, 500.0).seconds.middle

    done = trial(0, "COMPLETE")
    # Two wait after one of four epochs of 5 s: a training each; without a limit of time nothing is to come.
    assert left((done, trial(1, "PRUNED", True), trial(2, "PRUNED", True))) == pytest.approx(40.0)
    assert left((done, trial(1, "PRUNED"), trial(2, "PRUNED"))) == 0.0
    trials = make_spec(**keys, sampler="grid", budget={"trials": 3})
    assert left((done, trial(1, "PRUNED", True), trial(2, "PRUNED", True)), trials) == 0.0


def test_nothing_left_takes_no_time():
    found = model([Timing("a", 1.0, 1.0)] * 2).forecast(Limits(trials=0), 2, ())
    assert found.seconds == Interval(0, 0, 0)
    assert found.trials == (0, 0, 0)


def test_of_very_many_trials_a_part_is_timed(monkeypatch: pytest.MonkeyPatch, make_spec):
    """Each needs its history: the first ones, which began with the start of a worker, and others evenly spaced."""
    monkeypatch.setattr(forecast, "MOST_TIMED", 10)
    spec = make_spec()
    record = study([trial(k, {"x": 0.5}, 0.5, seconds=1.0 + k, started=100.0 * k) for k in range(95)], group_by=None)
    found = timings_of(record, spec, 3)
    assert [one.epoch for one in found] == [1.0 + k for k in (0, 1, 2, *range(10, 95, 10))]
    assert [one.first for one in found] == [True] * 3 + [False] * 9


@pytest.mark.parametrize("fresh", [False, True])
def test_a_trial_that_starts_a_process_pays_for_it_each_time(make_spec, fresh: bool):
    """A command does, and so does a function where study.yaml asks for it: no start is that of a worker alone."""
    spec = make_spec(engine={"workers": 2, "fresh_process": True}) if fresh else make_spec()
    if not fresh:
        spec = spec.model_copy(update={"objective": None, "command": ("python", "train.py")})
    record = study([trial(k, {"x": 0.5}, 0.5, seconds=4.0, started=10.0 * k) for k in range(3)], group_by=None)
    assert [one.first for one in timings_of(record, spec, 2)] == [False] * 3


def test_starts_that_each_trial_pays_are_all_in_the_forecast(monkeypatch: pytest.MonkeyPatch):
    exact(monkeypatch)
    # 3 s of start and 10 epochs of 1 s, of 4 trials: 52 s. As the starts of a worker they would be paid once, mostly.
    each = model([Timing("a", 3.0, 1.0)]).forecast(Limits(trials=4), 1)
    assert each.seconds == pytest.approx((52.0, 52.0, 52.0))
    once = model([Timing("a", 3.0, 1.0, first=True)]).forecast(Limits(trials=4), 1)
    assert once.seconds.middle < 48.0
