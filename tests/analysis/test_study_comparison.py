from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import LOSS, SCORE, epochs, study, trial
from scipy import stats
from statsmodels.stats.multitest import multipletests

from hpo.analysis.records import StudyRecord, TrialRecord
from hpo.analysis.statistics.two_sample import ALL_EQUAL, MANN_WHITNEY, SURVIVORS, TOO_FEW, WELCH
from hpo.analysis.study_comparison import (
    Side,
    StudyComparison,
    common_metrics,
    compare_sides,
)
from hpo.reports.blocks import Table
from hpo.reports.sections.study_comparison import overview_section
from hpo.spec.load import load_spec

YAML = """
name: {name}
objective: objectives.quickstart:train
metrics: [{{name: score, direction: maximize}}]
group_by: architecture
search_space:
  architecture: {{choices: [unet, resnet]}}
  learning_rate: {{low: 1.0e-4, high: {high}, log: true}}
constants: {{epochs: 5, data: {{image_size: {size}, seed: 0}}}}
sampler: {{name: {sampler}}}
budget: {{trials: 10}}
seed: 42
"""


def at(number: int, architecture: str, value: float | None, **more: Any) -> TrialRecord:
    return trial(number, {"architecture": architecture, "learning_rate": 1e-3, "batch_size": 8}, value, **more)


def finals(*groups: tuple[str, list[float]], **more: Any) -> StudyRecord:
    rows = [(architecture, value) for architecture, values in groups for value in values]
    return study([at(k, architecture, value) for k, (architecture, value) in enumerate(rows)], **more)


def drawn(n: int, mean: float, seed: int, sd: float = 0.1) -> list[float]:
    rng = random.Random(seed)
    return [rng.gauss(mean, sd) for _ in range(n)]


def beside(*studies: StudyRecord) -> StudyComparison:
    return compare_sides([Side(f"study {k}", one) for k, one in enumerate(studies)])


def test_ranges_and_shares_are_of_each_study() -> None:
    before = study([at(0, "unet", 0.2), at(1, "unet", 0.4), at(2, "resnet", None, state="PRUNED", cause="pruner")])
    after = study([at(0, "unet", 0.9)])
    a, b = beside(before, after).metrics[0].finals
    assert a.spread is not None
    assert (a.spread.n, a.spread.low, a.spread.high) == (2, 0.2, 0.4)
    assert a.spread.mean == pytest.approx(0.3)
    assert a.spread.deviation == pytest.approx(math.sqrt(0.02))
    assert a.success == pytest.approx(2 / 3)
    assert b.success == 1.0


def test_the_test_of_each_group_is_welchs_and_corrected() -> None:
    data = {"unet": (drawn(8, 0.5, 1), drawn(11, 0.75, 2, sd=0.15)), "resnet": (drawn(9, 0.5, 3), drawn(7, 0.55, 4))}
    before, after = (finals(*((name, pair[k]) for name, pair in data.items())) for k in (0, 1))
    tests = beside(before, after).metrics[0].tests
    assert [(test.group, test.before, test.after) for test in tests] == [
        ("unet", "study 0", "study 1"),
        ("resnet", "study 0", "study 1"),
    ]
    theirs = [stats.ttest_ind(after, before, equal_var=False) for before, after in data.values()]
    corrected = multipletests([one.pvalue for one in theirs], method="holm")[1]
    for test, one, p, (a, b) in zip(tests, theirs, corrected, data.values(), strict=True):
        assert test.method == WELCH
        assert test.p == pytest.approx(p)
        assert test.difference == pytest.approx(np.mean(b) - np.mean(a))
        # The interval has the level of the corrected p, so that the two agree.
        level = 1 - 0.05 * one.pvalue / p
        assert (test.low, test.high) == pytest.approx(tuple(one.confidence_interval(level)))
        assert test.g is not None
        assert math.copysign(1, test.g) == math.copysign(1, test.difference)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 40), min_size=6, max_size=9), min_size=4, max_size=4))
def test_p_and_both_intervals_never_contradict_each_other(groups: list[list[int]]) -> None:
    """An interval of g by its own formula left out 0 beside one of the difference that held it."""
    a, b, c, d = ([k / 40 for k in values] for values in groups)
    tests = beside(finals(("unet", a), ("resnet", b)), finals(("unet", c), ("resnet", d))).metrics[0].tests
    for test in tests:
        if test.method != WELCH:
            continue
        found = test.p < 0.05
        assert (test.low > 0 or test.high < 0) == found
        if test.g_low is not None and test.g_high is not None:
            assert (test.g_low > 0 or test.g_high < 0) == found
        assert (test.missed is None) == found


def test_the_interval_of_g_is_that_of_the_difference_by_hand() -> None:
    # Means 2 and 4, variances 1: the standard error is sqrt(1/3 + 1/3), t(0.975, 4) = 2.776445.
    (test,) = beside(finals(("unet", [1.0, 2.0, 3.0])), finals(("unet", [3.0, 4.0, 5.0]))).metrics[0].tests
    reach = 2.776445 * math.sqrt(2 / 3)
    assert (test.low, test.high) == pytest.approx((2 - reach, 2 + reach), abs=1e-5)
    assert test.g == pytest.approx(2 * 0.797885, abs=1e-5)
    assert (test.g_low, test.g_high) == pytest.approx((0.797885 * (2 - reach), 0.797885 * (2 + reach)), abs=1e-4)


def test_values_far_outside_are_compared_by_rank() -> None:
    a, b = drawn(8, 0.5, 1), [*drawn(8, 0.6, 2), -1e30]
    (test,) = beside(finals(("unet", a)), finals(("unet", b))).metrics[0].tests
    assert test.method == MANN_WHITNEY
    assert test.p == pytest.approx(stats.mannwhitneyu(b, a).pvalue)
    pairs = [(x > y) + 0.5 * (x == y) for x in b for y in a]
    assert test.a == pytest.approx(sum(pairs) / len(pairs))
    assert test.g is None


def test_a_small_side_that_is_better_is_no_outlier() -> None:
    (test,) = beside(finals(("unet", drawn(60, 0.5, 1))), finals(("unet", drawn(6, 2.0, 2)))).metrics[0].tests
    assert test.method == WELCH
    assert test.p < 1e-3


def test_three_values_a_side_are_tested_and_fewer_are_not() -> None:
    few = finals(("unet", [0.1, 0.2]))
    (test,) = beside(few, finals(("unet", drawn(20, 0.6, 2)))).metrics[0].tests
    assert (test.n_before, test.n_after, test.why_not, test.method) == (2, 20, TOO_FEW, "")
    (test,) = beside(finals(("unet", [0.1, 0.11, 0.12])), finals(("unet", [0.9, 0.91, 0.92]))).metrics[0].tests
    assert test.p < 0.001
    assert test.missed is None
    (test,) = beside(finals(("unet", [0.3] * 4)), finals(("unet", [0.3] * 4))).metrics[0].tests
    assert test.why_not == ALL_EQUAL


def mixed(complete: int, pruned: int, value: float, epochs_each: int = 5) -> StudyRecord:
    """Pruned trials end after their first epoch; complete ones are the later, the better."""
    early = [at(k, "unet", None, state="PRUNED", cause="pruner", history=epochs(1, score=[0.1])) for k in range(pruned)]
    history = epochs(1, score=[0.1] * epochs_each)
    late = [at(pruned + k, "unet", value + 0.01 * k, history=history) for k in range(complete)]
    return study([*early, *late])


def test_survivors_are_not_tested_against_everybody() -> None:
    """25 % of one study and 98 % of the other were complete: p was that of survivors against all."""
    data = beside(mixed(49, 1, 0.5), mixed(10, 30, 0.8)).metrics[0]
    (test,) = data.tests
    assert (test.method, test.why_not) == ("", SURVIVORS)
    assert [side.pruned for side in data.groups[0].sides] == [1, 30]
    alike = beside(mixed(10, 28, 0.5), mixed(10, 30, 0.8)).metrics[0]
    assert alike.tests[0].method == WELCH


def test_the_best_is_compared_within_equal_budgets() -> None:
    before, after = mixed(49, 1, 0.5), mixed(10, 30, 0.8)
    (budget,) = beside(before, after).metrics[0].budgets
    # 40 trials each: of the first study one pruned and 39 complete. 80 epochs each: one, then 15 trials of 5.
    assert (budget.trials, budget.epochs) == (40, 80)
    assert budget.after_trials == (pytest.approx(0.5 + 0.38), pytest.approx(0.89))
    assert budget.after_epochs == (pytest.approx(0.5 + 0.14), pytest.approx(0.89))


def test_budgets_of_several_groups_begin_with_all_trials() -> None:
    a = study([at(0, "unet", 0.5), at(1, "resnet", 0.7), at(2, "unet", 0.9)])
    b = study([at(0, "unet", 0.6), at(1, "resnet", None, state="FAIL", cause="exception")])
    budgets = beside(a, b).metrics[0].budgets
    assert [(one.group, one.trials, one.after_trials) for one in budgets] == [
        ("all trials", 2, (0.7, 0.6)),
        ("unet", 1, (0.5, 0.6)),
        ("resnet", 1, (0.7, None)),
    ]
    assert all((one.epochs, one.after_epochs) == (0, ()) for one in budgets)


def test_a_group_that_one_side_lacks_is_shown_and_not_tested() -> None:
    data = beside(finals(("unet", drawn(7, 0.5, 1))), finals(("resnet", drawn(7, 0.5, 2)))).metrics[0]
    assert [group.group for group in data.groups] == ["unet", "resnet"]
    assert data.groups[0].sides[1].best is None
    assert data.tests == ()


def test_studies_grouped_by_other_parameters_are_compared_as_a_whole() -> None:
    data = beside(finals(("unet", drawn(7, 0.5, 1))), finals(("unet", drawn(7, 0.5, 2)), group_by=None))
    assert data.group_by is None
    assert len(data.metrics[0].groups) == 1
    assert len(data.metrics[0].tests) == 1


def test_only_common_metrics_are_compared() -> None:
    a = study([trial(0, {}, values={"score": 1.0, "loss": 2.0})], metrics=(SCORE, LOSS), group_by=None)
    b = study([trial(0, {}, values={"score": 1.0})], group_by=None)
    assert common_metrics([Side("a", a), Side("b", b)]) == (SCORE,)
    assert beside(a, b).other_metrics == (("loss",), ())
    turned = study([], metrics=(SCORE.model_copy(update={"direction": "minimize"}),))
    assert common_metrics([Side("a", a), Side("b", turned)]) == ()


def test_stability_and_curves_are_of_the_best_trials() -> None:
    def one(values: list[float]) -> StudyRecord:
        return study([at(0, "unet", 0.5, history=epochs(1, val_loss=values, score=[0.1, 0.5, 0.4]))])

    data = beside(one([0.5, 0.5, 0.5]), one([0.2, 0.4, 0.6]))
    stable = [own.stability.deviation for own in data.metrics[0].groups[0].sides]
    assert stable == [0.0, pytest.approx(0.2)]
    assert [own.epochs for own in data.metrics[0].groups[0].sides] == [(2, 3), (2, 3)]
    assert data.trainings is not None
    assert [(own.group, own.best) for own in data.trainings.groups] == [("study 0", 2), ("study 1", 2)]
    (panel, _) = data.trainings.panels
    assert (panel.shown.low, panel.shown.high) == (0.2, 0.6)


def spec_of(tmp_path: Path, name: str, **more: Any) -> StudyRecord:
    path = tmp_path / f"{name}.yaml"
    path.write_text(YAML.format(name=name, **({"high": "1.0e-2", "size": 64, "sampler": "tpe"} | more)))
    spec = load_spec(path, locate=False)
    return replace(finals(("unet", [0.1])), name=name, spec=spec, directory=tmp_path / name)


def test_only_what_differs_is_listed_by_its_nested_key(tmp_path: Path) -> None:
    before = spec_of(tmp_path, "before")
    after = spec_of(tmp_path, "after", high="2.0e-2", size=128, sampler="random")
    found = {one.key: one.values for one in beside(before, after).differences}
    assert set(found) == {"search_space.learning_rate", "data.image_size", "sampler"}
    assert found["data.image_size"] == ("64", "128")
    assert found["search_space.learning_rate"] == ("1e-4 to 0.01, log", "1e-4 to 0.02, log")
    assert found["sampler"] == ("tpe", "random")


def test_trials_differ_by_their_parameters() -> None:
    record = study([at(0, "unet", 0.1), at(1, "resnet", 0.2)])
    data = compare_sides([Side("s/0", record, record.trials[0]), Side("s/1", record, record.trials[1])])
    assert [(one.key, one.values) for one in data.differences] == [("architecture", ("unet", "resnet"))]
    assert data.metrics[0].tests == ()
    assert not data.whole


def prints(record: StudyRecord, number: int, **sha: str) -> None:
    folder = record.directory / "trials" / str(number)
    folder.mkdir(parents=True)
    content = {split: {"samples": 10 * (k + 1), "sha256": one} for k, (split, one) in enumerate(sha.items())}
    (folder / "data.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ({"train": "a", "val": "b"}, {"train": "a", "val": "b"}, (True, True)),
        ({"train": "a", "val": "b"}, {"train": "a", "val": "c"}, (True, False)),
        ({"train": "a", "val": "b"}, {"val": "b"}, (None, True)),
        ({"train": "a", "val": "b"}, None, (None, None)),
    ],
)
def test_data_are_the_same_different_or_unknown(
    tmp_path: Path, first: dict[str, str], second: dict[str, str] | None, same: tuple[bool | None, bool | None]
) -> None:
    sides = [finals(("unet", [0.1]), directory=tmp_path / name) for name in ("before", "after")]
    prints(sides[0], 0, **first)
    if second is not None:
        prints(sides[1], 0, **second)
    train, val = beside(*sides).data
    assert (train.same, val.same) == same
    assert (train.samples[0], val.samples[0]) == (10, 20)


@pytest.mark.parametrize("text", ["", "[]", '{"train": 5}', '{"train": {"samples": "many"}}', "\x00"])
def test_a_torn_record_of_the_data_is_none(tmp_path: Path, text: str) -> None:
    record = finals(("unet", [0.1]), directory=tmp_path)
    (tmp_path / "trials/0").mkdir(parents=True)
    (tmp_path / "trials/0/data.json").write_text(text)
    train, _ = beside(record, record).data
    assert train.same is None
    assert train.samples == (None, None)


def test_samples_are_those_that_an_epoch_reported_where_nothing_else_is_known() -> None:
    record = study([at(0, "unet", 0.5, history=epochs(1, train_samples=[80.0, 80.0], val_samples=[20.0, 20.0]))])
    train, val = beside(record, record).data
    assert (train.samples, val.samples) == ((80, 80), (20, 20))


def test_samples_have_the_unit_that_was_recorded(tmp_path: Path) -> None:
    record = finals(("unet", [0.1]), directory=tmp_path)
    (tmp_path / "trials/0").mkdir(parents=True)
    content = {"train": {"samples": 32, "unit": "patches"}, "val": {"samples": 6}}
    (tmp_path / "trials/0/data.json").write_text(json.dumps(content))
    assert [one.unit for one in beside(record, record).data] == ["patches", ""]
    (table,) = [
        block
        for block in overview_section(beside(record, record)).blocks
        if isinstance(block, Table) and not block.columns[0]
    ]
    assert table.columns == ("", "train: patches", "val_samples")


value = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=40, deadline=None)
@given(st.lists(value, min_size=6, max_size=9), st.lists(value, min_size=6, max_size=9))
def test_any_values_are_compared(before: list[float], after: list[float]) -> None:
    (test,) = beside(finals(("unet", before)), finals(("unet", after))).metrics[0].tests
    assert test.why_not or 0 <= test.p <= 1
