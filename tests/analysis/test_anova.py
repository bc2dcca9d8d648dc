from __future__ import annotations

import itertools
import random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import LOSS, SCORE, SPACE, study, trial
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from hpo.analysis.axes import axis_of, searched
from hpo.analysis.records import StudyRecord, TrialRecord
from hpo.analysis.statistics.anova import Anova, Cells, anova
from hpo.analysis.statistics.group_test import KRUSKAL_WALLIS, OUTLIER, SOUND, TWO_MODES, UNEQUAL, WELCH, F
from hpo.analysis.statistics.pairwise import pairwise

GRID = {
    "architecture": {"choices": ["unet", "resnet", "dense"]},
    "learning_rate": {"choices": [1e-4, 1e-3, 5e-3]},
    "batch_size": {"choices": [8, 16]},
}


def grid(repeats: int = 1, noise: float = 0.05, seed: int = 1) -> list[TrialRecord]:
    rng = random.Random(seed)
    cells = itertools.product(*(GRID[name]["choices"] for name in GRID))
    every = [dict(zip(GRID, cell, strict=True)) for cell in cells for _ in range(repeats)]
    finals = [0.1 * (p["architecture"] == "unet") + 20 * p["learning_rate"] + rng.gauss(0, noise) for p in every]
    return [trial(number, params, value) for number, (params, value) in enumerate(zip(every, finals, strict=True))]


def drawn(n: int, seed: int = 2) -> list[TrialRecord]:
    rng = random.Random(seed)
    trials = []
    for number in range(n):
        params = {
            "architecture": rng.choice(["unet", "resnet"]),
            "learning_rate": 10 ** rng.uniform(-4, -2),
            "batch_size": rng.choice([8, 16, 16]),
        }
        trials.append(trial(number, params, 0.2 * (params["architecture"] == "unet") + rng.gauss(0, 0.1)))
    return trials


def table_of(record: StudyRecord) -> pd.DataFrame:
    """What a person would give to statsmodels."""
    axes = {name: axis_of(name, parameters) for name, parameters in searched(record.space).items()}
    return pd.DataFrame(
        {"y": t.values["score"]} | {name: f"level {axis.cell_of(t.params[name])}" for name, axis in axes.items()}
        for t in record.trials
    )


@pytest.mark.parametrize(
    "record",
    [study(grid(2), space=GRID), study(grid(2)[:-7], space=GRID), study(drawn(60))],
    ids=["balanced", "unbalanced", "binned"],
)
def test_every_effect_is_statsmodels(record: StudyRecord) -> None:
    found = anova(record, SCORE)
    inside = [":".join(one.names) for one in found.tested]
    assert inside[:3] == ["architecture", "learning_rate", "batch_size"]
    fit = ols(f"y ~ {' + '.join(inside)}", table_of(record)).fit()
    theirs = anova_lm(fit, typ=2)
    for one, name in zip(found.tested, inside, strict=True):
        row = theirs.loc[name]
        assert (one.df, one.f, one.p) == pytest.approx((row["df"], row["F"], row["PR(>F)"]), rel=1e-6)
        assert one.sum_of_squares == pytest.approx(row["sum_sq"])
        assert one.eta == pytest.approx(row["sum_sq"] / (row["sum_sq"] + fit.ssr))
    assert (found.residual_df, found.residual) == pytest.approx((fit.df_resid, fit.ssr))


def test_two_factors_by_hand() -> None:
    """4 cells of 3: the cells' means are 2, 4, 6, 8 and every cell is its mean and 1 to either side."""
    space = {"architecture": {"choices": ["unet", "resnet"]}, "batch_size": {"choices": [8, 16]}}
    means = {("unet", 8): 2.0, ("unet", 16): 4.0, ("resnet", 8): 6.0, ("resnet", 16): 8.0}
    values = [(*cell, mean + d) for cell, mean in means.items() for d in (-1, 0, 1)]
    trials = [trial(k, {"architecture": a, "batch_size": b}, v) for k, (a, b, v) in enumerate(values)]
    found = anova(study(trials, space=space), SCORE)
    # The grand mean is 5. architecture: 12 x 2^2 = 48; batch size: 12 x 1^2 = 12; interaction 0; residual 4 x 2 = 8 of
    # 12 - 4 = 8 degrees of freedom, a mean square of 1.
    assert [(one.names, one.df) for one in found.tested] == [
        (("architecture",), 1),
        (("batch_size",), 1),
        (("architecture", "batch_size"), 1),
    ]
    assert [one.sum_of_squares for one in found.tested] == pytest.approx([48, 12, 0], abs=1e-9)
    assert [one.f for one in found.tested] == pytest.approx([48, 12, 0], abs=1e-9)
    assert [one.eta for one in found.tested] == pytest.approx([48 / 56, 12 / 20, 0], abs=1e-9)
    assert (found.residual_df, found.residual) == (8, pytest.approx(8))
    assert found.cells == Cells(4, 3, 3)
    assert found.cells.balanced
    assert found.outliers == ()
    assert found.levene is not None
    assert found.levene.w == pytest.approx(0)


def said(found: Anova) -> dict[tuple[str, ...], str]:
    return {one.names: one.why_not for one in found.untested}


def test_too_few_trials_say_how_many_are_needed() -> None:
    space = {"architecture": SPACE["architecture"]}
    trials = [trial(k, {"architecture": "unet" if k % 2 else "resnet"}, k**2) for k in range(6)]
    assert said(anova(study(trials[:5], space=space), SCORE))["architecture",] == (
        "fewer than two of its values have 3 complete trials"
    )
    assert anova(study(trials, space=space), SCORE).tested
    space["batch_size"] = SPACE["batch_size"]
    both = [trial(t.number, t.params | {"batch_size": 8 if k < 3 else 16}, k**2) for k, t in enumerate(trials)]
    found = anova(study(both, space=space), SCORE)
    assert [one.names for one in found.tested] == [("architecture",)]
    assert said(found)["batch_size",] == "n = 6, at least 7 needed"


def test_an_effect_that_12_trials_show_is_shown() -> None:
    """A power computation asked for 14 trials, and hid an effect of F = 14.2, p = 0.003, eta squared 0.80.

    3 groups of 4: their means are 0.9, 0.9 and 0.5; every value is its mean and 0.1 to either side.
    """
    space = {name: GRID[name] for name in ("architecture", "batch_size")}
    means = {"unet": 0.9, "resnet": 0.9, "dense": 0.5}
    cells = itertools.product(means, [(8, 0.1), (8, -0.1), (16, 0.1), (16, -0.1)])
    trials = [trial(k, {"architecture": a, "batch_size": size}, means[a] + d) for k, (a, (size, d)) in enumerate(cells)]
    found = anova(study(trials, space=space), SCORE)
    architecture, batch_size = found.tested[:2]
    # Sums of squares: 4 x (2 x 0.1333^2 + 0.2667^2) = 0.42667 of 2 degrees; the residual 12 x 0.01 of 12 - 6 = 6.
    assert architecture.sum_of_squares == pytest.approx(0.42667, abs=1e-5)
    assert architecture.f == pytest.approx(0.21333 / 0.02, abs=1e-3)
    assert architecture.found
    assert not batch_size.found
    assert not found.held
    (row,) = [row for row in pairwise(study(trials, space=space), SCORE).pairs if (row.a, row.b) == ("unet", "dense")]
    assert row.p < 0.05


def test_a_group_that_cannot_be_tested_is_in_the_model() -> None:
    """One group of 12 and one of 2: no test of the groups, and the batch size is tested within them."""
    space = {name: GRID[name] for name in ("architecture", "batch_size")}
    rng = random.Random(8)
    trials = [
        trial(k, {"architecture": a, "batch_size": 8 * (1 + k % 2)}, 10.0 * (a == "unet") + 0.1 * k + rng.random())
        for k, a in enumerate(["unet"] * 12 + ["resnet"] * 2)
    ]
    found = anova(study(trials, space=space), SCORE)
    assert found.held
    assert found.group_test is None
    assert said(found)["architecture",] == "fewer than two of its values have 3 complete trials"
    (tested,) = found.tested
    theirs = anova_lm(ols("y ~ architecture + batch_size", table_of(study(trials, space=space))).fit(), typ=2)
    assert (tested.names, tested.f) == (("batch_size",), pytest.approx(theirs.loc["batch_size", "F"]))


def test_a_factor_that_leaves_no_residual_stays_out() -> None:
    space = {"architecture": SPACE["architecture"], "fold": {"choices": [1, 2, 3, 4]}}
    rng = random.Random(2)
    every = [dict(zip(space, cell, strict=True)) for cell in itertools.product(["unet", "resnet"], [1, 2, 3, 4])]
    every += [every[0], every[1], every[4], every[5]]
    trials = [trial(k, params, rng.random()) for k, params in enumerate(every)]
    assert [one.names for one in anova(study(trials, space=space), SCORE).tested] == [("architecture",), ("fold",)]
    fewer = anova(study(trials[:8], space=space), SCORE)
    assert said(fewer)["fold",] == "fewer than two of its values have 3 complete trials"


def test_a_grid_of_one_trial_a_cell_has_no_interaction_of_all_its_factors() -> None:
    space = {
        "architecture": {"choices": ["unet", "resnet", "dense", "vgg", "mlp"]},
        "learning_rate": {"choices": [1e-5, 5e-5, 1e-4, 5e-4, 1e-3]},
    }
    cells = itertools.product(space["architecture"]["choices"], space["learning_rate"]["choices"])
    rng = random.Random(4)
    trials = [trial(k, {"architecture": a, "learning_rate": r}, rng.random()) for k, (a, r) in enumerate(cells)]
    found = anova(study(trials, space=space), SCORE)
    assert found.cells == Cells(25, 1, 1)
    assert said(found) == {("architecture", "learning_rate"): "n = 1 a cell, at least 2 needed"}


def test_empty_and_single_cells_of_an_interaction_are_said() -> None:
    trials = grid(2)
    without = [t for t in trials if (t.params["architecture"], t.params["learning_rate"]) != ("dense", 1e-4)]
    found = anova(study(without, space=GRID), SCORE)
    assert said(found)["architecture", "learning_rate"] == "1 of 9 cells have no complete trial"
    one = next(t for t in trials if (t.params["architecture"], t.params["learning_rate"]) == ("dense", 1e-4))
    found = anova(study([*without, one], space=GRID), SCORE)
    assert said(found)["architecture", "learning_rate"] == "n = 1 in the smallest cell, at least 2 needed"


def test_factors_that_cannot_be_told_apart_are_said() -> None:
    rng = random.Random(1)
    trials = [
        trial(k, {"architecture": a, "learning_rate": 1e-3, "batch_size": 8 if a == "unet" else 16}, rng.random())
        for k, a in enumerate(["unet", "resnet"] * 10)
    ]
    found = anova(study(trials), SCORE)
    assert [one.names for one in found.tested] == [("architecture",)]
    assert said(found) == {
        ("learning_rate",): "all complete trials have the same value of it",
        ("batch_size",): "it cannot be told apart from architecture in these trials",
    }


def test_other_parameters_are_named_for_what_they_are() -> None:
    space = {
        **SPACE,
        "dropout": {"low": 0.0, "high": 0.5},
        "augment": {"choices": [True, False]},
        "loss": {"choices": {"bce": {}, "focal": {"kind": {"choices": ["a", "b"]}}}},
    }
    trials = [
        trial(t.number, t.params | {"dropout": 0.1, "augment": k % 3 == 0, "loss": "focal", "kind": "a"}, k % 7)
        for k, t in enumerate(drawn(40))
    ]
    found = anova(study(trials, space=space), SCORE)
    assert found.continuous == ("dropout",)
    assert found.conditional == ("kind",)
    assert ("augment",) in [one.names for one in found.tested]


def test_a_factor_of_hundreds_of_levels_is_left_out() -> None:
    space = {"architecture": SPACE["architecture"], "fold": {"choices": list(range(250))}}
    rng = random.Random(3)
    trials = [
        trial(k, {"architecture": rng.choice(["unet", "resnet"]), "fold": k % 250}, rng.random()) for k in range(1000)
    ]
    found = anova(study(trials, space=space), SCORE)
    assert said(found) == {("fold",): "the model would have 251 coefficients, at most 200"}


def test_only_complete_trials_count() -> None:
    trials = drawn(30)
    others = [
        trial(30, trials[0].params, state="PRUNED", curve=[9.0], cause="pruner"),
        trial(31, trials[1].params, state="FAIL", cause="exception"),
    ]
    with_others, alone = anova(study([*trials, *others]), SCORE), anova(study(trials), SCORE)
    assert (with_others.n, with_others.pruned, with_others.failed) == (30, 1, 1)
    assert with_others.tested == alone.tested


def test_a_diverged_trial_is_named_and_ranks_hold() -> None:
    trials = drawn(40)
    trials[7] = trial(7, trials[7].params, -1e300)
    found = anova(study(trials), SCORE)
    assert 7 in found.outliers
    held = found.group_test
    assert held is not None
    assert (held.holds, held.reason) == (KRUSKAL_WALLIS, OUTLIER)
    groups = [[t.values["score"] for t in trials if t.params["architecture"] == a] for a in ("unet", "resnet")]
    theirs = stats.kruskal(*groups)
    assert (held.kruskal.h, held.p, held.kruskal.df) == pytest.approx((theirs.statistic, theirs.pvalue, 1))


def test_with_unequal_variances_welchs_test_holds() -> None:
    rng = random.Random(1)
    trials = [
        trial(t.number, t.params, rng.gauss(0, 1.0 if t.params["architecture"] == "unet" else 0.01)) for t in drawn(60)
    ]
    held = anova(study(trials), SCORE).group_test
    assert held is not None
    assert (held.holds, held.reason) == (WELCH, UNEQUAL)
    groups = [[t.values["score"] for t in trials if t.params["architecture"] == a] for a in ("unet", "resnet")]
    assert held.p == pytest.approx(stats.ttest_ind(*groups, equal_var=False).pvalue)


def test_with_two_modes_ranks_hold_and_the_modes_are_named() -> None:
    """The mean of 0.05 and 0.95 is where no training ends; the one lucky group of four is no better architecture."""
    finals = {"unet": [0.94, 0.95, 0.96, 0.93], "resnet": [0.05, 0.95, 0.04, 0.06], "dense": [0.05, 0.06, 0.94, 0.95]}
    trials = [
        trial(k, {"architecture": a}, value)
        for k, (a, value) in enumerate((a, value) for a, values in finals.items() for value in values)
    ]
    held = anova(study(trials, space={"architecture": GRID["architecture"]}), SCORE).group_test
    assert held is not None
    assert (held.holds, held.reason) == (KRUSKAL_WALLIS, TWO_MODES)
    assert held.p == pytest.approx(stats.kruskal(*finals.values()).pvalue)
    assert held.modes is not None
    assert (held.modes.low, held.modes.high) == (pytest.approx(0.05, abs=0.02), pytest.approx(0.95, abs=0.02))


def test_two_modes_that_the_learning_rate_explains_are_none() -> None:
    space = {name: GRID[name] for name in ("architecture", "learning_rate")}
    rng = random.Random(5)
    cells = itertools.product(space["architecture"]["choices"], space["learning_rate"]["choices"], range(3))
    trials = [
        trial(k, {"architecture": a, "learning_rate": rate}, 0.05 + 0.9 * (rate < 5e-3) + rng.gauss(0, 0.01))
        for k, (a, rate, _) in enumerate(cells)
    ]
    held = anova(study(trials, space=space), SCORE).group_test
    assert held is not None
    assert held.modes is None
    chance = [trial(t.number, t.params, 0.05 + 0.9 * (rng.random() < 0.5) + rng.gauss(0, 0.01)) for t in trials]
    held = anova(study(chance, space=space), SCORE).group_test
    assert held is not None
    assert held.reason == TWO_MODES


def test_with_nothing_against_it_the_f_test_holds() -> None:
    found = anova(study(drawn(60, seed=4)), SCORE)
    assert found.group_test is not None
    assert (found.group_test.holds, found.group_test.reason) == (F, SOUND)
    assert found.group_test.p == found.tested[0].p


@pytest.mark.parametrize(("sampler", "adaptive"), [("tpe", "tpe"), ("grid", ""), ("random", "")])
def test_an_adaptive_sampler_is_named(sampler: str, adaptive: str) -> None:
    spec: Any = SimpleNamespace(samplers=(SimpleNamespace(name=sampler),))
    record = study(drawn(20))
    assert anova(StudyRecord(**{**vars(record), "spec": spec}), SCORE).sampler == adaptive


def test_equal_and_exactly_explained_values_have_no_test() -> None:
    same = [trial(t.number, t.params, 0.1) for t in drawn(30)]
    assert anova(study(same), SCORE).why_not == "all 30 complete trials have the same score"
    exact = [trial(t.number, t.params, float(t.params["architecture"] == "unet")) for t in drawn(30)]
    assert anova(study(exact), SCORE).why_not.startswith("the factors explain every value exactly")


def test_without_groups_the_first_factor_is_checked_and_nothing_interacts() -> None:
    found = anova(study(drawn(30), space=SPACE, group_by=None), SCORE)
    assert [one.names for one in found.tested] == [("learning_rate",), ("batch_size",), ("architecture",)]
    assert found.group_test is None


def test_minimizing_changes_nothing_but_the_bad_side() -> None:
    trials = drawn(30)
    mirrored = [trial(t.number, t.params, -t.values["score"], metric="loss") for t in trials]
    theirs = anova(study(mirrored, metrics=(LOSS,)), LOSS).tested
    assert [one.f for one in anova(study(trials), SCORE).tested] == pytest.approx([one.f for one in theirs])


@settings(max_examples=25, deadline=None)
@given(
    st.floats(1e-200, 1e200) | st.floats(-1e200, -1e-200),
    st.floats(-100, 100),
)
def test_f_knows_neither_unit_nor_origin(factor: float, shift: float) -> None:
    trials = drawn(30)
    moved = [trial(t.number, t.params, factor * (t.values["score"] + shift)) for t in trials]
    ours, theirs = anova(study(trials), SCORE).tested, anova(study(moved), SCORE).tested
    assert [one.f for one in ours] == pytest.approx([one.f for one in theirs], rel=1e-6)
    assert [one.eta for one in ours] == pytest.approx([one.eta for one in theirs], rel=1e-6)


final = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["unet", "resnet"]), st.floats(1e-4, 1e-2), st.sampled_from([8, 16]), final),
        max_size=40,
    )
)
def test_any_trials_give_effects_or_reasons(rows: list[tuple[str, float, int, float]]) -> None:
    trials = [
        trial(k, {"architecture": a, "learning_rate": rate, "batch_size": b}, value)
        for k, (a, rate, b, value) in enumerate(rows)
    ]
    found = anova(study(trials), SCORE)
    assert found.tested or found.untested or found.why_not
    for one in found.tested:
        assert 0 <= one.p <= 1
        assert 0 <= one.eta <= 1
        assert one.f >= 0 or np.isclose(one.f, 0, atol=1e-6)


def test_a_space_of_continuous_parameters_has_no_factor() -> None:
    space = {"dropout": {"low": 0.0, "high": 0.5}}
    found = anova(study([trial(0, {"dropout": 0.1}, 1.0)], space=space, group_by=None), SCORE)
    assert (found.tested, found.untested, found.why_not) == ((), (), "")
    assert found.continuous == ("dropout",)
