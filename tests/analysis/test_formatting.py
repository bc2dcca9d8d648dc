from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.analysis import formatting


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.001, "0.001"),
        (0.0005, "5e-4"),
        (0.00031623, "3.162e-4"),
        (12.0, "12"),
        (0.123456, "0.1235"),
        (123456.7, "123457"),
        (1.5e7, "1.5e7"),
        (-0.00002, "-2e-5"),
        (float("inf"), "infinity"),
        (float("nan"), "nan"),
    ],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert formatting.number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (99.98543, "99.985"),
        (99.94, "99.9"),
        (99.96, "99.960"),
        (99.9999999999, "99.999999999"),
        (100, "100"),
        (100.2, "100"),
        (0.0001234, "1.23e-4"),
        (0, "0"),
        (-3.5, "-3.5"),
    ],
)
def test_less_than_100_percent_is_never_written_as_100(value: float, text: str) -> None:
    assert formatting.percent(value) == text


@given(st.floats(0, 1, exclude_min=True, exclude_max=True), st.integers(0, 2))
def test_a_part_is_never_all_and_never_nothing(share: float, decimals: int) -> None:
    text = formatting.rounded_percent(share, decimals)
    assert float(text.strip("<> %")) not in (0, 100)
    assert float(formatting.percent(100 * share)) not in (0, 100) or 100 * share == 100


def test_parts_are_rounded() -> None:
    found = [formatting.rounded_percent(share) for share in (0, 0.004, 0.006, 0.5, 0.994, 0.996, 1)]
    assert found == ["0%", "< 1%", "1%", "50%", "99%", "> 99%", "100%"]
    assert formatting.rounded_percent(0.9999, 1) == "> 99.9%"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "none"), (True, "true"), (16, "16"), ("relu", "relu"), ({"a": 0.25, "b": 0.75}, "a 0.25, b 0.75")],
)
def test_labels_of_parameter_values(value: object, text: str) -> None:
    assert formatting.label(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "—"),
        (0.123, "0.12 s"),
        (59.9, "59.9 s"),
        (59.96, "1 min 00 s"),
        (200.4, "3 min 20 s"),
        (7500, "2 h 05 min"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert formatting.duration(seconds) == text


def test_decimals_tell_values_apart() -> None:
    assert formatting.decimals([0.80, 0.92]) == 3  # a spread of 0.12: thousandths
    assert formatting.decimals([32.0, 190.0]) == 0
    assert formatting.decimals([0.5, 0.5]) == 3
    assert formatting.score(0.8765, 3) == "0.876"
    assert formatting.score(3e-7, 3) == "3e-7"


def test_lists_of_words_and_numbers() -> None:
    assert formatting.listed(["a"]) == "a"
    assert formatting.listed(["a", "b", "c"]) == "a, b and c"
    assert formatting.numbers(range(14)) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 2 more"
    assert formatting.configuration({"lr": 1e-4, "model": "cnn"}, without=["model"]) == "lr 1e-4"
