from __future__ import annotations

import pytest
from reading import SCORE, study, trial, with_distributions

from hpo.analysis.importance import importance
from hpo.analysis.records import StudyRecord

SPACE = {"matters": {"low": 0.0, "high": 1.0}, "idle": {"low": 0.0, "high": 1.0}}


def planted(n: int, flat: bool = False) -> StudyRecord:
    """The score is `matters` alone; `idle` runs through the unit interval in another order."""
    trials = [trial(k, {"matters": k / n, "idle": (k * 7 % n) / n}, 0.5 if flat else k / n) for k in range(n)]
    return with_distributions(study(trials, space=SPACE, group_by=None))


def test_the_parameter_that_matters_comes_first_and_shares_sum_to_one() -> None:
    data = importance(planted(40), SCORE)
    assert [name for name, _ in data.shares] == ["matters", "idle"]
    assert sum(share for _, share in data.shares) == pytest.approx(1)
    assert data.shares[0][1] > 0.6
    assert (data.n, data.top, data.rough) == (40, 4, True)


def test_too_few_trials_are_not_interpreted() -> None:
    data = importance(planted(3), SCORE)
    assert data.shares == ()
    assert data.why_not == "not shown (n = 3, at least 10 complete trials needed)"


def test_equal_scores_are_not_interpreted() -> None:
    assert "same score" in importance(planted(12, flat=True), SCORE).why_not


def test_pruned_trials_are_left_out() -> None:
    record = planted(12)
    pruned = [trial(99, {"matters": 0.5, "idle": 0.5}, state="PRUNED", curve=[9.0], cause="pruner")]
    both = with_distributions(study([*record.trials, *pruned], space=SPACE, group_by=None))
    assert importance(both, SCORE) == importance(record, SCORE)


def test_a_space_without_a_free_parameter_has_no_importance() -> None:
    fixed = study([trial(k, {"lr": 0.1}, 0.01 * k) for k in range(12)], space={"lr": 0.1}, group_by=None)
    assert importance(fixed, SCORE).why_not == "not shown (at least 2 parameters that vary are needed)"
