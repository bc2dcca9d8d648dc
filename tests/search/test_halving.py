"""The default pruner: who passes which rung, by hand."""

from __future__ import annotations

import math

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState, create_trial

from hpo.search.halving import HalvingPruner


def study_of(*curves: dict[int, float], direction: str = "minimize", state: TrialState = TrialState.PRUNED):
    study = optuna.create_study(direction=direction)
    study.add_trials([create_trial(state=state, intermediate_values=curve) for curve in curves])
    return study


def stopped(pruner: optuna.pruners.BasePruner, study: optuna.Study, curve: dict[int, float]) -> list[int]:
    """Return the steps at which a trial with this curve would be stopped."""
    trial, found = study.ask(), []
    for step, value in curve.items():
        trial.report(value, step)
        if pruner.prune(study, study.get_trials()[-1]):
            found.append(step)
    return found


def test_half_passes_the_first_rung_and_a_quarter_the_later_ones() -> None:
    ones = [{1: float(value)} for value in (1, 2, 3, 5, 6, 7, 8)]  # the eighth is on trial
    assert stopped(HalvingPruner(), study_of(*ones), {1: 4.0, 2: 9.0, 3: 9.0}) == []
    assert stopped(HalvingPruner(), study_of(*ones), {1: 5.5}) == [1]
    fours = [{1: 0.0, 4: float(value)} for value in (1, 3, 4, 5, 6, 7, 8)]
    assert stopped(HalvingPruner(), study_of(*fours), {1: 0.0, 2: 0.0, 3: 0.0, 4: 2.0, 5: 9.0}) == []
    assert stopped(HalvingPruner(), study_of(*fours), {1: 0.0, 2: 0.0, 3: 0.0, 4: 3.5}) == [4]


def test_a_larger_value_is_better_where_the_study_maximizes() -> None:
    study = study_of({1: 1.0}, {1: 2.0}, {1: 4.0}, direction="maximize")
    assert stopped(HalvingPruner(), study, {1: 3.0}) == []
    assert stopped(HalvingPruner(), study, {1: 1.5}) == [1]


def test_the_first_trial_passes_and_an_equal_one_too() -> None:
    assert stopped(HalvingPruner(), study_of(), {1: 1.0, 4: 1.0, 16: 1.0}) == []
    assert stopped(HalvingPruner(), study_of({1: 1.0}), {1: 1.0}) == []
    assert stopped(HalvingPruner(), study_of({1: 1.0}), {1: 1.1}) == [1]


def test_only_the_last_trials_are_compared() -> None:
    # The first four are bad. Of the last three and the trial itself one passes, so 2.0 is behind.
    study = study_of(*[{4: 9.0}] * 4, {4: 1.0}, {4: 3.0}, {4: 4.0})
    assert stopped(HalvingPruner(window=4), study, {4: 2.0}) == [4]
    assert stopped(HalvingPruner(window=8), study, {4: 2.0}) == []


def test_a_rung_between_two_reports_is_decided_at_the_later_one() -> None:
    study = study_of({3: 1.0}, {3: 2.0}, {5: 3.0})
    assert stopped(HalvingPruner(), study, {3: 9.0, 6: 4.0, 7: 9.0}) == [3, 6]
    assert stopped(HalvingPruner(), study_of(), {1: 1.0, 100: math.nan}) == [100]


def test_what_failed_is_not_compared() -> None:
    failed = study_of({1: 0.0}, {1: 0.0}, state=TrialState.FAIL)
    assert stopped(HalvingPruner(), failed, {1: 1.0}) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_resource": 0}, "min_resource is 0; expected at least 1"),
        ({"reduction_factor": 1}, "reduction_factor is 1; expected at least 2"),
        ({"first_reduction_factor": 0.5}, "first_reduction_factor is 0.5; expected at least 1"),
        ({"window": 3}, "window is 3; expected at least reduction_factor, 4"),
    ],
)
def test_options_out_of_range(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HalvingPruner(**options)


@given(st.lists(st.integers(0, 20), min_size=1, max_size=40), st.integers(0, 20))
def test_a_trial_passes_if_enough_of_the_others_are_no_better(values: list[int], own: int) -> None:
    study = study_of(*[{1: float(value)} for value in values])
    last = [own, *values[::-1][:31]]
    better = sum(value < own for value in last)
    assert (stopped(HalvingPruner(), study, {1: float(own)}) == []) == (better < max(1, len(last) // 2))


def test_few_of_a_long_study_are_looked_at() -> None:
    looked: list[int] = []

    class Trial:
        """A trial that notes that it was looked at."""

        state = TrialState.PRUNED

        def __init__(self, number: int) -> None:
            self.number = number

        @property
        def intermediate_values(self) -> dict[int, float]:
            looked.append(self.number)
            return {1: 1.0, 4: 2.0} if self.number % 4 == 0 else {1: 1.0}

    class Study:
        direction = optuna.study.StudyDirection.MINIMIZE
        _storage = None

        def __init__(self, size: int) -> None:
            self.trials = [Trial(number) for number in range(size)]

        def get_trials(self, deepcopy: bool) -> list[Trial]:
            return self.trials

    for size in (1000, 5000):
        looked.clear()
        trial = create_trial(state=TrialState.RUNNING, intermediate_values={1: 1.0, 4: 1.0})
        trial.number = size
        assert not HalvingPruner().prune(Study(size), trial)  # type: ignore[arg-type]
        assert len(set(looked)) <= 4 * 32, "as many as it takes to find 31 that came to the rung"
