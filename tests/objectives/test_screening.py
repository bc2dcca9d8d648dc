"""Metrics of screening: the values they are known by, scikit-learn's, and areas integrated anew."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import precision_score, recall_score, roc_auc_score

from objectives.metrics.screening import (
    auc,
    partial_auc,
    partial_auc_normalised,
    precision,
    recall,
    sensitivity_at_specificity,
)

CURVES = [auc, partial_auc, partial_auc_normalised, sensitivity_at_specificity]

Y = np.array([0] * 97 + [1] * 3)
PERFECT, INVERTED, CONSTANT = Y.astype(float), 1.0 - Y, np.full(100, 0.3)


@st.composite
def scored(draw: st.DrawFn) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Both classes, and scores with many ties or with none."""
    positives, negatives = draw(st.integers(1, 12)), draw(st.integers(1, 40))
    levels = draw(st.sampled_from([2, 5, 1000]))
    scores = draw(st.lists(st.integers(0, levels), min_size=positives + negatives, max_size=positives + negatives))
    return np.array([1] * positives + [0] * negatives), np.array(scores) / levels


def points(y: NDArray[np.int64], score: NDArray[np.float64]) -> list[tuple[int, int]]:
    """(false positives, true positives) at every threshold, from none called positive to all."""
    thresholds = [np.inf, *sorted(set(score), reverse=True)]
    return [(int((score[y == 0] >= at).sum()), int((score[y == 1] >= at).sum())) for at in thresholds]


def area(y: NDArray[np.int64], score: NDArray[np.float64], up_to: float) -> float:
    """Under the ROC curve from a false-positive rate of 0 to `up_to`, segment by segment."""
    total, corners = 0.0, [(fp / (y == 0).sum(), tp / (y == 1).sum()) for fp, tp in points(y, score)]
    for (x0, y0), (x1, y1) in pairwise(corners):
        end = min(x1, up_to)
        if end > x0:
            total += (end - x0) * (y0 + (y0 + (y1 - y0) * (end - x0) / (x1 - x0))) / 2
    return total


def test_the_known_values() -> None:
    assert [round(partial_auc(Y, score), 4) for score in (CONSTANT, INVERTED, PERFECT)] == [0.5, 0.4737, 1]
    assert partial_auc_normalised(Y, CONSTANT) == pytest.approx(0.05, rel=1e-12)
    assert partial_auc_normalised(Y, INVERTED) == pytest.approx(0, abs=1e-12)
    assert partial_auc_normalised(Y, PERFECT) == pytest.approx(1)
    assert [auc(Y, score) for score in (CONSTANT, INVERTED, PERFECT)] == [0.5, 0, 1]
    assert [sensitivity_at_specificity(Y, score) for score in (CONSTANT, INVERTED, PERFECT)] == [0, 0, 1]


def test_a_published_value_is_on_the_normalised_scale() -> None:
    """0.4696 there is 0.72 after McClish: raw area 0.04696, (1 + (0.04696 - 0.005) / 0.095) / 2."""
    # Of 10 negatives none is above the positives found at once; those are 46.96 % of all.
    y = np.array([1] * 10_000 + [0] * 10)
    score = np.array([2.0] * 4696 + [-1.0] * 5304 + [1.0] * 10)
    assert partial_auc_normalised(y, score) == pytest.approx(0.4696, abs=1e-9)
    assert partial_auc(y, score) == pytest.approx((1 + (0.04696 - 0.005) / 0.095) / 2)
    assert round(partial_auc(y, score), 2) == 0.72


def test_areas_by_hand() -> None:
    # 10 negatives, 2 positives: one positive above all, then a negative, the other positive, the other negatives.
    # TPR is 1/2 up to a rate of 0.1, where it rises to 1.
    y = np.array([1, 0, 1] + [0] * 9)
    score = np.arange(12, 0, -1.0)
    assert auc(y, score) == pytest.approx((10 + 9) / 20)
    assert partial_auc_normalised(y, score) == pytest.approx(0.5)
    assert partial_auc(y, score) == pytest.approx((1 + (0.05 - 0.005) / 0.095) / 2)
    # Up to 0.2: 0.1 x 1/2 + 0.1 x 1.
    assert partial_auc_normalised(y, score, min_specificity=0.8) == pytest.approx(0.15 / 0.2)
    # A tie of a positive and a negative is a slope: TPR 0 to 1/2 over rates 0 to 0.1, the mean of which is 1/4.
    tied = np.array([9.0, 9.0, 8.0] + [1.0] * 9)
    assert partial_auc_normalised(y, tied) == pytest.approx(0.25)


@settings(max_examples=30, deadline=None)
@given(scored(), st.sampled_from([0.0, 0.5, 0.8, 0.9, 0.95]))
def test_partial_areas_as_integrated_anew(case: tuple[NDArray[np.int64], NDArray[np.float64]], least: float) -> None:
    y, score = case
    width = 1 - least
    raw = area(y, score, width)
    assert partial_auc_normalised(y, score, least) == pytest.approx(raw / width, abs=1e-9)
    mcclish = (1 + (raw - width**2 / 2) / (width - width**2 / 2)) / 2
    assert partial_auc(y, score, least) == pytest.approx(mcclish, abs=1e-9)
    assert partial_auc(y, score, least) == pytest.approx(roc_auc_score(y, score, max_fpr=width), abs=1e-12)
    assert partial_auc(y, score, 0.0) == pytest.approx(auc(y, score))


def test_as_scikit_learn_with_its_own_argument() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        y = np.r_[1, 0, rng.random(200) < 0.1].astype(int)
        score = np.round(rng.normal(size=202) + y, 1)
        assert partial_auc(y, score) == pytest.approx(roc_auc_score(y, score, max_fpr=0.1), abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(scored())
def test_auc_is_the_chance_that_a_positive_is_above(case: tuple[NDArray[np.int64], NDArray[np.float64]]) -> None:
    y, score = case
    difference = score[y == 1][:, None] - score[y == 0]
    assert auc(y, score) == pytest.approx((difference > 0).mean() + (difference == 0).mean() / 2)


@settings(max_examples=30, deadline=None)
@given(scored(), st.sampled_from([0.0, 0.5, 0.9, 0.95, 1.0]))
def test_sensitivity_over_all_thresholds(case: tuple[NDArray[np.int64], NDArray[np.float64]], least: float) -> None:
    y, score = case
    negatives, positives = (y == 0).sum(), (y == 1).sum()
    best = max(tp / positives for fp, tp in points(y, score) if (negatives - fp) / negatives >= least)
    assert sensitivity_at_specificity(y, score, least) == pytest.approx(best)


def test_a_specificity_met_exactly_counts() -> None:
    for negatives in (20, 40, 60, 100, 140, 2000):
        allowed = negatives // 20
        y = np.array([0] * negatives + [1])
        score = np.array([2.0] * allowed + [0.0] * (negatives - allowed) + [1.0])
        assert sensitivity_at_specificity(y, score, 0.95) == 1, negatives
        score[allowed] = 2.0
        assert sensitivity_at_specificity(y, score, 0.95) == 0, negatives
    # 1 - 0.9 is less than 0.1 in floating point, 1 of 10 is not.
    y, score = np.array([0] * 10 + [1]), np.array([2.0] * 9 + [0.0, 1.0])
    assert sensitivity_at_specificity(y, score, 0.1) == 1


def test_a_point_on_a_straight_part_of_the_curve_counts_and_nothing_between_points_does() -> None:
    # Each of the first levels has one positive and one negative of 5 and 20: points (1/20, 1/5), (2/20, 2/5) ...
    y = np.array([1, 0] * 5 + [0] * 15)
    score = np.array([9, 9, 8, 8, 7, 7, 6, 6, 5, 5] + [0] * 15)
    assert sensitivity_at_specificity(y, score, 0.95) == pytest.approx(1 / 5)
    assert sensitivity_at_specificity(y, score, 0.93) == pytest.approx(1 / 5), "not interpolated"
    assert sensitivity_at_specificity(y, score, 0.90) == pytest.approx(2 / 5)


@settings(max_examples=30, deadline=None)
@given(scored())
def test_only_the_order_of_scores_matters(case: tuple[NDArray[np.int64], NDArray[np.float64]]) -> None:
    y, score = case
    for metric in CURVES:
        assert metric(y, np.exp(3 * score) - 7) == pytest.approx(metric(y, score), abs=1e-12)


def test_precision_and_recall_by_hand() -> None:
    # 2 of 3 called positive are; 2 of 4 positives are called.
    y, called = [1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 1, 0]
    assert (precision(y, called), recall(y, called)) == (pytest.approx(2 / 3), 0.5)
    assert (precision(y, [0] * 6), recall(y, [0] * 6)) == (0, 0)
    assert (precision([0, 0], [1, 0]), precision([0, 0], [0, 0])) == (0, 0)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=50))
def test_precision_and_recall_as_scikit_learn(pairs: list[tuple[bool, bool]]) -> None:
    y, called = np.array(pairs).T
    assert precision(y, called) == pytest.approx(precision_score(y, called, zero_division=0))
    if y.any():
        assert recall(y, called) == pytest.approx(recall_score(y, called, zero_division=0))


@pytest.mark.parametrize("metric", CURVES)
def test_one_class_nothing_and_nan_are_refused(metric: object) -> None:
    with pytest.raises(ValueError, match="y_true has only positives, so there is no ROC curve; expected both classes"):
        metric([1, 1], [0.2, 0.3])
    with pytest.raises(ValueError, match="y_true has only negatives, so there is no ROC curve"):
        metric([0, 0], [0.2, 0.3])
    with pytest.raises(ValueError, match="y_true is empty; there is nothing to measure"):
        metric([], [])
    with pytest.raises(ValueError, match="score has nan in 1 of 2 places; expected finite numbers"):
        metric([0, 1], [0.2, float("nan")])
    with pytest.raises(ValueError, match="score has inf in 1 of 2 places"):
        metric([0, 1], [0.2, float("inf")])
    with pytest.raises(ValueError, match=r"y_true has shape \(2,\), score \(3,\); expected the same"):
        metric([0, 1], [0.2, 0.3, 0.4])
    with pytest.raises(ValueError, match=r"score has shape \(2, 1\); expected \(n,\)"):
        metric([0, 1], [[0.2], [0.3]])
    with pytest.raises(ValueError, match="y_true holds 2; expected 0 or 1"):
        metric([0, 2], [0.2, 0.3])


def test_arguments_out_of_range_are_refused() -> None:
    for metric in (partial_auc, partial_auc_normalised):
        for wrong in (1.0, -0.1, float("nan")):
            with pytest.raises(ValueError, match=f"min_specificity is {wrong}; expected at least 0 and less than 1"):
                metric([0, 1], [0.2, 0.3], wrong)
    with pytest.raises(ValueError, match=r"specificity is 1\.1; expected a number from 0 to 1"):
        sensitivity_at_specificity([0, 1], [0.2, 0.3], 1.1)


def test_precision_and_recall_refuse_probabilities_and_emptiness() -> None:
    for metric in (precision, recall):
        with pytest.raises(ValueError, match=r"predicted holds 0\.7; expected 0 or 1"):
            metric([0, 1], [0.7, 1.0])
        with pytest.raises(ValueError, match="y_true is empty"):
            metric([], [])
        with pytest.raises(ValueError, match=r"y_true has shape \(1,\), predicted \(2,\)"):
            metric([1], [1, 0])
    with pytest.raises(ValueError, match="y_true has no positive, so recall is not defined"):
        recall([0, 0], [0, 1])
