"""The analysis of gradient harmonizing against values worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from reading import epochs

from hpo.analysis.training.ghm import GhmTraining, ghm_of
from hpo.analysis.training.training_log import TrainingLog
from hpo.spec.models import Metric

ACCURACY = Metric(name="val_pair_accuracy", direction="maximize")
# Two bins: even at first, then more and more in the first.
SHARES = np.array([[50.0, 50], [80, 20], [95, 5], [100, 0]])
WEIGHTS = np.array([[1.0, 1], [0.625, 2.5], [0.53, 10], [1, 0]])


def log_of(**more: Any) -> TrainingLog:
    """Four epochs from 1; `more` are arrays."""
    recorded = {"epoch": np.arange(1, 5), "train_ghm_shares": SHARES, "train_ghm_weights": WEIGHTS} | more
    history = epochs(
        first=1,
        train_pair_accuracy=[0.5, 0.7, 0.8, 0.9],
        val_pair_accuracy=[0.5, 0.75, 0.72, 0.7],
        train_original=[2.0, 1.0, 0.5, 0.0],
        train_reweighted=[2.0, 1.5, 0.25, 0.0],
        val_original=[2.0, 1.6, float("nan"), 1.2],
        val_reweighted=[2.0, 0.8, 0.7, 0.6],
        train_ghm_mean=[0.5, 0.3, 0.2, 0.1],
    )
    return TrainingLog("hand-made/0", history, metric=ACCURACY, epochs=recorded)


def training(**more: Any) -> GhmTraining:
    found = ghm_of(log_of(**more))
    assert found is not None
    return found


def test_spreads_by_hand() -> None:
    data = training()
    assert (data.bins, data.shown, data.epochs) == (2, (0, 2, 3), (1, 2, 3, 4))
    first, middle, last = (data.spread(index) for index in data.shown)
    assert (middle.epoch, middle.most, middle.least) == (3, 0, 1)
    assert middle.evenness == pytest.approx(45)  # of 95 and 5 about their mean of 50
    assert (first.evenness, first.most, first.least) == (0, 0, 0)  # equals: the lowest
    assert middle.statistics == {"mean": 0.2}
    assert last.weights == (1.0, None)  # an empty bin has no weight, whatever was written


def test_inert_from_the_epoch_on_after_which_it_never_worked_again() -> None:
    assert training().inert.tolist() == [False, False, True, True]
    assert training().inert_from == 3
    recovered = np.array([[100.0, 0], [95, 5], [91, 9], [90, 10]])
    assert training(train_ghm_shares=recovered).inert.tolist() == [True, True, True, False]
    assert training(train_ghm_shares=recovered).inert_from is None
    assert training(train_ghm_shares=SHARES[[3, 3, 3, 3]]).inert_from == 1


def test_changes_and_ratios_by_hand() -> None:
    data = training()
    assert data.best == 2
    by_name = {change.name: change for change in data.changes}
    assert next(iter(by_name)).startswith("val_")
    accuracy, original = by_name["val_pair_accuracy"], by_name["val_original"]
    assert (accuracy.first, accuracy.best, accuracy.last) == (0.5, 0.75, 0.7)
    assert accuracy.difference == pytest.approx(0.2)
    assert (original.first, original.best, original.last) == (2.0, 1.6, 1.2)
    assert original.reduction == pytest.approx(0.4)
    assert by_name["train_reweighted"].reduction == 1
    train, val = data.ratios
    # Not where the original loss is 0 or was not finite.
    assert (train.name, train.steps, train.values) == ("train_ratio", (1, 2, 3), (1.0, 1.5, 0.5))
    assert (val.name, val.steps, val.values) == ("val_ratio", (1, 2, 4), (1.0, 0.5, 0.5))


def test_a_loss_that_weights_nothing_is_told_from_one_that_is_inert() -> None:
    assert training().reweights
    assert not training(train_ghm_weights=np.where(SHARES > 0, 1.0, np.nan)).reweights
    # All in one bin: a weight of 1 is what harmonizing gives, too.
    full = np.array([[100.0, 0]] * 4)
    assert training(train_ghm_shares=full, train_ghm_weights=np.ones((4, 2))).reweights
    assert not training(train_ghm_shares=full, train_ghm_weights=np.ones((4, 2)), train_ghm_alpha=np.zeros(4)).reweights


def test_counts_do_as_well_as_percent_and_finer_bins_are_taken_where_they_are() -> None:
    assert training(train_ghm_shares=SHARES * 7).shares == pytest.approx(SHARES)
    fine = np.array([[1, 1, 1, 1], [4, 0, 1, 0], [19, 0, 1, 0], [1, 0, 0, 0]])
    assert training(train_ghm_histogram=fine).fine[1].tolist() == [80, 0, 20, 0]
    classes = {"train_g_positive": fine, "train_g_negative": fine[:, ::-1]}
    assert training(**classes).fine[1].tolist() == [40, 10, 10, 40]
    assert training().fine == pytest.approx(SHARES)


def test_settings_are_those_of_the_last_epoch() -> None:
    assert training(train_ghm_alpha=np.array([0.5, 0.5, 0.5, 0.75])).settings == {"alpha": 0.75}


@pytest.mark.parametrize(
    "shares",
    [
        None,
        SHARES[:3],  # not an epoch a row
        SHARES[:, 0],
        np.where(SHARES == 5, np.nan, SHARES),
        SHARES - 6,
        SHARES * [[1], [1], [1], [0]],
    ],
)
def test_what_cannot_be_read_is_not_analysed(shares: np.ndarray | None) -> None:
    log = log_of() if shares is None else log_of(train_ghm_shares=shares)
    if shares is None:
        log = TrainingLog(log.name, log.history, epochs={"epoch": np.arange(1, 5)})
    assert ghm_of(log) is None


def test_without_a_metric_the_accuracy_says_which_epoch_is_best() -> None:
    log = log_of()
    found = ghm_of(TrainingLog(log.name, log.history, epochs=log.epochs))
    assert found is not None
    assert found.best == 2
    bare = ghm_of(TrainingLog(log.name, (), epochs=log.epochs))
    assert bare is not None
    assert (bare.best, bare.changes, bare.ratios) == (None, (), ())


@given(arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(1, 12)), elements=st.floats(0, 1e6, width=32)))
def test_any_shares_give_parts_of_a_hundred(shares: np.ndarray) -> None:
    data = ghm_of(TrainingLog("any", (), epochs={"epoch": np.arange(len(shares)), "train_ghm_shares": shares}))
    if (shares.sum(axis=1) == 0).any():
        assert data is None
        return
    assert data is not None
    assert data.shares.sum(axis=1) == pytest.approx(np.full(len(shares), 100.0))
    assert data.inert.tolist() == [float(row.max()) > 90 for row in data.shares]
    for index in data.shown:
        spread = data.spread(index)
        assert spread.shares[spread.most] >= max(spread.shares) >= spread.shares[spread.least] >= 0
