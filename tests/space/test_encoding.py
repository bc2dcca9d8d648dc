"""Configurations as points, by hand."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.space.encoding import UnitCubeEncoder
from hpo.space.search_space import SearchSpace

SPACE = SearchSpace.parse(
    {
        "lr": {"low": 1e-4, "high": 1e-2, "log": True},
        "layers": {"low": 1, "high": 5},
        "rate": {"low": 0.0, "high": 0.5, "step": 0.1},
        "loss": {"choices": {"bce": {}, "focal": {"gamma": {"low": 0.0, "high": 4.0}}}},
    }
)
CUBE = UnitCubeEncoder(SPACE)


def test_places() -> None:
    point = CUBE.point({"lr": 1e-3, "layers": 4, "rate": 0.1, "loss": "focal", "loss.focal.gamma": 1.0})
    assert point.tolist() == pytest.approx([0.5, 0.75, 0.2, 1.0, 0.25])
    assert np.isnan(CUBE.point({"lr": 1e-4, "layers": 1, "rate": 0.0, "loss": "bce"})[4])


def test_distances() -> None:
    one = {"lr": 1e-4, "layers": 1, "rate": 0.0, "loss": "bce"}
    other = {"lr": 1e-3, "layers": 5, "rate": 0.0, "loss": "focal", "loss.focal.gamma": 4.0}
    third = {"lr": 1e-4, "layers": 1, "rate": 0.5, "loss": "focal", "loss.focal.gamma": 0.0}
    points = np.array([CUBE.point(params) for params in (one, other, third)])
    found = CUBE.squared_distances(points, points)
    # One and the other: half the learning rates, all layers, another loss, and a gamma that only one has.
    assert found[0] == pytest.approx([0.0, 0.25 + 1 + 1 + 1, 1 + 1 + 1])
    assert found[1] == pytest.approx([3.25, 0.0, 0.25 + 1 + 1 + 1])
    assert found == pytest.approx(found.T)


def test_values() -> None:
    assert CUBE.value("lr", 0.5) == pytest.approx(1e-3)
    assert (CUBE.value("lr", -3.0), CUBE.value("lr", 7.0)) == (pytest.approx(1e-4), pytest.approx(1e-2))
    assert CUBE.value("layers", 0.6) == 3
    assert type(CUBE.value("layers", 0.6)) is int
    assert CUBE.value("rate", 0.49) == pytest.approx(0.2)


@given(st.integers(0, 2**32))
def test_there_and_back(seed: int) -> None:
    drawn = SPACE.sample(random.Random(seed))
    for name, value in drawn.items():
        if name != "loss":
            assert CUBE.value(name, CUBE.coordinate(name, value)) == pytest.approx(value)


@given(st.floats(-2, 3), st.sampled_from(["lr", "layers", "rate", "loss.focal.gamma"]))
def test_any_place_is_a_value_that_the_space_accepts(at: float, name: str) -> None:
    value: Any = CUBE.value(name, at)
    assert math.isfinite(value)
    assert CUBE.distributions[name]._contains(value)
