from __future__ import annotations

from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from hpo.analysis.statistics.multiple_testing import holm


def test_holm_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.03, 0.5: times 4, 3, 2 and 1 is 0.04, 0.06, 0.06 and 0.5.
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm([0.4, 0.3]) == pytest.approx([0.6, 0.6])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=20))
def test_holm_is_that_of_statsmodels(raw: list[float]) -> None:
    with mock.patch("gc.collect"):  # with which it spends its time
        theirs = multipletests(raw, method="holm")[1]
    assert holm(raw) == pytest.approx(list(theirs))
