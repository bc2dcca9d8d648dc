"""Greedy ensemble selection: by hand, against every choice of every round, and its ties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from hpo.analysis.ensemble_selection import select

TARGET = np.array([0, 0, 1, 1])
# Probabilities of three models. Accuracy alone: 3/4, 3/4, 2/4. The mean of the first two is right everywhere:
# (0.4 + 0.3)/2, (0.7 + 0.2)/2, (0.9 + 0.4)/2, (0.6 + 0.9)/2.
MODELS = np.array([[0.4, 0.7, 0.9, 0.6], [0.3, 0.2, 0.4, 0.9], [0.9, 0.6, 0.9, 0.9]])


def accuracy(counts: tuple[int, ...]) -> float:
    mean = np.average(MODELS, axis=0, weights=counts)
    return float(((mean > 0.5) == TARGET).mean())


def test_the_example_by_hand() -> None:
    found = select(3, accuracy, maximize=True)
    assert (found.counts, found.value) == ((1, 1, 0), 1.0)
    assert found.path[:2] == ((0, 0.75), (1, 1.0))  # of two equally good ones the first begins


def test_a_model_may_count_several_times_unless_it_may_not() -> None:
    # The best mean is 0.75 = (3 * 1 + 0) / 4, which each model once misses.
    def value(counts: tuple[int, ...]) -> float:
        return -abs(counts[0] / sum(counts) - 0.75)

    assert select(2, value, maximize=True).counts == (3, 1)
    once = select(2, value, maximize=True, replacement=False)
    assert (once.counts, len(once.path)) == ((1, 0), 2)  # (1, 0) and (1, 1) are equally far: the smaller one


def test_equal_models_are_the_first_one_alone() -> None:
    assert select(3, lambda counts: 0.5, maximize=True).counts == (1, 0, 0)


def test_one_model_is_an_ensemble_of_itself() -> None:
    for replacement in (True, False):
        found = select(1, lambda counts: 0.9, maximize=True, replacement=replacement)
        assert (found.counts, found.value) == ((1,), 0.9)


def test_a_loss_is_minimised_and_a_model_without_a_value_is_not_taken() -> None:
    losses = {(1, 0): math.nan, (0, 1): 0.3}
    assert select(2, lambda counts: losses.get(counts, math.nan), maximize=False).counts == (0, 1)
    with pytest.raises(ValueError, match="no model has a value"):
        select(2, lambda counts: math.nan, maximize=True)


def test_each_mixture_is_asked_for_once() -> None:
    asked: list[tuple[int, ...]] = []

    def value(counts: tuple[int, ...]) -> float:
        asked.append(counts)
        return accuracy(counts)

    select(3, value, maximize=True)
    assert len(asked) == len(set(asked))
    assert (2, 2, 0) not in asked  # the mean of (1, 1, 0)


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.integers(1, 4), st.booleans())
def test_each_round_takes_what_a_search_of_all_would(seed: int, models: int, replacement: bool) -> None:
    """The reference averages bags of predictions and scores them with scikit-learn, round by round."""
    rng = np.random.default_rng(seed)
    target = np.array([0, 1] * 10)
    predicted = rng.random((models, 20)).round(1) + 0.3 * target * rng.random((models, 1))

    def value(counts: tuple[int, ...]) -> float:
        return float(roc_auc_score(target, np.average(predicted, axis=0, weights=counts).round(9)))

    rounds = 6
    found = select(models, value, maximize=True, replacement=replacement, rounds=rounds)
    bag: list[int] = []
    best: tuple[float, list[int]] = (-1.0, [])
    for _ in range(rounds if replacement else models):
        options = [model for model in range(models) if replacement or model not in bag]
        scores = [roc_auc_score(target, predicted[[*bag, model]].mean(axis=0).round(9)) for model in options]
        bag.append(options[int(np.argmax(scores))])
        if max(scores) > best[0]:
            best = max(scores), list(bag)
    assert [model for model, _ in found.path] == bag
    assert found.value == best[0]
    weights = np.bincount(best[1], minlength=models) / len(best[1])
    assert np.allclose(np.array(found.counts) / sum(found.counts), weights)
