"""Red flags over steps that are reported in pieces: the same flags in the same epochs as over whole steps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.red_flags.definitions import read_flags
from hpo.red_flags.monitor import RedFlagMonitor
from hpo.trial import Usage

Report = tuple[int, Mapping[str, float]]

RULES: list[Any] = [
    {"name": "both", "when": "train_x > 0.5 and val_x > 0.5", "for_epochs": 2},
    {"name": "either", "when": "not (train_x > 0 or val_x > 0)"},
    {"name": "gap", "when": "val_x - previous(val_x) > train_x", "for_epochs": 3},
    {"name": "means", "when": "mean(val_x, 3) > mean(train_x, 3)", "from_epoch": 3, "for_epochs": 2},
    "non_finite",
    {"name": "collapsed", "from_epoch": 2},
    {"name": "overfitting", "from_epoch": 4},
    {"name": "dominating_component", "ratio": 2},
    {"name": "no_improvement", "metric": "val_loss", "from_epoch": 3},
]


def monitor(*written: Any, params: Mapping[str, Any] | None = None, **keys: Any) -> RedFlagMonitor:
    flags, problems = read_flags(list(written))
    assert problems == []
    return RedFlagMonitor(flags, params or {}, {}, "val_score", True, **keys)


def raised(reports: Iterable[Report], *written: Any, params: Mapping[str, Any] | None = None) -> list[tuple[str, int]]:
    one = monitor(*written, params=params)
    for time, (epoch, metrics) in enumerate(reports):
        one.observe(epoch, metrics, float(time), Usage())
    return sorted((flag.name, flag.step) for flag in one.raised)


@pytest.mark.parametrize("order", [("train_x", "val_x"), ("val_x", "train_x")])
def test_a_rule_over_two_pieces_is_raised_with_the_second_of_them(order: tuple[str, str]) -> None:
    one = monitor({"name": "both", "when": "train_x > 0.5 and val_x > 0.5", "for_epochs": 2})
    for epoch in (1, 2):
        assert one.observe(epoch, {order[0]: 1.0}, 0.0, Usage()) == []
        found = one.observe(epoch, {order[1]: 1.0}, 0.0, Usage())
    assert [(flag.step, flag.evidence["since"]) for flag in found] == [(2, 1)]
    assert one.observe(3, {order[0]: 1.0, order[1]: 1.0}, 0.0, Usage()) == []
    assert len(one.raised) == 1


def test_an_epoch_counts_once_in_a_row_of_epochs() -> None:
    one = monitor({"name": "high", "when": "train_x > 0.5", "for_epochs": 3})
    for epoch in (1, 2):
        for metrics in ({"train_x": 1.0}, {"val_x": 1.0}, {"learning_rate": 0.1}):
            assert one.observe(epoch, metrics, 0.0, Usage()) == []
    (found,) = one.observe(3, {"train_x": 1.0}, 0.0, Usage())
    assert found.evidence["since"] == 1


def test_a_value_that_is_reported_again_takes_the_place_of_the_first() -> None:
    rule = {"name": "high", "when": "x > 0.5", "for_epochs": 2}
    assert raised([(1, {"x": 1.0}), (2, {"x": 0.0}), (2, {"x": 1.0})], rule) == [("high", 2)]
    assert raised([(1, {"x": 1.0}), (1, {"x": 0.0}), (2, {"x": 1.0})], rule) == []
    assert raised([(1, {"x": 1.0}), (1, {"x": math.nan})], "non_finite", rule) == []
    assert raised([(1, {"x_loss": 1.0}), (1, {"x_loss": math.nan})], "non_finite") == [("non_finite", 1)]


def test_a_rule_that_weighs_metrics_waits_for_those_that_the_epoch_before_had() -> None:
    collapsed = {"name": "collapsed", "from_epoch": 2, "for_epochs": 1}
    reports: list[Report] = []
    for epoch in range(1, 5):
        reports += [(epoch, {"train_recall": 0.0}), (epoch, {"val_recall": 0.4})]
    assert raised(reports, collapsed) == []
    # No validation in epoch 5 after all: what it has is looked at when epoch 6 begins.
    one = monitor(collapsed)
    for epoch, metrics in [*reports, (5, {"train_recall": 0.0})]:
        assert one.observe(epoch, metrics, 0.0, Usage()) == []
    (found,) = one.observe(6, {"train_recall": 0.3}, 0.0, Usage())
    assert (found.step, found.evidence["metrics"]) == (5, {"train_recall": 0.0})


def test_a_parameter_does_not_stand_in_for_a_metric_that_is_still_to_come() -> None:
    rule = {"name": "fast", "when": "learning_rate > 0.5", "from_epoch": 2}
    reports: list[Report] = []
    for epoch in range(1, 4):
        reports += [(epoch, {"val_x": 1.0}), (epoch, {"learning_rate": 0.1})]
    assert raised(reports, rule, params={"learning_rate": 1.0}) == []


def test_a_late_piece_of_an_earlier_epoch_is_seen_with_what_was_known_then() -> None:
    rule = {"name": "both", "when": "train_x > 0.5 and previous(val_x) < val_x", "for_epochs": 2}
    reports: list[Report] = [(1, {"train_x": 1.0})]
    for epoch in range(2, 5):  # validation is one epoch behind
        reports += [(epoch, {"train_x": 1.0}), (epoch - 1, {"val_x": float(epoch)})]
    assert raised(reports, rule) == [("both", 3)]


def test_the_time_of_an_epoch_is_that_of_all_its_pieces() -> None:
    one = monitor({"name": "too_slow", "epoch_seconds": 10}, started=100.0)
    assert one.observe(1, {"train_x": 1.0}, 108.0, Usage()) == []
    assert one.observe(1, {"val_x": 1.0}, 109.0, Usage()) == []
    assert one.observe(2, {"train_x": 1.0}, 117.0, Usage()) == []
    (found,) = one.observe(2, {"val_x": 1.0}, 120.0, Usage())
    assert found.evidence["metrics"] == {"epoch_seconds": 11.0}


VALUES = st.sampled_from([0.0, 0.3, 0.6, 1.0, 3.0, math.nan])
NAMES = ["train_x", "val_x", "train_recall", "val_recall", "train_loss", "val_loss", "a_loss", "val_auc", "val_score"]


@st.composite
def trials(draw: st.DrawFn) -> tuple[list[Report], list[Report]]:
    """The reports of a trial, whole and in pieces. The first epoch has no flags: nobody knows yet what comes."""
    names = draw(st.permutations(NAMES))
    cuts = sorted(draw(st.sets(st.integers(1, len(NAMES) - 1), max_size=3)))
    parts = [names[start:end] for start, end in zip([0, *cuts], [*cuts, len(names)], strict=True)]
    whole: list[Report] = []
    pieces: list[Report] = []
    for epoch in range(draw(st.integers(2, 9))):
        metrics = {name: draw(VALUES) for name in names}
        whole.append((epoch, metrics))
        pieces += [(epoch, {name: metrics[name] for name in part}) for part in parts]
    return whole, pieces


@given(trials())
def test_pieces_raise_what_whole_steps_raise(given: tuple[list[Report], list[Report]]) -> None:
    whole, pieces = given
    assert raised(pieces, *RULES) == raised(whole, *RULES)


@given(trials(), st.data())
def test_after_a_resumption_the_flags_are_those_of_a_trial_that_was_not_cut(
    given: tuple[list[Report], list[Report]], data: st.DataObject
) -> None:
    reports = given[1]
    cut = data.draw(st.integers(0, len(reports)))
    one = monitor(*RULES)
    one.observe_earlier(reports[:cut])
    for epoch, metrics in reports[cut:]:
        one.observe(epoch, metrics, 0.0, Usage())
    assert sorted((flag.name, flag.step) for flag in one.raised) == raised(reports, *RULES)
