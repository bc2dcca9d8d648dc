from __future__ import annotations

import pytest

from hpo.errors import SpecError
from hpo.space.carry import carry
from hpo.space.search_space import SearchSpace

OLD = {
    "lr": {"low": 1e-4, "high": 1e-2, "log": True},
    "batch": {"choices": [8, 16]},
    "depth": 3,
    "weights": {"simplex": ["bce", "dice"]},
    "loss": {"choices": {"bce": {}, "focal": {"gamma": {"low": 0.0, "high": 5.0}}}},
    "step": {"low": 0.0, "high": 0.5, "step": 0.1},
}
TRIAL = {
    "lr": 0.003, "batch": 16, "weights.0": 0.3, "loss": "focal", "loss.focal.gamma": 2.0, "step": 0.1 + 0.2,
}  # fmt: skip


def carried(before=None, trial=TRIAL, **changes):
    new = SearchSpace.parse({name: declared for name, declared in (OLD | changes).items() if declared is not ...})
    return carry(trial, SearchSpace.parse(OLD), new, before or {}), new


def test_the_same_space_leaves_all_as_it_is():
    same, _ = carried()
    assert same.params == TRIAL | {"step": 0.3}  # on its step
    assert [same.outside, same.missing, same.added, same.gone] == [[], [], [], []]


def test_wider_ranges_more_choices_and_what_was_fixed():
    wide, new = carried(
        lr={"low": 1e-5, "high": 1.0}, batch={"choices": [4, 16, 8]}, depth={"choices": [2, 3]},
        loss={"choices": {"focal": {"gamma": {"low": 0.0, "high": 9.0}}, "new": {"k": {"low": 1, "high": 2}},
                          "bce": {}}},
    )  # fmt: skip
    assert wide.params == TRIAL | {"step": 0.3, "depth": 3}
    assert [wide.outside, wide.missing, wide.gone] == [[], [], []]
    assert new.cell_of(wide.params) is not None
    back, _ = carried()
    assert back.params == TRIAL | {"step": 0.3}


def test_a_new_parameter_has_the_value_of_before_where_it_is_active():
    declared = {"low": 0.0, "high": 0.5}
    focal = {"choices": {"bce": {}, "focal": {"gamma": {"low": 0.0, "high": 5.0}, "smooth": declared}}}
    lacking, _ = carried(dropout=declared, loss=focal)
    assert lacking.missing == ["loss.focal.smooth", "dropout"]
    given, new = carried({"dropout": 0.0, "loss.focal.smooth": 0.25}, dropout=declared, loss=focal)
    assert (given.missing, given.added) == ([], ["loss.focal.smooth", "dropout"])
    assert new.resolve(given.params)["smooth"] == 0.25
    bce = {name: value for name, value in TRIAL.items() if name != "loss.focal.gamma"} | {"loss": "bce"}
    without, _ = carried({"dropout": 0.0}, bce, dropout=declared, loss=focal)
    assert (without.missing, without.added) == ([], ["dropout"])


def test_weights_get_company():
    more, new = carried(weights={"simplex": ["l1", "bce", "dice"]})
    # 1 - (1 - u)^(1/1) of two weights is u itself.
    assert new.resolve(more.params)["weights"] == pytest.approx({"l1": 0, "bce": 0.3, "dice": 0.7})
    assert more.params["weights.0"] == 0
    fewer, _ = carried(weights={"simplex": ["bce", "l1"]})
    assert [name for name, _ in fewer.outside] == ["weights"]


def test_what_lies_outside_and_what_is_gone():
    narrow, _ = carried(lr={"low": 1e-4, "high": 2e-3}, batch={"choices": [8]}, depth=4, loss=...)
    assert narrow.outside == [("lr", 0.003), ("batch", 16), ("depth", 3)]
    assert narrow.gone == ["loss", "gamma"]


def test_a_parameter_may_leave_its_choice():
    """The objective sees it by the same name: where it was active it keeps its value."""
    moved, _ = carried({"gamma": 1.0}, gamma={"low": 0.0, "high": 5.0}, loss={"choices": ["bce", "focal"]})
    assert (moved.params["gamma"], moved.gone) == (2.0, [])
    bce = {name: value for name, value in TRIAL.items() if name != "loss.focal.gamma"} | {"loss": "bce"}
    assert carried({"gamma": 1.0}, bce, gamma={"low": 0.0, "high": 5.0},
                   loss={"choices": ["bce", "focal"]})[0].params["gamma"] == 1.0  # fmt: skip


def test_was_is_a_value_of_the_parameter_and_no_part_of_the_space():
    plain = {"x": {"low": 0.0, "high": 0.5}, "w": {"simplex": ["a", "b"]}}
    said = {"x": {"low": 0.0, "high": 0.5, "was": 0}, "w": {"simplex": ["a", "b"], "was": {"a": 1, "b": 0}}}
    space = SearchSpace.parse(said)
    assert space.data() == plain
    assert space == SearchSpace.parse(plain)
    assert [parameter.was for parameter in space.walk()] == [(0.0,), ({"a": 1.0, "b": 0.0},)]
    with pytest.raises(SpecError, match=r"x\.was: 0.7 is out of range; expected 0.0 to 0.5"):
        SearchSpace.parse({"x": {"low": 0.0, "high": 0.5, "was": 0.7}})
