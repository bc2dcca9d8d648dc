from __future__ import annotations

import pytest

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
