from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import LOSS, SCORE, epochs, study, trial

from hpo.analysis.records import TrialRecord
from hpo.analysis.stability import Stability, loss_series, stabilities, stability, stability_of

UNET = {"architecture": "unet", "learning_rate": 1e-3, "batch_size": 8}
RESNET = {**UNET, "architecture": "resnet"}


def reporting(number: int, value: float | None, params: dict[str, object] = UNET, **curves: list[float]) -> TrialRecord:
    return trial(number, params, value, history=epochs(1, **curves))


def test_the_deviation_of_the_last_ten_epochs_by_hand() -> None:
    # The first two are not among the last ten; of those, five lie 0.1 below the mean 0.4 and five above:
    # sum of squares 10 x 0.01, over N - 1 = 9.
    values = [9.0, 5.0, *([0.3, 0.5] * 5)]
    found = stability(values)
    assert found.deviation == pytest.approx(math.sqrt(0.1 / 9))
    assert (found.n, found.word) == (10, "poor")  # 0.105
    assert stability([0.30, 0.32]).deviation == pytest.approx(0.02 / math.sqrt(2))
    assert stability([0.30, 0.32]).n == 2


@pytest.mark.parametrize(
    ("deviation", "word"),
    [
        (0.0, "excellent"),
        (0.01, "excellent"),
        (0.0101, "good"),
        (0.05, "good"),
        (0.0501, "moderate"),
        (0.1, "moderate"),
        (0.1001, "poor"),
        (1e30, "poor"),
        (None, ""),
    ],
)
def test_the_words_and_their_limits(deviation: float | None, word: str) -> None:
    assert Stability(deviation, 10).word == word


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=30))
def test_it_is_the_sample_standard_deviation(values: list[float]) -> None:
    assert stability(values).deviation == pytest.approx(statistics.stdev(values[-10:]))
    assert stability(values).n == min(10, len(values))


def test_what_is_not_shown_says_why() -> None:
    assert stability([]) == Stability(None, 0, "0 reported, at least 2 needed")
    assert stability([0.5]) == Stability(None, 1, "1 reported, at least 2 needed")
    assert stability([0.5, math.nan, 0.4]).why_not == "1 of the last 3 values is not finite"
    assert stability([math.inf, math.nan, 0.4]).why_not == "2 of the last 3 values are not finite"
    assert stability([1.7e308, -1.7e308]).why_not == "the last 2 values differ by more than a number can hold"
    # Before the last ten, anything may have happened.
    assert stability([math.nan, *[0.5] * 10]) == Stability(0.0, 10)


def test_val_loss_comes_first_and_another_only_if_it_is_the_only_one() -> None:
    assert loss_series(study([reporting(0, 0.5, val_dice_loss=[1.0], val_loss=[1.0])])).name == "val_loss"
    assert loss_series(study([reporting(0, 0.5, val_dice_loss=[1.0], train_loss=[1.0])])).name == "val_dice_loss"
    assert loss_series(study([reporting(0, 0.5, validation_loss=[1.0], loss_of_val=[1.0])])).name == "validation_loss"
    several = loss_series(study([reporting(0, 0.5, val_dice_loss=[1.0], val_peak_loss=[1.0])]))
    assert several.name == ""
    assert several.why_not == "no val_loss was reported, and val_dice_loss and val_peak_loss may each be meant"
    assert loss_series(study([reporting(0, 0.5, train_loss=[1.0])])).why_not.startswith("no validation loss")


def test_a_trial_without_the_series_is_never_judged_by_another() -> None:
    both = [reporting(0, 0.5, val_loss=[1.0, 1.0]), reporting(1, 0.5, val_dice_loss=[1.0, 1.0])]
    series = loss_series(study(both))
    assert stability_of(both[0], series) == Stability(0.0, 2)
    assert stability_of(both[1], series).deviation is None
    assert stability_of(trial(2, UNET, 0.5), series).why_not == "it reported nothing"


def test_each_group_has_its_best_its_spread_and_its_words() -> None:
    trials = [
        reporting(0, 0.8, val_loss=[0.5, 0.5]),  # 0, excellent
        reporting(1, 0.9, val_loss=[0.5, 0.52]),  # 0.0141, good
        reporting(2, 0.7, val_loss=[0.5, 0.7]),  # 0.1414, poor
        reporting(3, 0.6, val_loss=[0.5]),
        trial(4, UNET, state="PRUNED", history=epochs(1, val_loss=[9.0, 1.0]), cause="pruner"),
        reporting(5, 0.4, RESNET, val_loss=[math.nan, 0.1]),
    ]
    unet, resnet = stabilities(study(trials), SCORE).groups
    assert unet.best is not None
    assert unet.best_stability is not None
    assert (unet.best.number, unet.best_stability.word, unet.without) == (1, "good", 1)
    assert [unet.count(word) for word in ("excellent", "good", "moderate", "poor")] == [1, 1, 0, 1]
    assert unet.spread is not None
    assert (unet.spread.n, unet.spread.low) == (3, 0.0)
    assert unet.spread.median == pytest.approx(0.02 / math.sqrt(2))
    assert (resnet.dots, resnet.spread, resnet.without) == ((), None, 1)


def test_the_best_of_a_minimized_metric_is_the_lowest() -> None:
    same = epochs(0, val_loss=[1.0, 1.0])
    trials = [trial(k, UNET, value, metric="loss", history=same) for k, value in enumerate([3.0, 1.0])]
    best = stabilities(study(trials, metrics=(LOSS,)), LOSS).groups[0].best
    assert best is not None
    assert best.number == 1
