"""The analysis of the focal loss against values worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from reading import epochs

from hpo.analysis.training.focal import focal_of, weight
from hpo.analysis.training.training_log import TrainingLog
from hpo.spec.models import Metric


def sums(negatives: dict[int, float], positives: dict[int, float]) -> np.ndarray:
    """(1, 2, 10): one epoch, by the index of the bin of 1 - p_t."""
    found = np.zeros((1, 2, 10))
    for row, values in enumerate((negatives, positives)):
        for index, value in values.items():
            found[0, row, index] = value
    return found


def log_of(alpha: float = 0.25, **more: Any) -> TrainingLog:
    """Eight easy negatives, one hard one, one positive in between, with sums that are easy to add up."""
    recorded = {
        "epoch": np.array([3]),
        "train_focal_count": sums({0: 8, 9: 1}, {3: 1}),
        "train_focal_ce": sums({0: 2, 9: 6}, {3: 2}),
        # Of gamma alone 0.4, 4.8, 0.8: alpha takes three quarters of the positive, one of the negatives.
        "train_focal_loss": sums({0: 0.4 * 0.75, 9: 4.8 * 0.75}, {3: 0.8 * 0.25}),
        "train_focal_gamma": np.array([2.0]),
        "train_focal_alpha": np.array([alpha]),
    } | more
    history = epochs(first=3, val_auc=[0.7])
    return TrainingLog("hand-made/0", history, metric=Metric(name="val_auc", direction="maximize"), epochs=recorded)


def test_shares_by_hand() -> None:
    data = focal_of(log_of())
    assert data is not None
    assert (data.gamma, data.alpha, data.best, data.val) == (2.0, 0.25, 3, ())
    one = data.shown
    assert vars(one.samples) == pytest.approx({"easy": 0.8, "between": 0.1, "hard": 0.1, "positives": 0.1})
    assert vars(one.plain) == pytest.approx({"easy": 0.2, "between": 0.2, "hard": 0.6, "positives": 0.2})
    assert one.unweighted is not None
    expected = {"easy": 0.4 / 6, "between": 0.8 / 6, "hard": 4.8 / 6, "positives": 0.8 / 6}
    assert vars(one.unweighted) == pytest.approx(expected)
    total = 0.3 + 3.6 + 0.2
    assert vars(one.focal) == pytest.approx(
        {"easy": 0.3 / total, "between": 0.2 / total, "hard": 3.6 / total, "positives": 0.2 / total}
    )
    assert (one.ce, one.focal_mean) == pytest.approx((1.0, total / 10))


def test_the_bands_end_where_p_t_is_nine_tenths_and_a_half() -> None:
    counts = np.ones((1, 2, 50))
    data = focal_of(log_of(train_focal_count=counts, train_focal_ce=counts, train_focal_loss=counts))
    assert data is not None
    assert (data.shown.samples.easy, data.shown.samples.hard) == (0.1, 0.5)


def test_without_alpha_gamma_is_all_there_is() -> None:
    data = focal_of(log_of(alpha=math.nan))
    assert data is not None
    assert data.alpha is None
    assert data.shown.unweighted == data.shown.focal


def test_a_class_that_is_weighted_by_nothing_hides_what_gamma_did() -> None:
    data = focal_of(log_of(alpha=1.0))
    assert data is not None
    assert data.shown.unweighted is None


def test_of_several_epochs_the_best_is_shown_else_the_last() -> None:
    twice = {name: np.concatenate([values, values]) for name, values in log_of().epochs.items()}
    twice["epoch"] = np.array([3, 4])
    log = log_of(**twice)
    data = focal_of(log)
    assert data is not None
    assert (len(data.train), data.shown.epoch) == (2, 3)
    without = focal_of(TrainingLog(log.name, log.history, epochs=log.epochs))
    assert without is not None
    assert (without.best, without.shown.epoch) == (None, 4)


@pytest.mark.parametrize(
    "wrong",
    [
        {"train_focal_gamma": np.array([math.nan])},
        {"train_focal_ce": np.full((1, 2, 10), math.inf)},
        {"train_focal_ce": np.zeros((1, 2, 10))},
        {"train_focal_loss": np.full((1, 2, 10), -1.0)},
        {"train_focal_count": np.ones((1, 2, 20))},
        {name: np.ones((1, 2, 15)) for name in ("train_focal_count", "train_focal_ce", "train_focal_loss")},
        {"epoch": np.array([1, 2])},
    ],
)
def test_what_cannot_be_read_is_not_analysed(wrong: dict[str, np.ndarray]) -> None:
    assert focal_of(log_of(**wrong)) is None


def test_the_weight_of_a_sample() -> None:
    assert weight(2, 0.9) == pytest.approx(0.01)
    assert weight(0, 0.9) == 1
