from __future__ import annotations

import math
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from hpo.analysis.steps import Steps, steps_of
from hpo.storage.history import Step

NAMES = ("loss", "score", "epoch_seconds")
values = st.floats(allow_nan=False) | st.just(math.inf)


@st.composite
def histories(draw: st.DrawFn) -> tuple[Step, ...]:
    numbers = sorted(draw(st.sets(st.integers(0, 2**53), max_size=6)))
    return tuple(
        Step(
            number,
            draw(st.floats(0, 1e10)),
            draw(st.integers(1, 3)),
            draw(st.dictionaries(st.sampled_from(NAMES), values)),
        )
        for number in numbers
    )


def last_finite(history: Sequence[Step], name: str) -> float | None:
    known = [step.metrics[name] for step in history if math.isfinite(step.metrics.get(name, math.nan))]
    return known[-1] if known else None


@given(histories())
def test_columns_say_what_the_steps_say(history: tuple[Step, ...]) -> None:
    found = steps_of(history)
    assert found == history
    assert history == found
    assert len(found) == len(history)
    assert found[1:] == history[1:]
    assert found[::-1] == history[::-1]
    assert found.names == tuple(dict.fromkeys(name for step in history for name in step.metrics))
    for name in (*NAMES, "other"):
        assert found.series(name) == tuple((s.step, s.metrics[name]) for s in history if name in s.metrics)
        assert found.last(name) == last_finite(history, name)
    assert steps_of(found) is found


def test_what_is_not_a_number_is_not_what_is_missing() -> None:
    found = steps_of((Step(1, 0.0, 1, {"score": math.nan}), Step(2, 0.0, 1, {"loss": 1.0})))
    ((step, value),) = found.series("score")
    assert (step, math.isnan(value), found.last("score")) == (1, True, None)
    assert [list(one.metrics) for one in found] == [["score"], ["loss"]]


def test_steps_are_read_once_and_only_when_they_are_asked_for() -> None:
    read: list[None] = []

    def reading() -> list[Step]:
        read.append(None)
        return [Step(1, 0.0, 1, {"score": 0.5})]

    found = Steps(lambda number: reading(), 7)
    assert read == []
    assert (len(found), found.last("score"), found[0].step) == (1, 0.5, 1)
    assert len(read) == 1
