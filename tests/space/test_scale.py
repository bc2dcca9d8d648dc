"""Places in a range: there and back, for the widest and the narrowest ranges that doubles have."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hpo.space.scale import at_part, log_ratio, part_of_range

FINITE = st.floats(-8e307, 8e307)


def test_numbers_by_hand() -> None:
    assert part_of_range(3, 1, 5, log=False) == 0.5
    assert part_of_range(0.1, 0.01, 1.0, log=True) == pytest.approx(0.5)
    assert at_part(0.5, 0.01, 1.0, log=True) == pytest.approx(0.1)
    assert log_ratio(1e300, 1e-300) == pytest.approx(600 * math.log(10))


@pytest.mark.parametrize("log", [False, True])
@given(ends=st.tuples(FINITE, FINITE), part=st.floats(0, 1))
def test_a_place_is_in_the_range_and_its_part_between_0_and_1(
    ends: tuple[float, float], part: float, log: bool
) -> None:
    low, high = sorted(map(abs, ends) if log else ends)
    assume(low < high and (low > 0 or not log))
    value = at_part(part, low, high, log)
    assert low <= value <= high
    assert 0 <= part_of_range(value, low, high, log) <= 1
    assert (part_of_range(low, low, high, log), part_of_range(high, low, high, log)) == (0, 1)


@pytest.mark.parametrize("low", [5e-324, 1.0, 1.9999999999999998, 1e300])
@pytest.mark.parametrize("log", [False, True])
def test_a_range_of_one_ulp_has_its_two_ends(low: float, log: bool) -> None:
    high = math.nextafter(low, math.inf)
    assert {at_part(part, low, high, log) for part in (0.0, 0.2, 0.5, 0.8, 1.0)} == {low, high}
    assert [part_of_range(value, low, high, log) for value in (low, high)] == [0, 1]
