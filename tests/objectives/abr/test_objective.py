"""The objective from its parameters to its numbers, on few generated records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from hpo.actions.evaluate import evaluate as score
from hpo.runner import run
from hpo.spec.load import load_spec
from hpo.trial import Interrupted, Job, ObjectiveRef, Trial
from objectives.abr import data, evaluate, models, train
from objectives.abr.losses import TASKS
from objectives.recording import WEIGHTS, load_weights
from tests.objectives.abr.records import some, write
from tests.objectives.trials import Reports

PARAMS = {"architecture": "tiny", "learning_rate": 3e-3, "batch_size": 32}
DATA = {"records": 120, "seed": 0}
CONSTANTS = {"epochs": 2, "metric_records": 8, "settle_batches": 2, "data": DATA}
CPU = torch.device("cpu")


def trial_in(folder: Path, reports: Reports, constants: dict[str, Any] | None = None, **params: Any) -> Trial:
    folder.mkdir(parents=True, exist_ok=True)
    reference = ObjectiveRef(target="objectives.abr:train", root=str(folder))
    return Trial(Job(0, PARAMS | params, 5, reference, CONSTANTS | (constants or {}), folder, ("val_score",)), reports)


@pytest.mark.parametrize("weighting", ["simplex", "uncertainty"])
def test_twice_the_same_and_resumed_the_same_bits(tmp_path: Path, weighting: str) -> None:
    whole, again, cut = Reports(), Reports(), Reports()
    train(trial_in(tmp_path / "whole", whole, weighting=weighting))
    train(trial_in(tmp_path / "again", again, weighting=weighting))
    cut.stop_at = 1
    with pytest.raises(Interrupted):
        train(trial_in(tmp_path / "cut", cut, weighting=weighting))
    cut.stop_at = 0
    train(trial_in(tmp_path / "cut", cut, weighting=weighting))
    assert whole.curves() == again.curves() == cut.curves()
    assert sorted(whole) == [1, 2]
    kept = [load_weights(tmp_path / name / WEIGHTS, CPU)["model"] for name in ("whole", "again", "cut")]
    for name, tensor in kept[0].items():
        assert torch.equal(tensor, kept[1][name]), name
        assert torch.equal(tensor, kept[2][name]), name


def test_everything_is_recorded_for_each_step_and_epoch(tmp_path: Path) -> None:
    reports = Reports()
    result = train(trial_in(tmp_path, reports))
    parts = {*TASKS, "peak_existence", "peak_latency", "peak_amplitude", "loss"}
    for split in ("train", "val"):
        assert {f"{split}_{name}" for name in parts} <= reports[1].keys()
    assert {"val_macro_f1", "val_score", "val_recall_neuropathy", "val_dtw", "train_macro_f1"} <= reports[1].keys()
    assert "train_dtw" not in reports[1]
    with np.load(tmp_path / "steps.npz") as steps:
        assert parts | {"learning_rate", "gradient_norm", "epoch"} <= set(steps.files)
        assert {f"val_{name}" for name in parts} <= set(steps.files)
        count = len(steps["epoch"]) // 2
        for name in ("signal", "threshold", "peak_latency"):
            assert len(steps[name]) == 2 * count == 2 * 3  # 87 to 93 records in batches of 32
        even = 0.25 * sum(steps[name] for name in TASKS)  # unweighted, and so they add up
        np.testing.assert_allclose(steps["loss"], even, rtol=1e-5)
    best = max(reports, key=lambda step: reports[step]["val_score"])
    assert (result["best_epoch"], result["val_score"]) == (best, reports[best]["val_score"])


def test_learned_weights_are_learned_and_reported(tmp_path: Path) -> None:
    reports = Reports()
    trial = trial_in(tmp_path, reports, weighting="uncertainty")
    train(trial)
    first, last = ([reports[step][f"train_weight_{name}"] for name in TASKS] for step in (1, 2))
    assert last[3] < first[3] < 0.5  # of the threshold, the largest loss: less and less
    assert evaluate(trial, None)["loss"] > 0


@pytest.mark.parametrize(
    "params",
    [
        {"loss_weights": {"signal": 0.1, "class": 0.6, "peak": 0.25, "threshold": 0.05}},
        {"weighting": "log_uniform", "weight_signal": 10.0, "weight_threshold": 0.01},
        {"weighting": "uncertainty"},
        {"amplitude_unit": "nV", "class_weights": "root"},
        {"precision": "bfloat16", "schedule": "plateau", "warmup_epochs": 1},
    ],
    ids=str,
)
def test_each_weighting_and_unit_trains(tmp_path: Path, params: dict[str, Any]) -> None:
    reports = Reports()
    train(trial_in(tmp_path, reports, {"epochs": 3}, **params))
    assert reports[3]["train_loss"] < 0.9 * reports[1]["train_loss"]


def test_the_kept_weights_give_the_reported_numbers(tmp_path: Path) -> None:
    """Computed here a second time, from the weights and the records."""
    trial = trial_in(tmp_path, Reports(), amplitude_unit="nV")
    result = train(trial)
    dataset = data.load(**DATA)
    model = models.build("tiny").eval()
    model.load_state_dict(load_weights(tmp_path / WEIGHTS, CPU)["model"])

    def again(part: data.Tensors) -> tuple[float, ...]:
        with torch.no_grad():
            found = model(part.signal, part.statics)
        there = part.exists
        return (
            f1_score(part.label, found["class"].argmax(1), average="macro", zero_division=0),
            (found["threshold"] - part.threshold).abs().mean().item(),
            (found["amplitude"] / 1000 - part.amplitude)[there].abs().mean().item(),
            (found["latency"] - part.latency)[there].abs().mean().item(),
            (found["signal"] - part.target).square().mean().item(),
        )

    names = ("macro_f1", "threshold_mae", "amplitude_mae", "latency_mae", "signal")
    assert [result[f"val_{name}"] for name in names] == pytest.approx(again(dataset.val), rel=1e-4)
    assert dataset.test is not None
    held_out = evaluate(trial, None)
    assert [held_out[name] for name in names] == pytest.approx(again(dataset.test), rel=1e-4)


def test_own_records_and_held_out_ones(tmp_path: Path) -> None:
    """`data.root` counts from the study's folder; other names of columns are told."""
    arrays = some(clean=None)
    arrays["diagnosis"] = arrays.pop("label")
    write(tmp_path / "abr" / "records.npz", arrays)
    write(tmp_path / "later" / "records.npz", some(100, 4, clean=None) | {"diagnosis": some(100, 4)["label"]})
    own = {"root": "abr", "columns": {"label": "diagnosis"}}
    trial = trial_in(tmp_path, Reports(), {"epochs": 1, "data": own})
    assert 0 <= train(trial)["val_macro_f1"] <= 1
    assert evaluate(trial, tmp_path / "later")["threshold_mae"] > 0
    with pytest.raises(ValueError, match="the study's data has no test split"):
        evaluate(trial, None)


@pytest.mark.parametrize(
    ("constants", "message"),
    [
        ({"data": {"record": 120}}, r"constants.data.record is not known; .* Did you mean 'records'\?"),
        ({"data": {"columns": {"lable": "x"}}}, r"constants.data.columns.lable is not known; .* mean 'label'\?"),
        ({"loss_weights": {"classes": 1.0}}, r"constants.loss_weights.classes is not known; .* mean 'class'\?"),
        ({"augmentation": {"noise": -1}}, r"augmentation.noise is -1; expected a number from 0"),
        ({"weighting": "equal"}, r"weighting is 'equal'; expected simplex, log_uniform, uncertainty"),
    ],
)
def test_a_mistaken_constant_is_refused(tmp_path: Path, constants: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train(trial_in(tmp_path, Reports(), constants))


@pytest.mark.slow
@pytest.mark.timeout(1800)  # minutes on two free cores, many on busy ones
def test_the_small_study_learns_all_four_tasks_and_its_winner_holds_on_its_test_split(tmp_path: Path) -> None:
    spec = load_spec("abr_small.yaml")
    result = run(spec, tmp_path)
    assert result.done
    assert result.progress.best is not None
    assert result.progress.best > 0.6
    held_out = score(tmp_path, "abr_small").metrics
    assert held_out["threshold_mae"] < 8
    assert held_out["macro_f1"] > 0.45
