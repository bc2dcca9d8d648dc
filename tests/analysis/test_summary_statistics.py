from __future__ import annotations

import math
import statistics
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.analysis.summary_statistics import Range, deviation, mean, spread, usual_range

HUGE = sys.float_info.max


def test_a_spread_by_hand() -> None:
    found = spread([2.0, 4.0, 4.0, 6.0])
    assert found is not None
    # Squared distances from the mean 4: 4 + 0 + 0 + 4 = 8, over N - 1 = 3.
    assert found.deviation == pytest.approx(math.sqrt(8 / 3))
    assert (found.n, found.mean, found.median, found.low, found.high) == (4, 4.0, 4.0, 2.0, 6.0)


def test_one_number_has_no_deviation_and_none_has_no_spread() -> None:
    one = spread([0.5])
    assert one is not None
    assert (one.n, one.mean, one.deviation) == (1, 0.5, None)
    assert spread([]) is None


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=40))
def test_mean_and_deviation_are_numpys(values: list[float]) -> None:
    assert mean(values) == pytest.approx(float(np.mean(values)), rel=1e-9, abs=1e-9)
    assert deviation(values) == pytest.approx(float(np.std(values, ddof=1)), rel=1e-6, abs=1e-6)


def test_numbers_at_the_end_of_what_a_double_holds() -> None:
    assert mean([HUGE, HUGE]) == pytest.approx(HUGE)
    assert mean([HUGE, HUGE, HUGE]) == pytest.approx(HUGE)
    assert mean([HUGE, -HUGE]) == 0
    assert deviation([HUGE, -HUGE]) == math.inf
    assert deviation([1e300, 3e300]) == pytest.approx(statistics.stdev([1.0, 3.0]) * 1e300)


def test_a_diverged_value_does_not_stretch_the_range() -> None:
    values = [0.20, 0.21, 0.22, 0.23, 0.24, 1e6]
    shown = usual_range(values, "minimize")
    assert shown == Range(0.20, 0.24)
    assert shown.beyond(values) == 1
    # On the good side nothing is cut.
    assert usual_range(values, "maximize") == Range(0.20, 1e6)
    assert usual_range([0.5, 0.5], "minimize") == Range(0.5, 0.5)
    assert usual_range([], "minimize") == Range(None, None)
    assert Range().beyond([1.0]) == 0


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30))
def test_the_good_end_of_a_range_is_never_cut(values: list[float]) -> None:
    up, down = usual_range(values, "maximize"), usual_range(values, "minimize")
    assert up.high == max(values)
    assert down.low == min(values)
    for shown in (up, down):
        assert shown.low is not None
        assert shown.high is not None
        assert shown.low <= shown.high
        assert shown.beyond(values) < len(values)
