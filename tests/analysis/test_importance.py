from __future__ import annotations

from dataclasses import replace

import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from reading import SCORE, study, trial, with_distributions

from hpo.analysis.importance import importance
from hpo.analysis.records import StudyRecord

SPACE = {"matters": {"low": 0.0, "high": 1.0}, "idle": {"low": 0.0, "high": 1.0}}


def planted(n: int, flat: bool = False) -> StudyRecord:
    """The score is `matters` alone; `idle` runs through the unit interval in another order."""
    trials = [trial(k, {"matters": k / n, "idle": (k * 7 % n) / n}, 0.5 if flat else k / n) for k in range(n)]
    return with_distributions(study(trials, space=SPACE, group_by=None))


def test_the_parameter_that_matters_comes_first_and_shares_sum_to_one() -> None:
    data = importance(planted(60), SCORE)
    assert [name for name, _ in data.shares] == ["matters", "idle"]
    assert sum(share for _, share in data.shares) == pytest.approx(1)
    assert data.shares[0][1] > 0.6
    assert (data.n, data.top) == (60, 6)


def test_too_few_trials_are_not_interpreted() -> None:
    """Of the best 2 of 12 trials it said "learning rate 0.0 %" where eta squared was 0.50."""
    for n in (3, 12, 49):
        data = importance(planted(n), SCORE)
        assert data.shares == ()
        assert data.why_not.startswith(f"not shown (n = {n}; below 50 complete trials")


def test_a_parameter_that_few_trials_have_has_no_share() -> None:
    """Alpha had 40 % where one of the best four had an alpha at all."""
    space = {"loss": {"choices": {"bce": {}, "focal": {"alpha": {"low": 0.0, "high": 1.0}}}}, **SPACE}
    record = study(planted(60).trials, space=space, group_by=None)
    names = {parameter.name: parameter for parameter in record.space.walk()}
    trials = []
    for k, one in enumerate(record.trials):
        params = dict(one.params) | ({"loss": "focal", "alpha": k / 60} if k % 3 == 0 else {"loss": "bce"})
        distributions: dict[str, BaseDistribution] = {
            name: FloatDistribution(0.0, 1.0) for name in params if name in names and name != "loss"
        }
        distributions["loss"] = CategoricalDistribution(("bce", "focal"))
        trials.append(replace(one, params=params, optuna_params=params, distributions=distributions))
    data = importance(replace(record, trials=tuple(trials)), SCORE)
    assert data.rare == ("alpha",)
    assert "alpha" not in dict(data.shares)
    assert {"matters", "idle", "loss"} == set(dict(data.shares))


def test_equal_scores_are_not_interpreted() -> None:
    assert "same score" in importance(planted(60, flat=True), SCORE).why_not


def test_pruned_trials_are_left_out() -> None:
    record = planted(60)
    pruned = [trial(99, {"matters": 0.5, "idle": 0.5}, state="PRUNED", curve=[9.0], cause="pruner")]
    both = with_distributions(study([*record.trials, *pruned], space=SPACE, group_by=None))
    assert importance(both, SCORE) == importance(record, SCORE)


def test_a_space_without_a_free_parameter_has_no_importance() -> None:
    fixed = study([trial(k, {"lr": 0.1}, 0.01 * k) for k in range(60)], space={"lr": 0.1}, group_by=None)
    assert importance(fixed, SCORE).why_not == "not shown (at least 2 parameters that vary are needed)"
