from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.analysis.axes import Axis, axis_of, choose_axes, in_order, searched
from hpo.space.search_space import SearchSpace


def axis(name: str, space: dict[str, Any]) -> Axis:
    return axis_of(name, searched(SearchSpace.parse(space))[name])


def test_log_parameters_have_two_bins_a_decade() -> None:
    rate = axis("lr", {"lr": {"low": 1e-4, "high": 1e-2, "log": True}})
    assert rate.edges == pytest.approx((1e-4, 10**-3.5, 1e-3, 10**-2.5, 1e-2))
    assert rate.labels == ("1e-4 to 3.16e-4", "3.16e-4 to 0.001", "0.001 to 0.00316", "0.00316 to 0.01")
    assert rate.log


def test_a_bin_holds_its_lower_edge_and_the_last_one_both() -> None:
    dropout = axis("dropout", {"dropout": {"low": 0.0, "high": 0.5}})
    assert dropout.edges == pytest.approx((0, 0.1, 0.2, 0.3, 0.4, 0.5))
    assert [dropout.cell_of(value) for value in (0.0, 0.0999, 0.1, 0.45, 0.5, 0.51, -0.1)] == [
        0,
        0,
        1,
        4,
        4,
        None,
        None,
    ]


def test_few_values_have_a_cell_each() -> None:
    assert axis("depth", {"depth": {"low": 2, "high": 5}}).values == (2, 3, 4, 5)
    stepped = axis("dropout", {"dropout": {"low": 0.0, "high": 0.5, "step": 0.1}})
    assert stepped.labels == ("0", "0.1", "0.2", "0.3", "0.4", "0.5")
    assert stepped.cell_of(0.3) == 3
    assert not stepped.binned


def test_many_integers_are_binned_and_each_is_in_one_bin() -> None:
    width = axis("width", {"width": {"low": 1, "high": 20}})
    assert width.labels == ("1 to 4", "5 to 8", "9 to 12", "13 to 16", "17 to 20")
    assert [width.cell_of(value) for value in (1, 4, 5, 20, 21)] == [0, 0, 1, 4, None]


def test_numeric_choices_are_sorted_and_others_keep_their_order() -> None:
    assert axis("batch_size", {"batch_size": {"choices": [32, 8, 16]}}).labels == ("8", "16", "32")
    assert axis("act", {"act": {"choices": ["relu", "gelu"]}}).labels == ("relu", "gelu")


def test_choices_that_look_alike_are_different_cells() -> None:
    mixed = axis("x", {"x": {"choices": ["none", 1, None]}})
    assert [mixed.cell_of(value) for value in ("none", 1, None, "1", True)] == [0, 1, 2, None, None]


def test_one_name_in_several_branches_shares_an_axis() -> None:
    rates = {
        "adam": {"lr": {"low": 1e-4, "high": 1e-3, "log": True}},
        "sgd": {"lr": {"low": 1e-3, "high": 1e-1, "log": True}},
    }
    shared = axis("lr", {"optimizer": {"choices": rates}})
    assert (shared.edges[0], shared.edges[-1]) == (1e-4, 1e-1)


def test_learning_rate_by_batch_size_wherever_they_are_declared() -> None:
    space = {
        "dropout": {"low": 0.0, "high": 0.5},
        "batch_size": {"choices": [8, 16]},
        "optimizer": {"choices": {"adam": {"lr": {"low": 1e-4, "high": 1e-2, "log": True}}, "none": {}}},
    }
    axes = choose_axes(SearchSpace.parse(space), None, ranking=["dropout"])
    assert axes is not None
    assert (axes.rows.name, axes.columns.name, axes.chosen) == ("lr", "batch_size", "")


def test_missing_ones_are_replaced_by_the_most_important_and_that_is_said() -> None:
    space = SearchSpace.parse(
        {
            "model": {"choices": ["a", "b"]},
            "depth": {"low": 1, "high": 4},
            "dropout": {"low": 0.0, "high": 0.5},
            "loss": {"choices": {"bce": {}, "focal": {"gamma": {"low": 0.0, "high": 5.0}}}},
            "batch_size": 16,
        }
    )
    axes = choose_axes(space, "model", ranking=["model", "loss.focal.gamma", "dropout"])
    assert axes is not None
    assert (axes.rows.name, axes.columns.name) == ("gamma", "dropout")
    assert "no learning rate and no batch size" in axes.chosen
    assert "gamma and dropout (the most important)" in axes.chosen
    undecided = choose_axes(space, "model")
    assert undecided is not None
    assert (undecided.rows.name, undecided.columns.name) == ("depth", "dropout")
    assert "(the first declared)" in undecided.chosen


def test_one_parameter_or_none() -> None:
    single = choose_axes(SearchSpace.parse({"m": {"choices": ["a", "b"]}, "batch_size": {"choices": [8, 16]}}), "m")
    assert single is not None
    assert (single.rows.name, single.columns.labels) == ("batch_size", ("",))
    assert choose_axes(SearchSpace.parse({"m": {"choices": ["a", "b"]}, "lr": 0.001}), "m") is None
    simplex = SearchSpace.parse({"weights": {"simplex": ["a", "b", "c"]}})
    weights = choose_axes(simplex, None)
    assert weights is not None
    assert (weights.rows.name, weights.columns.name) == ("weights.a", "weights.b")


def test_weights_that_sum_to_one_have_an_axis_each() -> None:
    space = SearchSpace.parse({"weights": {"simplex": ["dice", "bce", "edge"]}, "m": {"choices": ["a", "b"]}})
    assert in_order(space, "m") == ("weights.dice", "weights.bce", "weights.edge")
    assert in_order(space, "m", ["weights.1", "weights.0"]) == in_order(space, "m")
    dice = axis_of("weights.dice", searched(space)["weights.dice"])
    assert dice.labels == ("0 to 0.2", "0.2 to 0.4", "0.4 to 0.6", "0.6 to 0.8", "0.8 to 1")
    params = {"m": "a", "weights": {"dice": 0.45, "bce": 0.55, "edge": 0.0}}
    assert (dice.value_in(params), dice.cell_in(params)) == (0.45, 2)
    assert (dice.value_in({"m": "a"}), dice.cell_in({"m": "a"})) == (None, None)


def test_a_value_is_drawn_in_its_cell() -> None:
    rate = axis("lr", {"lr": {"low": 1e-4, "high": 1e-2, "log": True}})
    assert [rate.position(v) for v in (1e-4, 1e-3, 1e-2)] == pytest.approx([-0.5, 1.5, 3.5])
    assert axis("batch_size", {"batch_size": {"choices": [32, 8, 16]}}).position(16) == 1
    width = axis("width", {"width": {"low": 1, "high": 20}})  # the first bin holds 1 to 4
    assert [width.position(v) for v in (1, 4, 5, 20)] == pytest.approx([-0.375, 0.375, 0.625, 4.375])
    with pytest.raises(ValueError, match=r"2\.0 is not on the axis of 'lr'"):
        rate.position(2.0)


@given(st.floats(1e-5, 10.0), st.floats(1.001, 1e6), st.booleans(), st.floats(0, 1))
def test_every_value_of_a_range_lies_within_its_own_cell(low: float, factor: float, log: bool, share: float) -> None:
    high = low * factor
    of = axis("x", {"x": {"low": low, "high": high, "log": log}})
    value = min(high, max(low, low + share * (high - low)))
    cell = of.cell_of(value)
    assert cell is not None
    assert cell - 0.5 - 1e-6 <= of.position(value) <= cell + 0.5 + 1e-6


def test_the_usual_parameters_come_first_then_the_ranking_then_the_others() -> None:
    space = SearchSpace.parse(
        {
            "model": {"choices": ["a", "b"]},
            "depth": {"low": 1, "high": 4},
            "weights": {"simplex": ["a", "b"]},
            "batch_size": {"choices": [8, 16]},
            "dropout": {"low": 0.0, "high": 0.5},
            "lr": {"low": 1e-4, "high": 1e-2},
        }
    )
    weights = ("weights.a", "weights.b")
    assert in_order(space, "model", ["model", "dropout", "depth"]) == ("lr", "batch_size", "dropout", "depth", *weights)
    assert in_order(space, None) == ("lr", "batch_size", "model", "depth", *weights, "dropout")


@pytest.mark.parametrize(
    ("low", "high", "inner"),
    [
        (9.79e-5, 0.0959, (10**-3.5, 1e-3, 10**-2.5, 1e-2, 10**-1.5)),
        (1e-5, 1e-1, (1e-4, 1e-3, 1e-2)),
        (1e-3, 5e-3, (1.5e-3, 2e-3, 3e-3)),
        (1e-300, 1e300, (1e-200, 1e-100, 1.0, 1e100, 1e200)),
    ],
)
def test_edges_of_a_logarithm_are_read_easily(low: float, high: float, inner: tuple[float, ...]) -> None:
    """Edges of equal steps were 9.79e-4 and 0.00959."""
    assert axis("rate", {"rate": {"low": low, "high": high, "log": True}}).edges == pytest.approx((low, *inner, high))
