"""Identity of a study: it reads back from JSON as it was, and each real change is told."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.actions.plan import plan
from hpo.errors import SpecError
from hpo.spec.identity import changes, differences, from_json, to_json
from hpo.spec.load import load_spec
from hpo.spec.models import StudySpec

NAN = math.nan
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text())
KEYS = st.one_of(
    SCALARS.filter(lambda key: key == key), st.sampled_from(["true", "1", "0.5", "null", "NaN", "hpo:pairs", "1e3"])
)
DATA = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=9,
)


def stored(identity: Any) -> Any:
    return json.loads(json.dumps(to_json(identity)))


@given(st.dictionaries(st.text(), DATA, max_size=4))
def test_it_reads_back_from_json_with_the_types_of_its_keys(data: dict[str, Any]) -> None:
    assert repr(from_json(stored(data))) == repr(data)
    assert changes(stored(data), data) == []


@given(st.dictionaries(st.text(), DATA, max_size=4))
def test_what_earlier_versions_stored_is_no_change(data: dict[str, Any]) -> None:
    assert changes(json.loads(json.dumps(data)), data) == []


def test_data_of_text_keys_are_stored_as_they_are() -> None:
    plain = {"search_space": {"lr": {"low": 0.1, "high": 1}}, "constants": {"a": [1, {"b": None}]}}
    assert to_json(plain) == plain


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ({0: 1.0}, {"0": 1.0}, ["the list of keys of constants.x was [0], is ['0']"]),
        ({"true": 1}, {True: 1}, ["the list of keys of constants.x was ['true'], is [true]"]),
        ({1: 2}, {True: 2}, ["constants.x.1 was 2, is gone", "constants.x.true was not there, is 2"]),
        ({1: 2, 3: 4}, {1: 2, 3: 5}, ["constants.x.3 was 4, is 5"]),
        ([NAN, {None: NAN}], [NAN, {None: 0.0}], ["constants.x was [nan, {None: nan}], is [nan, {None: 0.0}]"]),
        (NAN, math.inf, ["constants.x was nan, is inf"]),
        (1, 1.0, ["constants.x was 1, is 1.0"]),
        (1, True, ["constants.x was 1, is true"]),
        (10**40, 10**40 + 1, [f"constants.x was {10**40}, is {10**40 + 1}"]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, []),
        ([{"a": 1, "b": 2}], [{"b": 2, "a": 1}], []),
        ((1, (2, 3)), [1, [2, 3]], []),
    ],
)
def test_what_the_objective_would_see_otherwise_is_a_change(old: Any, new: Any, said: list[str]) -> None:
    assert changes(stored({"constants": {"x": old}}), {"constants": {"x": new}}) == said


def test_the_order_and_the_kind_of_choices_count() -> None:
    def space(choices: Any) -> dict[str, Any]:
        return {"search_space": {"aug": {"choices": choices}}}

    assert changes(stored(space({True: {}, False: {}})), space({False: {}, True: {}})) == [
        "search_space.aug.choices was [true, false], is [false, true]"
    ]
    assert changes(stored(space({True: {}, False: {}})), space({"true": {}, "false": {}})) == [
        "search_space.aug.choices was [true, false], is ['true', 'false']"
    ]
    assert changes(stored(space({16: {}})), space({16.0: {}})) == ["search_space.aug.choices was [16], is [16.0]"]


def test_a_change_of_an_earlier_study_is_told_without_its_keys() -> None:
    old = {"constants": {"w": {0: 1.0, 1: 5.0}, "n": 1}}
    new = {"constants": {"w": {0: 1.0, 1: 5.0}, "n": 2}}
    assert changes(json.loads(json.dumps(old)), new) == ["constants.n was 1, is 2"]


def test_what_another_program_left_there_is_a_difference() -> None:
    assert changes("something", {"constants": {}})
    assert from_json({"hpo:pairs": [[[1], 2]]}) == {"hpo:pairs": [[[1], 2]]}
    assert differences({}, {}) == []


def goal(value: float | None) -> dict[str, Any]:
    return {"metrics": [{"name": "score", "direction": "maximize"} | ({} if value is None else {"goal": value})]}


def test_a_goal_is_written_and_belongs_to_no_identity(make_spec: Callable[..., StudySpec], tmp_path: Path) -> None:
    with_goal, without = make_spec(**goal(0.6)), make_spec(**goal(None))
    assert with_goal.identity() == without.identity()
    assert with_goal.metrics == without.metrics  # values of the two compare
    assert with_goal != without
    copy = tmp_path / "again.yaml"
    copy.write_text(with_goal.to_yaml())
    assert load_spec(copy, locate=False).metrics[0].goal == 0.6
    assert plan(with_goal).metrics == ("maximize score (goal 0.6)",)


@pytest.mark.parametrize("value", ["high", True, math.nan, math.inf, [0.6]])
def test_a_goal_is_a_finite_number(make_spec: Callable[..., StudySpec], value: Any) -> None:
    with pytest.raises(SpecError, match=r"study\.yaml:\d+: metrics\.0\.goal: .*expected a (finite )?number"):
        make_spec(**goal(value))
