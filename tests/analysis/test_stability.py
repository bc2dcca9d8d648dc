from __future__ import annotations

import math
import statistics
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import LOSS, SCORE, epochs, study, trial

from hpo.analysis.records import TrialRecord
from hpo.analysis.stability import Stability, loss_series, stabilities, stability, stability_of, with_word
from hpo.analysis.training.verdict import VERDICTS, judge

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
    assert (found.n, found.word) == (10, "")
    assert stability([0.30, 0.32]).deviation == pytest.approx(0.02 / math.sqrt(2))
    assert stability([0.30, 0.32]).n == 2


def settled(spread: float, n: int = 40, gain: float = 1.0) -> list[float]:
    """A loss that falls by `gain` in one epoch, and then jumps by `spread` up and down."""
    return [1 + gain, *(1 + spread * (1 if k % 2 else -1) for k in range(n - 1))]


def word_of(values: list[float], verdict: str = "plateau") -> tuple[str, str]:
    found = with_word(stability(values), values, verdict)
    return found.word, found.no_word


def test_the_spread_around_the_trend_by_hand() -> None:
    # The last ten are +-0.02 in turn; the Theil-Sen line is flat: ten times 0.02 squared, over 10 - 2.
    values = settled(0.02)
    found = with_word(stability(values), values, "plateau")
    gain = 2 - (1 - 0.02)
    assert found.spread == pytest.approx(math.sqrt(10 * 0.02**2 / 8) / gain, rel=1e-6)
    assert found.word == "good"
    # It is a share of the gain: the unit of the loss changes nothing.
    small = [value / 1000 for value in values]
    assert with_word(stability(small), small, "plateau").spread == pytest.approx(found.spread)


def test_a_trend_is_no_spread() -> None:
    # Overfits from epoch 20 on, without a jump.
    values = [*(2 - 0.05 * k for k in range(20)), *(1.05 + 0.01 * k for k in range(20))]
    assert word_of(values, "overfitting") == ("excellent", "")


@pytest.mark.parametrize(
    ("spread", "word"), [(0.0, "excellent"), (0.008, "excellent"), (0.02, "good"), (0.08, "moderate"), (0.17, "poor")]
)
def test_the_words_and_their_limits(spread: float, word: str) -> None:
    assert word_of(settled(spread, 140)) == (word, "")


def test_a_descent_and_chance_have_no_word() -> None:
    # Ten epochs are the whole descent of the winner; the other is at chance.
    winner = [0.7 * 0.7**k for k in range(10)]
    assert stability(winner).deviation == pytest.approx(statistics.stdev(winner))
    assert word_of(winner, "healthy") == ("", "still descending")
    assert word_of([0.693 + 0.001 * (-1) ** k for k in range(30)], "none") == ("", "no gain beyond its noise")
    assert word_of([1.0 - 0.02 * k for k in range(40)], "healthy") == ("", "still descending")
    assert word_of([2.0, 1.0, 0.5, *[0.4] * 8], "healthy") == ("", "7 epochs after its best, 10 needed")
    assert word_of([2.0, *[1.0] * 30], "diverged") == ("", "it diverged")
    assert word_of([2.0, *[1.0] * 30], "collapsed") == ("", "it collapsed")
    assert word_of([2.0, math.nan, *[1.0] * 30], "healthy") == ("", "not all values are finite")


def test_a_huge_spread_is_poor() -> None:
    values = settled(0.02)
    values[-3] = 1e200
    assert word_of(values)[0] == "poor"


@pytest.mark.parametrize(
    ("spread", "word"), [(0.003, "excellent"), (0.022, "good"), (0.085, "moderate"), (0.3, "poor")]
)
def test_the_word_is_that_of_the_true_noise(spread: float, word: str) -> None:
    """Noise in the middle of each band (by its logarithm), in 100 trainings."""
    rng = np.random.default_rng(7)
    found = []
    for _ in range(100):
        values = 1 + np.exp(-np.arange(60) / rng.uniform(2, 6)) + spread * rng.standard_normal(60)
        found.append(word_of([float(value) for value in values])[0])
    given_ones = [each for each in found if each]
    assert len(given_ones) >= 60
    assert sum(each == word for each in given_ones) >= 0.9 * len(given_ones)


def test_the_diagnosis_and_the_word_never_contradict_each_other(generator: ModuleType) -> None:
    seen = set()
    for seed in (3000, 3001):
        for _, log in generator.generated(seed):
            verdict = judge(log).verdict
            values = [value for _, value in log.series("val_loss")]
            word = with_word(stability(values), values, verdict).word
            seen.add((verdict, word))
    assert not {("noisy", "excellent"), ("noisy", "good"), ("noisy", "moderate"), ("healthy", "poor")} & seen
    assert not {(verdict, word) for verdict, word in seen if verdict in ("diverged", "collapsed") and word}
    assert {("plateau", "excellent"), ("noisy", "poor"), ("healthy", "good")} <= seen


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=60), st.sampled_from(VERDICTS))
def test_no_verdict_is_contradicted_by_any_series(values: list[float], verdict: str) -> None:
    word, why = word_of(values, verdict)
    assert bool(word) != bool(why)
    assert word in ("", "poor") if verdict == "noisy" else True
    assert word != "poor" if verdict == "healthy" else True


def test_under_ghm_the_word_is_of_the_original_loss_or_of_the_metric() -> None:
    # The reweighted loss is flat by construction.
    ghm = [0.95 + 0.0001 * (-1) ** k for k in range(40)]
    original = settled(0.02)
    one = reporting(0, 0.5, val_loss=ghm, val_original=original)
    found = stability_of(study([one]), one)
    assert (found.word, found.deviation) == ("good", pytest.approx(statistics.stdev(ghm[-10:])))
    score = [-value for value in original]
    by_metric = reporting(0, 0.5, val_loss=ghm, score=score, train_ghm_mean=[0.5] * 40)
    assert stability_of(study([by_metric]), by_metric).word == "good"
    plain = reporting(0, 0.5, val_loss=ghm, score=score)
    assert stability_of(study([plain]), plain).no_word == "no gain beyond its noise"
    # A component is no original loss, also if it is called bce; the diagnosis judges by the same ones.
    noisy, flat = settled(0.5), [0.3] * 40
    part = reporting(0, 0.5, val_loss=original, val_bce=flat)
    assert stability_of(study([part]), part).word == "good"
    beside = reporting(0, 0.5, val_loss=noisy, val_data_loss=noisy, val_bce=original)
    assert stability_of(study([beside]), beside).word == "good"
    unweighted = reporting(0, 0.5, val_loss=ghm, val_unweighted_loss=original)
    assert stability_of(study([unweighted]), unweighted).word == "good"


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
    silent = trial(2, UNET, 0.5)
    record = study([*both, silent])
    found = stability_of(record, both[0])
    assert (found.deviation, found.n, found.word) == (0.0, 2, "")
    assert stability_of(record, both[1]).deviation is None
    assert stability_of(record, silent).why_not == "it reported nothing"


def test_each_group_has_its_best_its_spread_and_its_words() -> None:
    trials = [
        reporting(0, 0.8, val_loss=settled(0.0)),
        reporting(1, 0.9, val_loss=settled(0.02)),
        reporting(2, 0.7, val_loss=[0.5, 0.7]),
        reporting(3, 0.6, val_loss=[0.5]),
        trial(4, UNET, state="PRUNED", history=epochs(1, val_loss=[9.0, 1.0]), cause="pruner"),
        reporting(5, 0.4, RESNET, val_loss=[math.nan, 0.1]),
    ]
    data = stabilities(study(trials), SCORE)
    unet, resnet = data.groups
    assert unet.best is not None
    assert unet.best_stability is not None
    assert (unet.best.number, unet.best_stability.word, unet.without) == (1, "good", 1)
    assert [unet.count(word) for word in ("excellent", "good", "moderate", "poor", "")] == [1, 1, 0, 0, 1]
    assert unet.spread is not None
    assert (unet.spread.n, unet.spread.low) == (3, 0.0)
    assert unet.spread.high == pytest.approx(0.2 / math.sqrt(2))
    assert len(data.spreads) == 2
    assert (resnet.dots, resnet.spread, resnet.without) == ((), None, 1)


def test_the_best_of_a_minimized_metric_is_the_lowest() -> None:
    same = epochs(0, val_loss=[1.0, 1.0])
    trials = [trial(k, UNET, value, metric="loss", history=same) for k, value in enumerate([3.0, 1.0])]
    best = stabilities(study(trials, metrics=(LOSS,)), LOSS).groups[0].best
    assert best is not None
    assert best.number == 1
