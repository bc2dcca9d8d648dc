from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import epochs

from hpo.analysis.training.training_log import TrainingLog
from hpo.analysis.training.verdict import VERDICTS, judge, total_of
from hpo.curves import predicates
from hpo.curves.metric_names import without_split
from hpo.spec.models import Metric

FALLING = [math.exp(-k / 8) for k in range(24)]


def log(metric: Metric | None = None, **values: Sequence[float]) -> TrainingLog:
    return TrainingLog("x", epochs(1, **values), metric=metric)


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "diagnosis.py"
    spec = importlib.util.spec_from_file_location("benchmark_of_diagnosis", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_of_200_generated_trainings_19_in_20_are_judged_right(generator: ModuleType) -> None:
    table = generator.confusion(range(5000, 5001))
    assert table.total() == 200
    assert sum(n for (kind, verdict), n in table.items() if kind == verdict) >= 190
    healthy = sum(n for (kind, _), n in table.items() if kind == "healthy")
    sick = sum(n for (kind, verdict), n in table.items() if kind == "healthy" and verdict not in ("healthy", "none"))
    assert sick <= 0.02 * healthy


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


def test_a_recall_of_0_in_validation_alone_is_no_collapse() -> None:
    zero = [0.0] * 24
    found = judge(log(train_loss=FALLING, val_loss=FALLING, val_recall=zero))
    assert (found.verdict, found.series) == ("collapsed", "val_recall")
    learning = [0.03 * k for k in range(24)]
    assert judge(log(train_loss=FALLING, val_loss=FALLING, val_recall=zero, train_recall=learning)).verdict == "healthy"
    # A rare class may stay unknown in a training that is well.
    assert judge(log(train_loss=FALLING, val_loss=FALLING, val_recall_NEUROPATHY=zero)).verdict == "healthy"


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
