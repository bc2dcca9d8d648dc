"""Intervals of paired differences: tasks and seeds are both drawn."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.stats import t as student_t
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from benchmarks.search.paired import Figures, difference, differences


def figures(apart: NDArray[np.float64]) -> tuple[Figures, Figures]:
    """Two searches with these differences, of shape (tasks, seeds)."""
    places = [(f"task {i}", j) for i in range(len(apart)) for j in range(apart.shape[1])]
    ours = {(task, seed): [10.0 + apart[int(task[5:]), seed]] for task, seed in places}
    return ours, {place: [10.0] for place in places}


def test_by_hand() -> None:
    # Means of the tasks 2 and 6, of the seeds 3 and 5, and nothing is left. Mean squares 16, 4 and 0, each with one
    # degree of freedom: the variance of the mean is 20 / 4, with 20^2 / (16^2 + 4^2) degrees of freedom.
    mean, interval = difference(*figures(np.array([[1.0, 3.0], [5.0, 7.0]])))
    half = student_t.ppf(0.975, 400 / 272) * math.sqrt(5)
    assert mean == pytest.approx([4])
    assert interval[:, 0] == pytest.approx([4 - half, 4 + half])


def test_it_has_the_mean_squares_of_an_analysis_of_variance() -> None:
    rng = np.random.default_rng(4)
    apart = rng.normal(0, 3, (6, 1)) + rng.normal(0, 2, (1, 5)) + rng.normal(0, 1, (6, 5))
    rows = pd.DataFrame([(i, j, value) for (i, j), value in np.ndenumerate(apart)], columns=["task", "seed", "apart"])
    found = anova_lm(ols("apart ~ C(task) + C(seed)", rows).fit())["mean_sq"]
    task, seed, left = found["C(task)"], found["C(seed)"], found["Residual"]
    assert min(task, seed) > left
    variance = task + seed - left
    degrees = variance**2 / (task**2 / 5 + seed**2 / 4 + left**2 / 20)
    _, interval = difference(*figures(apart))
    half = student_t.ppf(0.975, degrees) * math.sqrt(variance / 30)
    assert interval[:, 0] == pytest.approx([apart.mean() - half, apart.mean() + half])


# Deviations of tasks and of seeds, beside one of 20 from search to search.
@pytest.mark.parametrize(("of_tasks", "of_seeds"), [(0, 0), (5, 0), (0, 5), (5, 5), (20, 0)])
def test_it_covers_the_mean_as_often_as_it_says(of_tasks: float, of_seeds: float) -> None:
    rng = np.random.default_rng(7)
    covered = 0
    for _ in range(600):
        drawn = rng.normal(0, of_tasks, (20, 1)) + rng.normal(0, of_seeds, (1, 15)) + rng.normal(0, 20, (20, 15))
        low, high = difference(*figures(drawn))[1][:, 0]
        covered += low <= 0 <= high
    # Where only searches differ it is wider than need be, for no component is negative.
    assert 0.93 <= covered / 600 <= 0.99


def test_without_spread_and_with_one_of_a_kind() -> None:
    assert differences(*figures(np.full((3, 4), -2.0))) == ["-2.0 (-2.0 to -2.0)"]
    rng = np.random.default_rng(2)
    for shape in ((5, 1), (1, 5)):
        drawn = rng.normal(size=shape)
        half = student_t.ppf(0.975, 4) * drawn.std(ddof=1) / math.sqrt(5)
        assert difference(*figures(drawn))[1][:, 0] == pytest.approx([drawn.mean() - half, drawn.mean() + half])


def test_seeds_count_that_all_tasks_have() -> None:
    ours, theirs = figures(np.arange(12.0).reshape(3, 4))
    unfinished = {place: value for place, value in ours.items() if place != ("task 2", 3)}
    whole = {place: value for place, value in ours.items() if place[1] < 3}
    np.testing.assert_array_equal(difference(unfinished, theirs)[1], difference(whole, theirs)[1])
