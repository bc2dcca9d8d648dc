"""Trials that wait at a rung of successive halving, against hand-computed ranks."""

from __future__ import annotations

import hypothesis.strategies as st
import optuna
import pytest
from hypothesis import given, settings
from optuna.trial import TrialState, create_trial

from hpo.search.promotion import WAITING, Promotion

Report = tuple[int, int, float]


def promotion(*costs: float, group: str | None = None, most: int = WAITING) -> Promotion:
    """Trials 0, 1, ... that have reported these costs at step 1, factor 4. Who is behind waits, as it comes."""
    found = Promotion(1, 4, most)
    for number, cost in enumerate(costs):
        found.reported(number, group, 1, cost)
        if found.is_behind(number):
            found.wait(number)
    return found


def test_one_of_four_goes_on_at_once() -> None:
    found = promotion(0.4, 0.3, 0.2)
    assert [found.is_behind(number) for number in range(3)] == [True, True, True]  # of three none is the best quarter
    found.reported(3, None, 1, 0.1)
    assert not found.is_behind(3)
    assert found.next() is None  # trial 3 is the best quarter, and goes on


def test_it_goes_on_once_enough_others_came() -> None:
    found = promotion(0.4, 0.3, 0.2, 0.1, 0.5, 0.6, 0.7)
    assert found.next() is None
    found.reported(7, None, 1, 0.8)  # of eight the best two: trials 3 and 2
    assert found.next() == 2
    found.forget(2)  # it is a further attempt now
    assert found.next() is None
    found.reported(8, None, 1, 0.2)
    assert (found.is_behind(8), found.next()) == (False, None)


def test_equal_ones_go_on_at_once_and_the_first_of_those_that_wait() -> None:
    found = promotion(0.5, 0.5, 0.5, 0.5)
    assert not found.is_behind(3)
    assert found.next() == 0


def test_the_highest_rung_comes_first() -> None:
    found = promotion(0.4, 0.3, 0.2, 0.1, 0.9, 0.9, 0.9, 0.9)
    for number, cost in ((3, 0.05), (5, 0.04), (6, 0.03), (7, 0.06)):
        found.reported(number, None, 4, cost)
    assert [found.is_behind(number) for number in (3, 5, 6, 7)] == [True, True, False, True]
    found.wait(3)
    assert found.next() == 2  # at step 1: at step 4 trial 6 is the best quarter of four
    for number in range(8, 12):
        found.reported(number, None, 4, 0.5)
    assert found.next() == 2
    found.wait(5)
    assert found.next() == 5  # of eight at step 4 the best two are trials 6 and 5


def test_the_rest_goes_on_by_the_part_that_was_better() -> None:
    found = promotion(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, most=16)
    found.withdraw(0)
    found.withdraw(1)
    for number, cost in ((0, 0.5), (1, 0.4), (8, 0.9)):
        found.reported(number, None, 4, cost)
        if found.is_behind(number):
            found.wait(number)
    order = []
    for _ in range(9):
        number = found.next(last=True, rest=True)
        assert number is not None
        order.append(number)
        found.withdraw(number)
    # At step 4 trial 1 is the best (0 of 3 better), 0 has one of three before it, 8 two; at step 1 the trials that wait
    # have 2 of 8 (trial 2, the best quarter of them: 0.25), 3 of 8, ... before them.
    assert order == [1, 2, 0, 3, 4, 5, 8, 6, 7]
    assert found.next(last=True, rest=True) is None


def test_groups_are_compared_by_themselves() -> None:
    found = Promotion(1, 4)
    for number in range(4):
        found.reported(number, "fast", 1, 0.1 + number / 100)
    for number in range(4, 8):
        found.reported(number, "slow", 1, 0.9 - number / 100)
    assert [number for number in range(8) if not found.is_behind(number)] == [0, 7]


def test_few_wait_at_a_rung() -> None:
    found = promotion()
    over = []
    for number in range(WAITING + 3):
        found.reported(number, None, 1, 1.0 + number)
        found.reported(100 + number, None, 1, 0.0)
        over.append(found.wait(number))
    assert over == [None] * WAITING + [WAITING, WAITING + 1, WAITING + 2]  # the worst is the one that came last


def test_the_best_goes_on_in_any_case_if_nothing_else_will_come() -> None:
    found = promotion(0.4, 0.3)
    assert (found.next(), found.next(last=True)) == (None, 1)
    found.forget(1)
    assert found.next(last=True) == 0
    found.withdraw(0)
    assert found.next(last=True) is None


def test_a_report_that_comes_to_no_rung_holds_nothing_up() -> None:
    found = promotion(0.4, 0.3, 0.2, 0.1, 0.1)
    found.reported(4, None, 2, 9.0)
    assert not found.is_behind(4)
    found.reported(4, None, 17, 9.0)  # to the rungs 4 and 16 at once
    assert found.is_behind(4)
    found.reported(5, None, 4, 9.5)
    assert found.is_behind(5)


def test_what_is_not_known_is_not_behind() -> None:
    assert not promotion().is_behind(3)
    promotion(0.1).forget(7)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), st.sampled_from([1, 2, 4, 5, 16]), st.floats(-1, 1)), max_size=60))
def test_what_storage_holds_is_what_was_reported(reports: list[Report]) -> None:
    values: dict[int, dict[int, float]] = {}
    told = Promotion(1, 4)
    for number, step, value in reports:
        if step > max(values.get(number, {0: 0})):
            values.setdefault(number, {})[step] = value
            told.reported(number, number % 2, step, -value)
    trials = []
    for number in range(13):
        trial = create_trial(
            state=TrialState.PRUNED if values.get(number) else TrialState.FAIL,
            params={"group": number % 2},
            distributions={"group": optuna.distributions.IntDistribution(0, 1)},
            intermediate_values=values.get(number, {}),
        )
        trial.number = number
        trials.append(trial)
    loaded = Promotion(1, 4)
    loaded.load(trials, "group", -1.0)
    assert [loaded.is_behind(number) for number in range(13)] == [told.is_behind(number) for number in range(13)]


def test_what_failed_is_not_loaded() -> None:
    trial = create_trial(state=TrialState.FAIL, intermediate_values={1: 0.0})
    found = Promotion(1, 4)
    found.load([trial], None, 1.0)
    assert found.next(last=True) is None
    with pytest.raises(KeyError):
        found.wait(0)
