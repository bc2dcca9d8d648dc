"""The predicates on curves, with numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.curves import predicates, shape, skill
from hpo.curves.shape import shape_of

FALLING = [1.0, 0.8, 0.64, 0.512, 0.41, 0.33, 0.26, 0.21, 0.17, 0.13, 0.11, 0.09]


def noise(n: int, size: float, seed: int = 0) -> list[float]:
    return (size * np.random.default_rng(seed).standard_normal(n)).tolist()


def test_a_running_median_takes_what_there_is_at_the_ends() -> None:
    assert shape.running_median([1, 9, 2, 8, 3], 3) == [5, 2, 8, 3, 5.5]


def test_noise_is_that_around_the_trend() -> None:
    assert shape.noise_of([5, 4, 3, 2, 1]) == 0  # a line has none
    assert shape.noise_of([1, 2]) == 0
    # Second differences of 0, 1, 0, 1, 0 are -2, 2, -2: 1.4826 x 2 / sqrt(6).
    assert shape.noise_of([0, 1, 0, 1, 0]) == pytest.approx(1.4826 * 2 / math.sqrt(6))
    drawn = [10 - 0.01 * k + e for k, e in enumerate(noise(4000, 0.5))]
    assert shape.noise_of(drawn) == pytest.approx(0.5, rel=0.05)


def test_a_shape_in_numbers() -> None:
    shape = shape_of([4, 3, 2, 1, 1, 1, 2, 3])
    assert (shape.window, shape.start, shape.low, shape.low_at, shape.end) == (3, 4, 1, 3, 2)
    assert shape.gain == 3
    # Second differences 0, 0, 1, 0, 1, 0: their median is 0.
    assert (shape.noise, shape.error) == (0, 0)
    assert shape.level == 1  # the median of 1, 1, 2, 3 would be 1.5; the second half has 5 values of 8


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60),
    st.sampled_from([2.0**-20, 0.25, 4.0, 2.0**20]),
    st.lists(st.floats(0, 1), min_size=8, max_size=8),
)
def test_no_predicate_raises_or_depends_on_the_scale(values: list[float], factor: float, metric: list[float]) -> None:
    # A power of two changes no digit.
    one, other = shape_of(values), shape_of([factor * value for value in values])
    for predicate in (
        predicates.diverged,
        predicates.flat,
        predicates.noisy,
        predicates.overfitting,
        predicates.plateau,
        predicates.improving,
    ):
        assert (predicate(one) is None) == (predicate(other) is None), predicate
    assert len(predicates.jumps(one)) == len(predicates.jumps(other))
    skill.collapsed("recall", metric)
    assert predicates.non_finite(values) is None


@pytest.mark.parametrize("n", range(1, predicates.FEWEST))
def test_few_epochs_say_nothing(n: int) -> None:
    shape = shape_of([1.0, 5.0, 1.0, 9.0, 1.0, 20.0, 30.0][:n])
    for predicate in (
        predicates.diverged,
        predicates.flat,
        predicates.noisy,
        predicates.overfitting,
        predicates.plateau,
        predicates.improving,
    ):
        assert predicate(shape) is None
    assert predicates.jumps(shape) == ()
    assert skill.collapsed("recall", [0.0] * n) is None


def test_the_first_value_that_is_not_finite() -> None:
    found = predicates.non_finite([1.0, math.inf, math.nan])
    assert found == predicates.NonFinite(1, math.inf)


def test_a_loss_that_climbs_back_has_diverged() -> None:
    found = predicates.diverged(shape_of([4, 3, 2, 1, 1, 1, 2, 3, 3, 3]))
    # From 1 (first in epoch 3) back to 3, of a gain of 3.
    assert found == predicates.Diverged(start=4, low=1, low_at=3, end=3, lost=2 / 3)
    assert not found.exploded
    assert predicates.diverged(shape_of([4, 3, 2, 1, 1, 1, 1.4, 1.4, 1.4, 1.4])) is None  # two fifteenths of the gain
    assert predicates.diverged(shape_of(FALLING)) is None


def test_an_explosion_in_the_last_epoch_is_seen() -> None:
    found = predicates.diverged(shape_of([*FALLING, 500.0]))
    assert found is not None
    assert (found.end, found.exploded) == (500.0, True)


def test_overfitting_is_a_rise_of_validation_that_training_does_not_share() -> None:
    val = [4, 3, 2, 1, 1, 1, 1.2, 1.5, 1.5, 1.5]
    found = predicates.overfitting(shape_of(val), shape_of([4, 3, 2, 1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4]))
    # Running medians of training: 0.9 where validation is best, and 0.5 at the end.
    assert found == predicates.Overfitting(3, 1, 1.5, pytest.approx(0.5 / 3), 6, 1, 0.5)
    assert predicates.overfitting(shape_of(val), shape_of(val)) is None
    assert predicates.overfitting(shape_of(val)) == predicates.Overfitting(3, 1, 1.5, pytest.approx(0.5 / 3), 6)
    assert predicates.overfitting(shape_of(FALLING)) is None


@pytest.mark.parametrize("seed", range(20))
def test_noise_alone_is_no_overfitting(seed: int) -> None:
    values = [0.5 + math.exp(-k / 6) + e for k, e in enumerate(noise(60, 0.03, seed))]
    assert predicates.overfitting(shape_of(values)) is None


def test_a_plateau_is_long_and_flat() -> None:
    values = [4, 2, *[1.0] * 18]
    found = predicates.plateau(shape_of(values))
    # 60 % of 20 epochs are 12; the running median reaches 1 in epoch 2.
    assert found == predicates.Plateau(since=2, epochs=18, tested=12, fall=0, of_gain=0)
    assert predicates.plateau(shape_of([4, 2, *[1.0] * 8])) is None  # 6 epochs are too few
    assert predicates.plateau(shape_of([20.0 - k for k in range(20)])) is None
    # By a tenth of the level in the last 12 epochs, although that is little beside the first fall.
    assert predicates.plateau(shape_of([1000.0 / (k + 1) ** 3 for k in range(20)])) is None


def test_the_last_improvement_is_beyond_the_noise() -> None:
    # Running medians of 5: each step of 0.01 is within the noise, three of them together are not.
    wiggle = [0.004 if k % 2 else -0.004 for k in range(60)]
    late = [1 - 0.9 * min(k / 10, 1) - (0.05 if k >= 40 else 0) + wiggle[k] for k in range(60)]
    assert predicates.last_improvement(shape_of(late)) == 40
    assert predicates.last_improvement(shape_of([1 + e for e in wiggle])) == 0
    assert predicates.last_improvement(shape_of([5, 4, 3, 2, 1])) == 4


def test_still_improving_is_a_fall_in_the_last_third() -> None:
    found = predicates.improving(shape_of([12.0 - k for k in range(12)]))
    # 4 epochs, 3 down, of a gain of 12 - 1.5 (the median of the last two).
    assert found == predicates.Improving(4, pytest.approx(3), pytest.approx(3 / 10.5))
    assert predicates.improving(shape_of([4, 2, *[1.0] * 18])) is None


def test_flat_is_a_gain_within_the_noise() -> None:
    assert predicates.flat(shape_of([2.0] * 10)) == predicates.Flat(0, 0, 2)
    assert predicates.flat(shape_of([5 + e for e in noise(50, 0.1)])) is not None
    assert predicates.flat(shape_of(FALLING)) is None


def test_noisy_is_relative_to_gain_and_level() -> None:
    values = [1.0 + math.exp(-k / 8) + (0.4 if k % 2 else -0.4) for k in range(40)]
    found = predicates.noisy(shape_of(values))
    assert found is not None
    # Second differences of a zigzag of 0.4 are 1.6: 1.4826 x 1.6 / sqrt(6), but for the trend.
    assert found.noise == pytest.approx(1.4826 * 1.6 / math.sqrt(6), rel=0.01)
    assert found.of_gain == pytest.approx(found.noise / shape_of(values).gain)
    assert predicates.noisy(shape_of([100 + value for value in values])) is None  # below 5 % of the level
    assert predicates.noisy(shape_of(FALLING)) is None


def test_a_single_epoch_that_throws_back() -> None:
    assert predicates.jumps(shape_of([10, 9, 8, 7, 15, 5, 4, 3, 2, 1])) == (predicates.Jump(4, 8),)
    assert predicates.jumps(shape_of(FALLING)) == ()


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("recall", [0.5, 0.4, 0.2, 0, 0, 0, 0, 0], ("zero", 0, 3, 5)),
        ("accuracy", [0.97, *[0.9] * 7], ("stuck", 0.9, 1, 7)),
        ("accuracy", [0.9] * 8, ("stuck", 0.9, 0, 8)),
        ("val_auc", [0.6, 0.7, 0.8, 0.7, 0.51, 0.5, 0.49, 0.505], ("chance", 0.5025, 4, 4)),
        ("accuracy", [0.5, 0.6, 0.7, 0.8, *[0.9] * 6], None),  # converged
        ("accuracy", [1.0] * 8, None),
        ("recall", [0, 0, 0, 0, 0.1, 0.3, 0.5, 0.6], None),
        ("recall", [0.5, 0.4, 0.2, 0.1, 0.1, 0, 0, 0], None),  # three epochs are not enough
        ("recall", [math.nan] * 8, None),
    ],
)
def test_a_metric_that_knows_nothing(name: str, values: list[float], expected: tuple[object, ...] | None) -> None:
    found = skill.collapsed(name, values)
    assert (found and (found.kind, pytest.approx(found.value), found.since, found.epochs)) == expected


def test_what_dominates_and_by_how_much() -> None:
    # 9 of 10; the others have 0.5 each on average, and the larger of them 0.6.
    found = predicates.dominant({"a": 9, "b": 0.6, "c": 0.4})
    assert found == predicates.Dominant("a", 0.9, pytest.approx(0.5 / 9), "b", pytest.approx(0.6 / 9))
    assert predicates.dominant({"a": 0.7, "b": 0.3}) is None  # of two, three quarters
    quarter = pytest.approx(0.25)
    assert predicates.dominant({"a": 0.8, "b": 0.2}) == predicates.Dominant("a", 0.8, quarter, "b", quarter)
    # What is near 0 is no half of the others.
    near = predicates.dominant({"a": 90, "b": 9, "c": 1e-4, "d": 0.0})
    assert near is not None
    assert near.factor == pytest.approx(0.1)
    # Unless there is nothing else.
    alone = predicates.dominant({"a": 90, "b": 1e-4})
    assert alone is not None
    assert alone.factor < predicates.NEGLIGIBLE
    assert predicates.dominant({"a": 1.0}) is None
    assert predicates.dominant({"a": math.nan, "b": 1.0}) is None
    assert predicates.dominant({"a": 0.0, "b": 0.0}) is None
