"""Scores of held-out predictions against scikit-learn and SciPy, and numbers by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import kendalltau
from sklearn import metrics
from sklearn.calibration import calibration_curve

from hpo.analysis.assessment import assess
from hpo.analysis.evaluation_records import COUNTS_ALONE, SAME_DATA, VALIDATION
from hpo.analysis.predictions import read_returned
from hpo.analysis.statistics import bootstrap
from hpo.analysis.statistics.binary_scores import Binary
from hpo.analysis.statistics.class_scores import Classes
from hpo.analysis.statistics.ranking_scores import Ranking
from hpo.errors import ObjectiveError


def screened(n: int = 400, seed: int = 0, share: float = 0.2) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    positive = rng.random(n) < share
    return positive, np.round(1 / (1 + np.exp(-rng.normal(1.5 * positive - 1))), 2)  # with ties


def test_scores_of_two_classes_are_scikit_learns() -> None:
    positive, score = screened()
    weights = np.random.default_rng(1).integers(0, 4, len(score)).astype(float)
    for w in (np.ones(len(score)), weights):
        found = Binary(positive, score, np.ones(len(score)), 0.5).measure(w)
        called = score > 0.5
        expected = {
            "auc": metrics.roc_auc_score(positive, score, sample_weight=w),
            "pauc": metrics.roc_auc_score(positive, score, sample_weight=w, max_fpr=0.1),
            "average_precision": metrics.average_precision_score(positive, score, sample_weight=w),
            "recall": metrics.recall_score(positive, called, sample_weight=w),
            "specificity": metrics.recall_score(~positive, ~called, sample_weight=w),
            "precision": metrics.precision_score(positive, called, sample_weight=w),
            "f1": metrics.f1_score(positive, called, sample_weight=w),
            "jaccard": metrics.jaccard_score(positive, called, sample_weight=w),
            "accuracy": metrics.accuracy_score(positive, called, sample_weight=w),
            "brier": metrics.brier_score_loss(positive, score, sample_weight=w),
        }
        assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_rows_that_count_several_items_are_these_items() -> None:
    positive, score = screened(60)
    counts = np.random.default_rng(2).integers(1, 5, 60)
    repeated = Binary(np.repeat(positive, counts), np.repeat(score, counts), np.ones(counts.sum()), 0.5)
    assert Binary(positive, score, counts.astype(float), 0.5).measure() == pytest.approx(repeated.measure())


def test_calibration_is_scikit_learns_and_the_error_by_hand() -> None:
    positive, score = screened()
    bins = [one for one in Binary(positive, score, np.ones(400), 0.5).calibration() if one[0]]
    rates, means = calibration_curve(positive, score, n_bins=10)
    # scikit-learn closes bins on the right, these are closed on the left: compared where no score lies on an edge.
    inside = Binary(positive, np.minimum(score + 1e-6, 1), np.ones(400), 0.5).calibration()
    rates, means = calibration_curve(positive, np.minimum(score + 1e-6, 1), n_bins=10)
    assert [one[1] for one in inside if one[0]] == pytest.approx(list(means))
    assert [one[2] for one in inside if one[0]] == pytest.approx(list(rates))
    assert sum(one[0] for one in bins) == 400
    # Two items at 0.85, of which one is positive, and two at 0.05, none: (2 x 0.35 + 2 x 0.05) / 4.
    four = Binary(np.array([1, 0, 0, 0], bool), np.array([0.85, 0.85, 0.05, 0.05]), np.ones(4), 0.5)
    assert four.expected_calibration_error() == pytest.approx(0.2)


def test_the_threshold_for_a_specificity_by_hand() -> None:
    # Negatives at 0.1, 0.2, 0.3, 0.4; above 0.3 lies one of four.
    positive = np.array([0, 0, 0, 0, 1, 1, 1], bool)
    score = np.array([0.1, 0.2, 0.3, 0.4, 0.25, 0.35, 0.9])
    binary = Binary(positive, score, np.ones(7), 0.5)
    assert binary.threshold_for(0.75) == 0.3
    rates = binary.rates(np.ones(7), 0.3)
    assert (rates["specificity"], rates["recall"]) == (0.75, pytest.approx(2 / 3))
    # All negatives are to be called so; the lowest threshold that does it.
    assert binary.threshold_for(0.99) == 0.4


def test_the_best_sensitivity_at_a_specificity_is_that_of_the_roc_curve() -> None:
    positive, score = screened(300, 3)
    binary = Binary(positive, score, np.ones(300), 0.5)
    fpr, tpr, _ = metrics.roc_curve(positive, score, drop_intermediate=False)
    best = tpr[fpr <= 0.05].max()
    assert binary.measure()["sens_at_95spec"] == pytest.approx(best)
    assert binary.rates(np.ones(300), binary.threshold_for(0.95))["recall"] == pytest.approx(best)


def test_scores_of_several_classes_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    target, predicted = rng.integers(0, 3, 200), rng.integers(0, 3, 200)
    weights = rng.integers(0, 3, 200).astype(float)
    classes = Classes(("a", "b", "c", "absent"), target, predicted, np.ones(200))
    found = classes.measure(weights)
    assert found["macro_f1"] == pytest.approx(
        metrics.f1_score(target, predicted, average="macro", sample_weight=weights)
    )
    balanced = metrics.balanced_accuracy_score(target, predicted, sample_weight=weights)
    assert found["balanced_accuracy"] == pytest.approx(balanced)
    expected = metrics.confusion_matrix(target, predicted, labels=range(4), sample_weight=weights)
    assert classes.confusion(weights).tolist() == expected.tolist()
    assert math.isnan(found["recall_absent"])


def test_scores_of_an_order_are_those_of_scipy_and_of_all_pairs() -> None:
    rng = np.random.default_rng(0)
    rank, score = rng.integers(0, 4, 40).astype(float), np.round(rng.normal(size=40), 1)
    weights = rng.integers(0, 3, 40)
    found = Ranking(rank, score).measure(weights.astype(float))
    r, s = np.repeat(rank, weights), np.repeat(score, weights)
    assert found["kendall_tau"] == pytest.approx(kendalltau(r, s).statistic)
    right = [
        0.5 + 0.5 * np.sign((r[i] - r[j]) * (s[i] - s[j])) for i in range(len(r)) for j in range(i) if r[i] != r[j]
    ]
    assert found["pair_accuracy"] == pytest.approx(np.mean(right))


def test_the_interval_of_a_share_is_that_of_the_binomial() -> None:
    # 40 of 100: standard error 0.049, so about 0.304 to 0.496.
    hits = np.repeat([1.0, 0.0], [40, 60])
    low, high = bootstrap.intervals(lambda w: {"share": float((w * hits).sum() / w.sum())}, np.arange(100))["share"]
    assert (low, high) == (pytest.approx(0.304, abs=0.02), pytest.approx(0.496, abs=0.02))


def test_groups_of_equal_items_widen_the_interval_to_that_of_the_groups() -> None:
    """25 patients with 16 equal images each say as much as 25 images, not as 400."""
    rng = np.random.default_rng(0)
    per_patient = (rng.random(25) < 0.5).astype(float)
    hits, groups = np.repeat(per_patient, 16), np.repeat(np.arange(25), 16)

    def width(values: Any, units: Any) -> float:
        low, high = bootstrap.intervals(lambda w: {"x": float((w * values).sum() / w.sum())}, units)["x"]
        return high - low

    assert width(hits, groups) == pytest.approx(width(per_patient, np.arange(25)))
    assert width(hits, np.arange(400)) < 0.4 * width(hits, groups)


def test_intervals_are_the_same_each_time_and_absent_where_a_score_often_has_no_value() -> None:
    positive, score = np.array([True] + [False] * 30), np.linspace(0, 1, 31)
    binary = Binary(positive, score, np.ones(31), 0.5)
    found = bootstrap.intervals(binary.measure, np.arange(31))
    assert found == bootstrap.intervals(binary.measure, np.arange(31))
    assert "accuracy" in found
    assert "auc" not in found  # a third of the samples have no positive
    assert bootstrap.intervals(binary.measure, np.zeros(31, np.intp)) == {}


def test_a_score_gets_an_interval_only_if_it_is_the_one_that_was_computed() -> None:
    positive, score = screened()
    auc = float(metrics.roc_auc_score(positive, score))
    table = {"target": positive.astype(int), "score": score}
    found = assess(read_returned({"auc": auc, "precision": 0.123, "loss": 0.7, "predictions": table}))
    assert found.scores["auc"].value == auc
    assert found.scores["auc"].low is not None
    assert found.scores["auc"].low < auc < (found.scores["auc"].high or 0)
    assert (found.scores["precision"].value, found.scores["precision"].low) == (0.123, None)
    assert found.scores["loss"].low is None
    assert found.confusion is not None
    assert sum(map(sum, found.confusion.counts)) == 400
    assert (found.n, found.groups, found.notes) == (400, None, ())


def test_a_threshold_is_chosen_on_validation_and_judged_on_the_held_out_data() -> None:
    held_out, validation = (
        read_returned({"predictions": {"target": positive, "score": score}})
        for positive, score in (screened(300, 1), screened(300, 2))
    )
    chosen = assess(held_out, 0.9, validation).threshold
    assert chosen is not None
    binary = Binary(*screened(300, 1), np.ones(300), 0.5)
    assert chosen.chosen_on == VALIDATION
    assert chosen.threshold == Binary(*screened(300, 2), np.ones(300), 0.5).threshold_for(0.9)
    assert chosen.specificity.value == binary.rates(np.ones(300), chosen.threshold)["specificity"]
    alone = assess(held_out, 0.9).threshold
    assert alone is not None
    assert (alone.chosen_on, alone.threshold) == (SAME_DATA, binary.threshold_for(0.9))
    assert alone.why == "the objective has no function validate(trial)"


def test_means_of_other_columns_leave_out_what_is_not_there() -> None:
    table = {"latency_mae": [0.1, 0.3, math.nan], "group": ["a", "b", "c"]}
    found = assess(read_returned({"latency_mae": 0.2, "predictions": table}))
    assert found.scores["latency_mae"].low == pytest.approx(0.1)
    assert (found.groups, found.grouped_by, found.items) == (3, "groups", "items")


def test_counts_without_groups_have_no_intervals() -> None:
    table = {"target": [0, 1, 1], "score": [0.2, 0.4, 0.8], "count": [10, 5, 5]}
    found = assess(read_returned({"predictions": table}))
    assert found.notes == (COUNTS_ALONE,)
    assert found.scores["auc"].low is None
    assert found.n == 20


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (0.9, "evaluate returned 0.9; expected a mapping"),
        ({"predictions": [1, 2]}, "'predictions' is .*; expected a mapping of columns"),
        ({"predictions": {"target": [0, 1], "score": [0.1]}}, r"different lengths \(target 2, score 1\)"),
        ({"predictions": {"score": [0.1]}}, "has a column score, and neither target"),
        (
            {"predictions": {"target": [0, 1, 2], "score": [0.1, 0.2, 0.3]}},
            "the column target .* holds 0, 1, 2; expected",
        ),
        ({"predictions": {"target": [0, 1], "score": [0.1, math.nan]}}, "the column score .* holds NaN"),
        ({"predictions": {"target": [0], "score": [[0.1]]}}, r"of shape \(1, 1\); expected \(rows,\)"),
        ({"predictions": {"target": [0], "score": ["a"]}}, "holds .*; expected numbers"),
        ({"predictions": {"predicted": ["a"]}}, "has a column predicted and no target"),
        ({"about": {"item": "x"}}, r"has a key 'item'; .* Did you mean 'items'\?"),
        ({"about": "x"}, "'about' is .*; expected a mapping"),
    ],
)
def test_what_cannot_be_used_is_a_sentence(returned: object, message: str) -> None:
    with pytest.raises(ObjectiveError, match=message):
        assess(read_returned(returned))


def test_images_that_cannot_be_used_are_a_sentence() -> None:
    examples = [{"name": "a", "score": 0.1, "images": {"image": np.zeros(3)}}]
    with pytest.raises(ObjectiveError, match=r"an entry of 'examples' cannot be used .*an image is of shape \(3,\)"):
        assess(read_returned({"examples": examples}))


def test_a_specificity_without_two_classes_is_a_sentence() -> None:
    with pytest.raises(ObjectiveError, match="needs scores of positives and negatives"):
        assess(read_returned({"loss": 0.1}), 0.9)
