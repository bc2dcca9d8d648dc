from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import epochs

from hpo.analysis.training.answers import Threshold
from hpo.analysis.training.diagnosis import diagnose
from hpo.analysis.training.log_files import read_log
from hpo.analysis.training.series import total_of
from hpo.analysis.training.training_log import TrainingLog
from hpo.analysis.training.verdict import VERDICTS, judge
from hpo.curves import predicates
from hpo.curves.metric_names import without_split
from hpo.reports.sections.verdict_text import reason, recommendation
from hpo.spec.models import Metric

FALLING = [math.exp(-k / 8) for k in range(24)]


def log(metric: Metric | None = None, **values: Sequence[float]) -> TrainingLog:
    return TrainingLog("x", epochs(1, **values), metric=metric)


def test_of_200_generated_trainings_19_in_20_are_judged_right(generator: ModuleType) -> None:
    table = generator.confusion(range(5000, 5001))
    assert table.total() == 200
    assert sum(n for (kind, verdict), n in table.items() if generator.is_right(kind, verdict)) >= 190
    sick = [kind for (kind, verdict) in table if kind in generator.WELL and verdict in generator.SICK]
    assert not sick


@pytest.mark.slow
def test_of_each_kind_19_in_20_are_judged_right_and_no_advice_contradicts_the_metric(generator: ModuleType) -> None:
    seeds = range(6000, 6005)
    table = generator.confusion(seeds)
    assert table.total() == 1000
    for kind in generator.KINDS:
        right = sum(n for (own, verdict), n in table.items() if own == kind and generator.is_right(kind, verdict))
        # 95 % of about 70, less what chance may do.
        assert right >= 0.93 * sum(n for (own, _), n in table.items() if own == kind), kind
    well = sum(n for (kind, _), n in table.items() if kind in generator.WELL)
    assert sum(n for (kind, one), n in table.items() if kind in generator.WELL and one in generator.SICK) <= 0.01 * well
    assert generator.contradictions(seeds) == []


def test_a_loss_that_becomes_nan_has_diverged_and_one_bad_epoch_has_not() -> None:
    found = judge(log(train_loss=[*FALLING[:10], math.nan, math.nan], val_loss=FALLING[:12]))
    assert (found.verdict, found.series) == ("diverged", "train_loss")
    assert isinstance(found.evidence, predicates.NonFinite)
    assert found.epoch(found.evidence.at) == 11
    once = list(FALLING)
    once[5] = math.nan
    assert judge(log(train_loss=once, val_loss=FALLING)).verdict == "healthy"


def test_few_values_get_no_verdict() -> None:
    found = judge(log(train_loss=[3, 2, 1], val_loss=[3, 2, 1]))
    assert (found.verdict, found.series, found.evidence, found.epochs) == ("none", "val_loss", None, (1, 2, 3))
    assert judge(log(learning_rate=[0.1] * 20)).verdict == "none"
    assert judge(TrainingLog("x", ())).series == ""


def test_a_flat_curve_gets_no_verdict() -> None:
    values = [0.6931 + 0.0001 * (k % 3) for k in range(30)]
    found = judge(log(train_loss=values, val_loss=values))
    assert found.verdict == "none"
    assert isinstance(found.evidence, predicates.Flat)
    # One and the same number from the first epoch to the last is as flat as can be; once it had moved, it is stuck.
    assert judge(log(train_loss=[0.7] * 20, val_loss=[0.7] * 20)).verdict == "none"
    moved = [0.9, 0.8, *[1.5] * 18]
    assert judge(log(train_loss=moved, val_loss=moved)).verdict in ("collapsed", "diverged")


def test_validation_that_never_learns_while_training_does_stands_still() -> None:
    found = judge(log(train_loss=FALLING, val_loss=[0.69 + 0.0001 * (k % 3) for k in range(24)]))
    assert (found.verdict, found.train) == ("plateau", "train_loss")


def test_a_metric_that_still_improves_is_no_plateau() -> None:
    stands = [1.0, 0.5, *[0.3] * 28]
    assert judge(log(train_loss=stands, val_loss=stands)).verdict == "plateau"
    found = judge(log(train_loss=stands, val_loss=stands, val_accuracy=[0.5 + 0.01 * k for k in range(30)]))
    assert (found.verdict, found.series) == ("healthy", "val_accuracy")


def test_a_recall_of_0_has_collapsed_unless_another_metric_ranks() -> None:
    zero = [0.0] * 24
    found = judge(log(train_loss=FALLING, val_loss=FALLING, val_recall=zero))
    assert (found.verdict, found.series) == ("collapsed", "val_recall")
    # As of the red flag of that name: what training finds is no excuse.
    learning = [0.03 * k for k in range(24)]
    found = judge(log(train_loss=FALLING, val_loss=FALLING, val_recall=zero, train_recall=learning))
    assert found.verdict == "collapsed"
    # A rare class may stay unknown in a training that is well.
    assert judge(log(train_loss=FALLING, val_loss=FALLING, val_recall_NEUROPATHY=zero)).verdict == "healthy"
    for ranking in (
        {"val_auc": [0.8] * 23 + [0.79]},
        {"val_auc": [0.5 + 0.005 * k for k in range(24)]},
        {"val_average_precision": [0.03 + 0.03 * k for k in range(24)]},
        {"train_pair_accuracy": [0.7] * 24},
    ):
        found = judge(log(train_loss=FALLING, val_loss=FALLING, val_recall=zero, val_precision=zero, **ranking))
        assert (found.verdict, found.series) == ("threshold", "val_recall"), ranking
        assert isinstance(found.evidence, Threshold)
        assert (found.evidence.ranks.name, found.evidence.ranks.value) == (
            next(iter(ranking)),
            next(iter(ranking.values()))[-1],
        )
    chance = [0.5 + 0.004 * (k % 3) for k in range(24)]
    assert judge(log(train_loss=FALLING, val_loss=FALLING, val_recall=zero, val_auc=chance)).verdict == "collapsed"


@pytest.mark.parametrize(
    ("metrics", "verdict"),
    [
        # Everything is called foreground; training takes other patches in each epoch.
        ({"val_jaccard": [0.076] * 10, "train_jaccard": [0.07, 0.08, 0.075, 0.077, 0.07] * 2}, "collapsed"),
        ({"val_jaccard": [0.076, 0.07601, 0.07599, 0.076, 0.07602] * 2}, "collapsed"),
        ({"val_jaccard": [7.6] * 10}, "collapsed"),  # percent
        ({"val_accuracy": [0.97] * 10}, "collapsed"),
        ({"val_macro_f1": [0.18] * 10, "val_accuracy": [0.8] * 10}, "collapsed"),
        ({"val_mae": [2.5] * 10}, "collapsed"),
        ({"val_kappa": [0.0] * 10}, "collapsed"),
        ({"val_auc": [0.5, 0.51, 0.49, 0.5, 0.505, 0.495, 0.5, 0.5, 0.51, 0.5]}, "collapsed"),
        # Solved in the first epochs.
        ({"val_accuracy": [0.8, 0.95, *[0.99] * 8]}, "healthy"),
        ({"val_accuracy": [80, 95, *[99] * 8]}, "healthy"),
        ({"val_accuracy": [1.0] * 10}, "healthy"),
        ({"val_accuracy": [0.991, 0.992, 0.99, 0.993, 0.992, 0.991, 0.992, 0.993, 0.992, 0.992]}, "healthy"),
        ({"val_auc": [0.9, 0.97, 0.98, *[0.985] * 7], "val_accuracy": [0.9, 0.93, *[0.95] * 8]}, "healthy"),
        ({"val_mae": [3.0, 2.0, 1.5, 1.2, 1.0, 0.9, 0.85, 0.8, 0.78, 0.77]}, "healthy"),
    ],
)  # fmt: skip
def test_a_metric_at_the_value_of_one_answer_is_the_disease_and_one_at_its_ceiling_is_not(
    metrics: dict[str, list[float]], verdict: str
) -> None:
    assert judge(log(train_loss=FALLING[:10], val_loss=FALLING[:10], **metrics)).verdict == verdict


def test_a_loss_that_hardly_moves_is_not_judged_where_the_metric_or_the_original_loss_does() -> None:
    still = [0.95 + 0.001 * (k % 3) for k in range(24)]
    rising = [0.75 + 0.16 * (1 - value) for value in FALLING]
    found = judge(log(train_loss=still, val_loss=still, val_pair_accuracy=rising))
    assert (found.verdict, found.series) == ("healthy", "val_pair_accuracy")
    # It rises a little after epoch 2, while the metric is best at the end.
    worse = [0.95, 0.94, *[0.945 + 0.002 * k for k in range(22)]]
    found = judge(log(train_loss=still, val_loss=worse, val_pair_accuracy=rising))
    assert (found.verdict, found.series) == ("healthy", "val_pair_accuracy")
    assert {one.code for one in diagnose(log(train_loss=still, val_loss=worse, val_pair_accuracy=rising)).advice} == {
        "loss_apart"
    }
    original = [9 * value for value in FALLING]
    found = judge(log(train_loss=still, val_loss=still, train_original=original, val_original=original))
    assert (found.verdict, found.series) == ("healthy", "val_original")
    found = judge(log(train_loss=still, val_loss=still, train_bce=original, val_bce=original, train_data_loss=still))
    assert found.series == "val_bce"
    # A component of that name is no original.
    assert (
        judge(log(train_loss=FALLING, val_loss=FALLING, val_bce=original, val_dice_loss=FALLING)).series == "val_loss"
    )
    ghm = {"loss": "ghm"}
    codes = [one.code for one in diagnose(TrainingLog("x", epochs(1, train_loss=still, val_loss=still), ghm)).advice]
    assert codes == ["reweighted"]


def logged(name: str) -> TrainingLog:
    return read_log(Path(__file__).parents[1] / "data" / "logs" / f"{name}.csv").log


def told(name: str) -> tuple[str, list[str]]:
    found = diagnose(logged(name))
    return reason(found.judgement), [recommendation(one) for one in found.advice]


def test_a_ranking_below_the_threshold_is_told_to_weigh_positives_and_to_raise_the_rate() -> None:
    why, advice = told("screening_recall_0")
    assert why.startswith("It ranks, but nothing passes 0.5: val_auc went from 0.5599 to 0.6879, while val_recall is 0")
    assert advice == [
        "Give positives more weight or sample them more often, and try a higher learning rate (3 to 10 times). To use "
        "the network as it is, lower the threshold: val_auc is 0.688, and val_recall at 0.5 is 0."
    ]
    found = diagnose(logged("screening_recall_0"))
    assert (found.judgement.verdict, found.metric, found.best_epoch) == ("threshold", "val_auc", 12)


def test_a_reweighted_loss_is_not_judged() -> None:
    found = diagnose(logged("ghm_ranking"))
    assert (found.judgement.verdict, found.judgement.series) == ("overfitting", "val_accuracy")
    why, advice = told("ghm_ranking")
    assert "val_accuracy was best in epoch 12 (0.8705) and got worse in the 48 epochs after it, to 0.8214" in why
    assert "Meanwhile train_accuracy went from 0.5907 to 0.7114." in why
    assert advice[0].startswith("Keep the weights of epoch 12 and stop there")
    assert not any("weights are trained" in one for one in advice)


def test_a_metric_that_still_rises_is_not_stopped_for_its_loss() -> None:
    found = diagnose(logged("unet_jaccard_rises"))
    assert found.judgement.verdict == "healthy"
    assert not {"stands", "stop_at"} & {one.code for one in found.advice}


def test_a_metric_that_does_not_follow_its_loss_is_looked_at_first() -> None:
    found = diagnose(logged("unet_jaccard_broken"))
    assert (found.judgement.verdict, found.judgement.series) == ("metric", "val_jaccard_coef")
    assert [one.code for one in found.advice] == ["metric", "steadier"]
    assert found.advice[0].numbers["fall"] == pytest.approx(36.6, abs=0.05)
    assert told("unet_jaccard_broken")[1][0].startswith("Look for a fault in val_jaccard_coef before anything else")


def test_overfitting_names_the_best_epoch_of_the_metric_too() -> None:
    found = diagnose(logged("overfit"))
    assert (found.judgement.verdict, found.judgement.series) == ("overfitting", "val_loss")
    assert told("overfit")[1][0] == (
        "Keep the weights of epoch 12 if val_loss counts (0.323 then, 0.573 now, 27 epochs later), those of epoch 27 "
        "if val_accuracy counts (0.855, its best)."
    )


def test_lateness_is_found() -> None:
    recall = [0.0] * 14 + [0.06 * k for k in range(1, 17)]
    loss = [1.0] * 14 + [math.exp(-k / 6) for k in range(16)]
    (late,) = [
        one for one in diagnose(log(train_loss=loss, val_loss=loss, val_recall=recall)).advice if one.code == "late"
    ]
    assert (late.numbers["epoch"], late.numbers["share"]) == (14, pytest.approx(100 * 14 / 30))
    assert recommendation(late).startswith(
        "Nothing was found until epoch 14: 46.7 % of the time val_recall stood at 0."
    )
    early = [0.0] * 3 + [0.03 * k for k in range(1, 28)]
    found = diagnose(log(train_loss=loss, val_loss=loss, val_recall=early))
    assert all(one.code != "late" for one in found.advice)


def test_the_headline_is_the_metric_that_says_most() -> None:
    def metric(*names: str) -> str:
        return diagnose(log(train_loss=FALLING, val_loss=FALLING, **dict.fromkeys(names, FALLING))).metric

    assert metric("val_accuracy", "val_auc", "val_recall") == "val_auc"
    assert metric("val_precision", "val_accuracy", "val_f1") == "val_f1"
    assert metric("val_recall_1", "val_accuracy") == "val_accuracy"
    assert metric("train_auc") == "val_loss"
    assert metric("val_mae") == "val_mae"


def test_what_is_good_from_the_first_epoch_on_is_not_called_unlearned() -> None:
    still, good = [0.1 + 0.0001 * (k % 3) for k in range(24)], [0.97 + 0.001 * (k % 3) for k in range(24)]
    for train in (still, FALLING):
        found = diagnose(log(train_loss=train, val_loss=still, val_auc=good))
        assert [one.code for one in found.advice] == ["learned_at_once"]
    found = diagnose(log(train_loss=still, val_loss=still, val_auc=[0.53 + 0.001 * (k % 3) for k in range(24)]))
    assert [one.code for one in found.advice] == ["higher_rate"]


def test_a_metric_without_a_number_in_some_epochs_is_no_divergence() -> None:
    auc = [math.nan, math.nan, *[0.6 + 0.01 * k for k in range(22)]]
    found = judge(log(train_loss=FALLING, val_loss=FALLING, val_auc=auc))
    assert (found.verdict, found.series) == ("healthy", "val_auc")
    assert judge(log(train_loss=FALLING, val_loss=FALLING, val_auc=[math.nan] * 24)).verdict == "healthy"


def test_without_validation_the_metrics_of_training_are_asked() -> None:
    assert judge(log(train_loss=FALLING, train_accuracy=[0.9] * 24)).verdict == "collapsed"


def test_the_risk_is_of_what_the_verdict_is_of() -> None:
    risk = diagnose(logged("ghm_ranking")).risk
    assert risk is not None
    assert (risk.series, risk.word, risk.share) == ("val_accuracy", "high", pytest.approx(0.2115, abs=1e-4))


def test_a_metric_alone_is_judged_by_its_direction() -> None:
    score = Metric(name="score", direction="maximize")
    rising = [1 - value for value in FALLING]
    assert judge(log(score, score=rising)).verdict == "healthy"
    found = judge(log(score, score=[*rising[:16], *[rising[15] - 0.05 * k for k in range(1, 9)]]))
    assert (found.verdict, found.series, found.sign) == ("overfitting", "score", -1)
    assert isinstance(found.evidence, predicates.Overfitting)
    assert found.epoch(found.evidence.since) == 16


def test_validation_every_few_epochs_is_held_beside_the_training_of_those() -> None:
    history = list(epochs(1, train_loss=[math.exp(-k / 20) for k in range(60)]))
    for k in range(4, 60, 5):
        metrics = {**history[k].metrics, "val_loss": math.exp(-k / 20) + max(0, k - 25) * 0.02}
        history[k] = type(history[k])(k + 1, 0.0, 1, metrics)
    found = judge(TrainingLog("x", tuple(history)))
    assert (found.verdict, found.train) == ("overfitting", "train_loss")
    assert isinstance(found.evidence, predicates.Overfitting)
    assert found.epoch(found.evidence.since) == 25


def test_an_exploding_validation_loss_diverged_whatever_training_does() -> None:
    val = [*FALLING[:12], *[3.0**k for k in range(12)]]
    found = judge(log(train_loss=FALLING, val_loss=val))
    assert (found.verdict, found.series) == ("diverged", "val_loss")


@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=40),
    st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=40),
    st.lists(st.floats(0, 1), max_size=40),
)
def test_nothing_that_can_be_logged_raises(train: list[float], val: list[float], recall: list[float]) -> None:
    given = {"train_loss": train, "val_loss": val, "val_recall": recall}
    assert judge(log(**{name: values for name, values in given.items() if values}) if any(given.values()) else
                 TrainingLog("x", ())).verdict in VERDICTS  # fmt: skip


def test_the_loss_is_named_as_red_flags_name_it() -> None:
    for name in ("train_loss", "val_loss", "train_val_loss", "dice_loss"):
        assert total_of([name]) == without_split(name)
