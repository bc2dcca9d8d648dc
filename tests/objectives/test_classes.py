"""Classes of very different size: by hand, from a table counted by hand, and scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, f1_score

from objectives.metrics.classes import balanced_accuracy, macro_f1

labels = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40)


def test_by_hand() -> None:
    # Class 0: 2 of 3 found, 1 called wrongly: F1 = 4 / 6. Class 1: 1 of 2 found, 1 called wrongly: 2 / 4.
    # Class 2: 1 of 1 found: 1.
    y, called = [0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 0, 2]
    assert macro_f1(y, called, 3) == pytest.approx((4 / 6 + 2 / 4 + 1) / 3)
    assert balanced_accuracy(y, called, 3) == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)


def test_a_constant_answer_is_worth_little() -> None:
    """Plain accuracy would be 0.80."""
    y = np.repeat(np.arange(5), [80, 1, 11, 2, 6])
    called = np.zeros(100)
    assert macro_f1(y, called, 5) == pytest.approx(2 * 80 / (2 * 80 + 20) / 5)
    assert balanced_accuracy(y, called, 5) == pytest.approx(0.2)


def test_a_class_that_is_nowhere_is_left_out_and_one_only_predicted_counts_zero() -> None:
    assert macro_f1([0, 0, 1], [0, 0, 1], 5) == 1
    assert balanced_accuracy([0, 0, 1], [0, 0, 1], 5) == 1
    assert macro_f1([0, 0, 1], [0, 4, 1], 5) == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert balanced_accuracy([0, 0, 1], [0, 4, 1], 5) == pytest.approx((1 / 2 + 1) / 2)
    assert (macro_f1([2, 2], [2, 2], 3), balanced_accuracy([2, 2], [2, 2], 3)) == (1, 1)


@settings(max_examples=30, deadline=None)
@given(labels)
def test_as_counted_class_by_class(pairs: list[tuple[int, int]]) -> None:
    f1, recalls = [], []
    for one in range(5):
        found = sum(y == p == one for y, p in pairs)
        there, called = sum(y == one for y, _ in pairs), sum(p == one for _, p in pairs)
        if there + called:
            f1.append(2 * found / (there + called))
        if there:
            recalls.append(found / there)
    y, predicted = zip(*pairs, strict=True)
    assert macro_f1(y, predicted, 5) == pytest.approx(np.mean(f1))
    assert balanced_accuracy(y, predicted, 5) == pytest.approx(np.mean(recalls))


@settings(max_examples=30, deadline=None)
@given(labels)
def test_as_scikit_learn_where_all_classes_are_there(pairs: list[tuple[int, int]]) -> None:
    y, predicted = np.array([*pairs, *((one, 0) for one in range(5))]).T
    assert macro_f1(y, predicted, 5) == pytest.approx(f1_score(y, predicted, average="macro", zero_division=0))
    assert balanced_accuracy(y, predicted, 5) == pytest.approx(balanced_accuracy_score(y, predicted))


@pytest.mark.parametrize("metric", [macro_f1, balanced_accuracy])
def test_what_is_no_class_is_refused(metric: object) -> None:
    with pytest.raises(ValueError, match="y_true is empty; there is nothing to measure"):
        metric([], [], 5)
    with pytest.raises(ValueError, match="y_true holds 5; expected whole numbers from 0 to 4"):
        metric([0, 5], [0, 1], 5)
    with pytest.raises(ValueError, match=r"predicted holds 0\.5; expected whole numbers from 0 to 4"):
        metric([0, 1], [0.5, 1], 5)
    with pytest.raises(ValueError, match="predicted holds -1; expected whole numbers from 0 to 4"):
        metric([0, 1], [-1, 1], 5)
    with pytest.raises(ValueError, match="predicted has nan in 1 of 2 places"):
        metric([0, 1], [float("nan"), 1], 5)
    with pytest.raises(ValueError, match=r"y_true has shape \(2,\), predicted \(1,\); expected the same"):
        metric([0, 1], [0], 5)
    for wrong in (1, 2.0, ("a", "b")):
        with pytest.raises(ValueError, match="expected how many there are, a whole number from 2"):
            metric([0, 1], [0, 1], wrong)
