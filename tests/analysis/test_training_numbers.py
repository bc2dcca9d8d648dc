from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import epochs

from hpo.analysis.training.diagnosis import Convergence, coefficient, diagnose, percent_less, within
from hpo.analysis.training.training_log import TrainingLog
from hpo.curves import predicates
from hpo.reports import markdown
from hpo.reports.training_report import diagnosis_data, training_report
from hpo.spec.models import Metric

SCORE = Metric(name="val_score", direction="maximize")


def log(**values: Sequence[float]) -> TrainingLog:
    return TrainingLog("x", epochs(1, **values))


def test_the_numbers_of_a_training() -> None:
    train = [10.0, 5.0, 3.0, 2.0, 1.5, 1.2, 1.1, 1.0, 1.0, 1.0, 1.0, 1.0]
    val = [10.0, 6.0, 4.0, 3.0, 2.0, 2.0, 2.5, 3.0, 4.0, 4.0, 4.0, 4.0]
    found = diagnose(log(train_loss=train, val_loss=val))
    assert (found.epochs, found.loss, found.metric) == (12, "loss", "val_loss")
    assert found.reduction == pytest.approx(90)
    # Running medians of 3: 7.5, 5, 3, 2, 1.5, ...; nine tenths of the way from 10 to 1 are at 1.9.
    assert found.convergence == Convergence(5, 18)
    assert found.stability == pytest.approx(np.std(val[-10:], ddof=1) / np.mean(val[-10:]))
    assert (found.best_epoch, found.best) == (5, 2)
    # The best level is 2 (epochs 5 and 6), the last 4: a quarter of the 8 that were gained.
    assert found.risk is not None
    assert (found.risk.share, found.risk.word) == (pytest.approx(0.25), "high")
    assert (found.risk.gap, found.risk.gap_at_best) == (pytest.approx(3), pytest.approx(0.5))
    assert found.judgement.verdict == "overfitting"
    assert [(one.code, one.numbers.get("epoch")) for one in found.advice] == [("stop_at", 5), ("regularise", None)]
    (loss,) = found.components
    assert (loss.train_first, loss.train_last, loss.val_first, loss.val_last) == (10, 1, 10, 4)
    assert loss.mean == pytest.approx(np.mean(train))
    assert loss.deviation == pytest.approx(np.std(train, ddof=1))


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [(4, 1, 75), (1, 2, -100), (4, 0, 100), (0, 1, None), (-1, -2, None), (1, -1, None), (math.nan, 1, None)],
)
def test_a_percentage_only_of_what_is_above_0(first: float, last: float, expected: float | None) -> None:
    assert percent_less(first, last) == expected


def test_a_coefficient_needs_two_values_above_0() -> None:
    assert coefficient([1.0, 3.0]) == pytest.approx(math.sqrt(2) / 2)
    assert coefficient([1.0]) is None
    assert coefficient([1.0, 0.0]) is None
    assert coefficient([1.0, math.inf]) is None


def test_what_happens_within_an_epoch() -> None:
    # 20 steps: a tenth are two. From the mean of 10 and 8 to that of 3 and 3.
    values = np.array([10.0, 8, *[5.0] * 16, 3, 3])
    found = within(values)
    assert found.improvement == pytest.approx(100 * (1 - 3 / 9))
    assert found.volatility == pytest.approx(100 * values.std(ddof=1) / values.mean())
    assert within(np.array([1.0])) == within(np.array([1.0, math.nan]))
    assert within(np.array([-1.0, -2.0])).volatility is None


def steps_of(weights: Sequence[float], seed: int = 0) -> dict[str, np.ndarray]:
    """60 steps of three epochs, in which the total is the weighted sum of components on scales of their own."""
    rng = np.random.default_rng(seed)
    parts = {name: scale * rng.uniform(0.5, 1.5, 60) for name, scale in (("a", 1000.0), ("b", 1.0), ("c", 0.1))}
    total = sum(weight * values for weight, values in zip(weights, parts.values(), strict=True))
    return {"loss": np.asarray(total), **parts, "epoch": np.repeat([1, 2, 3], 20), "gradient_norm": np.ones(60)}


def components(params: dict[str, object] | None = None, **steps: np.ndarray) -> TrainingLog:
    means = {name: [values[20 * k : 20 * k + 20].mean() for k in range(3)] for name, values in steps.items()}
    history = epochs(1, **{f"train_{name}": means[name] for name in ("loss", "a", "b", "c")})
    return TrainingLog("x", history, params=params or {}, steps=steps)


def test_weights_are_recovered_from_the_steps() -> None:
    found = diagnose(components(**steps_of([0.5, 2.0, 3.0])))
    assert found.weights == "recovered"
    assert [one.name for one in found.components] == ["loss", "a", "b", "c"]
    assert [one.weight for one in found.components[1:]] == pytest.approx([0.5, 2.0, 3.0])
    levels = [float(np.median([one.train_last, one.train_last])) for one in found.components[1:] if one.train_last]
    assert len(levels) == 3
    # About 500, 2 and 0.3.
    assert found.dominant is not None
    assert found.dominant.name == "a"
    assert found.dominant.share == pytest.approx(500 / 502.3, rel=0.01)
    (advice,) = [one for one in found.advice if one.code == "reweigh"]
    assert advice.numbers["balanced"] == pytest.approx(0.5 * found.dominant.factor)
    # With that weight it is as large as the others are on average.
    others = [one.share for one in found.components[2:]]
    assert found.dominant.factor * found.dominant.share == pytest.approx(sum(s for s in others if s) / 2)


def test_a_loss_recorded_beside_the_total_without_being_in_it_dominates_nothing() -> None:
    found = diagnose(components(**steps_of([0.0, 1.0, 0.0])))
    assert found.weights == "recovered"
    assert [one.weight for one in found.components] == [None, None, pytest.approx(1.0), None]
    assert found.dominant is None
    assert [one.code for one in found.advice if "weigh" in one.code] == []


def test_weights_that_were_given_are_believed_and_unknown_ones_not_guessed() -> None:
    steps = steps_of([1.0, 1.0, 1.0])
    given_weights = {"loss_weights": {"a": 0.001, "b": 0.5, "c": 0.4}}
    assert [one.weight for one in diagnose(components(given_weights, **steps)).components[1:]] == [0.001, 0.5, 0.4]
    steps["loss"] = np.random.default_rng(1).uniform(1, 2, 60)
    found = diagnose(components(**steps))
    assert (found.weights, found.components[1].weight) == ("", None)
    assert [one.code for one in found.advice if "weigh" in one.code] == ["weigh"]


def test_the_parts_of_a_component_are_not_counted_twice() -> None:
    steps = steps_of([1.0, 1.0, 1.0])
    history = epochs(1, train_loss=[3, 2], train_a=[2, 1], train_a_part=[1, 0.5], train_b=[1, 1])
    found = diagnose(TrainingLog("x", history, steps={**steps, "a_part": steps["a"] / 2}))
    assert [one.name for one in found.components] == ["loss", "a", "b"]


def test_epochs_have_their_steps() -> None:
    steps = steps_of([1.0, 1.0, 1.0])
    found = diagnose(components(**steps))
    assert [epoch.steps for epoch in found.by_epoch] == [20, 20, 20]
    first = found.by_epoch[0]
    assert first.within["a"] == within(steps["a"][:20])
    assert first.values["loss"] == (pytest.approx(steps["loss"][:20].mean()), None)
    assert diagnose(log(train_loss=[2, 1])).by_epoch[0].steps is None


def test_the_learning_rate_is_cited_where_it_is_known() -> None:
    history = epochs(1, train_loss=[1.0, 0.5, *[math.nan] * 8])
    found = diagnose(TrainingLog("x", history, params={"learning_rate": 0.5}))
    assert [(one.code, dict(one.numbers)) for one in found.advice] == [
        ("lower_rate_not_finite", {"series": "train_loss", "epoch": 3, "parameter": "learning_rate", "rate": 0.5})
    ]


def test_what_still_falls_fast_at_the_end_may_have_a_low_rate() -> None:
    values = [10 - 0.1 * k for k in range(30)]
    found = diagnose(log(train_loss=values, val_loss=values))
    assert [one.code for one in found.advice] == ["more_epochs", "rate_low"]
    assert isinstance(found.judgement.evidence, predicates.Improving)


def test_the_metric_that_was_to_be_reached_says_which_epoch_is_best() -> None:
    history = epochs(1, train_loss=[3, 2, 1], val_loss=[3, 2, 1], val_accuracy=[1, 2, 3], val_score=[1, 3, 2])
    assert diagnose(TrainingLog("x", history, metric=SCORE)).best_epoch == 2
    assert diagnose(TrainingLog("x", history)).metric == "val_accuracy"


@settings(deadline=None)
@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=25),
    st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=25),
    st.lists(st.floats(-1e300, 1e300), max_size=25),
)
def test_nothing_that_can_be_logged_raises(train: list[float], val: list[float], part: list[float]) -> None:
    given = {"train_loss": train, "val_loss": val, "train_part_loss": part, "val_other_loss": part}
    kept = {name: values for name, values in given.items() if values}
    found = diagnose(log(**kept) if kept else TrainingLog("x", ()))
    assert markdown.render(training_report(found)).startswith("# Diagnosis of x")
    assert diagnosis_data(found)["judgement"]["verdict"] == found.judgement.verdict


def test_arrays_that_are_no_steps_are_left_alone() -> None:
    history = epochs(1, train_loss=[2, 1], train_a=[1, 1], train_b=[1, 1])
    steps = {"loss": np.ones((4, 2)), "a": np.ones(3), "b": np.ones(4), "epoch": np.array([1, 1, 2, 2])}
    found = diagnose(TrainingLog("x", history, steps=steps))
    assert found.weights == ""
    assert set(found.by_epoch[0].within) == {"b"}
