"""What a trial says becomes text and numbers that every file, database and tracker takes."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hpo.text import brief, cut, message_of, one_line, printable
from hpo.trial import EXCEPTION, OBJECTIVE, Job, ObjectiveRef, Outcome, Params, Pruned, Trial, check_metrics


class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError("no")

    __repr__ = __str__


@given(st.text(st.characters(blacklist_categories=[]), max_size=800))
def test_a_reason_is_one_printable_line_of_at_most_300_characters(text):
    outcome = Outcome(0, "FAIL", cause=EXCEPTION, reason=f"it: {text}")
    assert outcome.reason.isprintable() or all(
        c.isprintable() or c == "\u3000" or not c.isascii() for c in outcome.reason
    )
    assert len(outcome.reason) <= 300
    assert "\n" not in outcome.reason
    outcome.reason.encode()
    outcome.error.encode()


def test_the_whole_of_a_reason_that_is_cut_is_kept_as_the_error():
    outcome = Outcome(0, "PRUNED", cause=OBJECTIVE, reason="x" * 1000)
    assert outcome.reason == "x" * 297 + "..."
    assert outcome.error == "x" * 1000
    assert Outcome(0, "PRUNED", cause=OBJECTIVE, reason="short").error == ""
    assert Outcome(0, "FAIL", cause=EXCEPTION, reason="x" * 1000, error="traceback").error == "traceback"


def test_surrogates_and_control_characters_are_escaped():
    assert printable("caf\udce9 \x1b[31mred\x1b[0m \x00 \u202e") == "caf\\udce9 \\x1b[31mred\\x1b[0m \\x00 \\x202e"
    assert printable("tab\tand\nline") == "tab\tand\nline"
    assert printable("Größe 損失 🎉") == "Größe 損失 🎉"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("labels are missing", "labels are missing"),
        (ValueError("shapes do not fit"), "shapes do not fit"),
        ("", "the objective gave up"),
        (None, "the objective gave up"),
        ("  \n", "the objective gave up"),
        (0.5, "0.5"),
        (ValueError(), "the objective gave up"),
        (Unspeakable(), "its message cannot be read: that raises RuntimeError"),
    ],
)
def test_a_pruned_trial_has_a_reason(given, reason):
    assert Pruned(given).reason == reason
    assert Pruned().reason == "the objective gave up"


def test_messages_that_cannot_be_read_are_said_so():
    assert message_of(Unspeakable()) == "its message cannot be read: that raises RuntimeError"
    assert one_line(Unspeakable()) == "its message cannot be read: that raises RuntimeError"
    assert "Unspeakable" in brief(Unspeakable())


def test_a_value_is_shown_in_short():
    assert brief([0.1] * 2_000_000) == "[0.1, 0.1, 0.1, 0.1, 0.1, 0.1, ...]"
    assert len(brief("x" * 10_000_000)) <= 120
    assert "\n" not in brief(np.ones((100, 100)))
    assert cut("abcdef", 5) == "ab..."


@pytest.mark.parametrize(
    ("value", "number"),
    [(1, 1.0), (np.float32(0.5), 0.5), (np.int64(3), 3.0), (np.array([2.0]), 2.0), (np.array(2), 2.0),
     (torch.tensor(0.25), 0.25), (torch.tensor([4]), 4.0), (Fraction(1, 4), 0.25), (math.inf, math.inf)],
)  # fmt: skip
def test_numbers_of_every_library_are_numbers(value, number):
    assert check_metrics({"loss": value}) == {"loss": number}


@pytest.mark.parametrize(
    "value",
    [True, "0.5", None, [0.5], np.ones(3), torch.ones(2), Decimal("0.5"), 1j, np.array(["a"]), np.bool_(True), 10**400],
)
def test_all_else_is_refused_with_the_name(value):
    with pytest.raises(TypeError, match="metric 'loss' is "):
        check_metrics({"loss": value})


def test_names_of_metrics_are_made_writable():
    assert list(check_metrics({"caf\udce9": 1, 3: 1, "x" * 300: 1})) == ["caf\\udce9", "3", "x" * 247 + "..."]


@pytest.mark.parametrize("step", [-1, 0.5, 1.0, True, "1", None, 2**53 + 1, 2**63, 10**30, math.nan])
def test_a_step_that_not_every_storage_takes_is_refused(tmp_path, step):
    trial = Trial(Job(0, {}, 0, ObjectiveRef(), {}, tmp_path, ()), lambda step, metrics: pytest.fail("it was sent"))
    with pytest.raises(TypeError, match="expected an integer from 0 to 9007199254740992"):
        trial.report(step, loss=0.5)


def test_steps_of_every_library_are_steps(tmp_path):
    sent = []
    trial = Trial(Job(0, {}, 0, ObjectiveRef(), {}, tmp_path, ()), lambda step, metrics: sent.append((step, metrics)))
    for step in (0, np.int64(5), np.uint8(7), 2**53):
        trial.report(step, loss=0.5)
    assert [(step, type(step)) for step, _ in sent] == [(0, int), (5, int), (7, int), (2**53, int)]


def test_parameters_know_which_of_them_were_read() -> None:
    def params() -> Params:
        return Params({"x": 1, "weights": {"a": 0.5}, "dropout": 0.1})

    reads: dict[str, tuple[Callable[[Params], object], tuple[str, ...]]] = {
        "nothing": (lambda p: None, ("x", "weights", "dropout")),
        "print": (lambda p: (str(p), f"{p}", len(p)), ("x", "weights", "dropout")),
        "one": (lambda p: p["x"], ("weights", "dropout")),
        "get": (lambda p: (p.get("x"), p.get("gone", 3)), ("weights", "dropout")),
        "in": (lambda p: "dropout" in p, ("x", "weights")),
        "part": (lambda p: p["weights"]["a"], ("x", "dropout")),
        "all": (lambda p: {**p}, ()),
        "dict": (lambda p: dict(p), ()),
        "or": (lambda p: p | {"y": 2}, ()),
        "ror": (lambda p: {"y": 2} | p, ()),
        "sent": (pickle.dumps, ()),
        "copied": (copy.deepcopy, ()),
    }
    for name, (read, unread) in reads.items():
        found = params()
        read(found)
        assert found.unread == unread, name
    assert params() == {"x": 1, "weights": {"a": 0.5}, "dropout": 0.1}
    assert {"y": 2} | params() | {"x": 3} == {"y": 2, "x": 3, "weights": {"a": 0.5}, "dropout": 0.1}
    assert pickle.loads(pickle.dumps(params())) == params()
    with pytest.raises(TypeError):
        params()["x"] = 2  # type: ignore[index]
