"""The quickstart objective: rare positives, a curve that resumes to the same bits, a real search space."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from hpo.trial import Job, ObjectiveRef, Pruned, Stop, Trial
from objectives.quickstart import data, models, train

PARAMS = {"architecture": "mlp", "learning_rate": 3e-3, "batch_size": 64, "loss": "bce"}
FOCAL = {"loss": "focal", "gamma": 2.0, "alpha": 0.75}
METRICS = {"train_loss", "val_loss", "val_average_precision", "val_auc", "train_recall", "val_recall"}

Curve = list[tuple[int, dict[str, float]]]


class Driver:
    """Keeps what a trial reports; ends the trial at the report of epoch `stop_at`."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.curve: Curve = []
        self._stop_at = stop_at

    def __call__(self, step: int, metrics: dict[str, float]) -> Stop | None:
        self.curve.append((step, metrics))
        return Stop("the study is being stopped", interrupted=True) if step == self._stop_at else None


def trial(directory: Path, driver: Driver, params: Mapping[str, Any] = PARAMS, epochs: int = 3, seed: int = 7) -> Trial:
    job = Job(
        number=0,
        params=params,
        seed=seed,
        objective=ObjectiveRef("objectives.quickstart:train"),
        constants={"epochs": epochs},
        directory=directory,
        metrics=("val_average_precision",),
    )
    return Trial(job, driver)


def test_positives_are_rare_in_both_parts() -> None:
    digits = data.load(digit=8, prevalence=0.03)
    for images, targets in (
        (digits.train_images, digits.train_targets),
        (digits.val_images, digits.val_targets),
    ):
        assert images.shape == (len(targets), 1, 8, 8)
        assert images.dtype == targets.dtype == torch.float32
        assert images.min() >= 0
        assert images.max() == 1
        assert set(targets.tolist()) == {0.0, 1.0}
        assert targets.mean().item() == pytest.approx(0.03, abs=0.002)


def test_no_image_is_in_both_parts() -> None:
    digits = data.load()
    train_rows = {tuple(row) for row in digits.train_images.flatten(1).tolist()}
    val_rows = {tuple(row) for row in digits.val_images.flatten(1).tolist()}
    assert not train_rows & val_rows


def test_data_are_loaded_once_and_split_by_the_seed_given() -> None:
    assert data.load(seed=1) is data.load(seed=1)
    assert torch.equal(data.load(seed=1).val_images, data.load.__wrapped__(seed=1).val_images)
    assert not torch.equal(data.load(seed=1).val_images, data.load(seed=2).val_images)


@pytest.mark.parametrize("prevalence", [0.0, 0.0005, 0.4, 1.0])
def test_a_prevalence_the_data_cannot_give_is_refused(prevalence: float) -> None:
    with pytest.raises(ValueError, match=rf"prevalence {prevalence} and val_fraction 0.5 need \d+ of the 174 images"):
        data.load(prevalence=prevalence)


@pytest.mark.parametrize("architecture", ["mlp", "cnn", "resnet"])
def test_networks_give_one_logit_an_image(architecture: str) -> None:
    model = models.build(architecture)
    for n in (1, 5):
        assert model(torch.zeros(n, 1, 8, 8)).shape == (n,)
    assert sum(p.numel() for p in model.parameters()) < 20_000


def test_an_unknown_architecture_is_refused() -> None:
    with pytest.raises(ValueError, match="architecture is 'vgg'; expected 'mlp', 'cnn' or 'resnet'"):
        models.build("vgg")


def test_reports_every_metric_each_epoch_and_returns_the_last(tmp_path: Path) -> None:
    driver = Driver()
    final = train(trial(tmp_path, driver, {**PARAMS, **FOCAL}))
    assert [epoch for epoch, _ in driver.curve] == [1, 2, 3]
    for _, metrics in driver.curve:
        assert set(metrics) == METRICS
        assert all(math.isfinite(value) for value in metrics.values())
    assert final == driver.curve[-1][1]


@pytest.mark.parametrize("architecture", ["mlp", "cnn", "resnet"])
@pytest.mark.parametrize("loss", [{"loss": "bce"}, FOCAL])
def test_an_interrupted_trial_resumes_to_the_same_bits(architecture: str, loss: dict[str, Any], tmp_path: Path) -> None:
    params = {**PARAMS, **loss, "architecture": architecture}
    whole = Driver()
    final = train(trial(tmp_path / "whole", whole, params, epochs=4))

    first, second = Driver(stop_at=2), Driver()
    with pytest.raises(Pruned):
        train(trial(tmp_path / "parts", first, params, epochs=4))
    torch.manual_seed(123)  # another process, another state of the generator
    torch.rand(5)
    assert train(trial(tmp_path / "parts", second, params, epochs=4)) == final

    assert first.curve == whole.curve[:2]
    assert second.curve == whole.curve[1:]  # the last saved epoch is reported again: its report may have been lost


def test_a_trial_lost_after_its_last_epoch_reports_it_and_returns(tmp_path: Path) -> None:
    first, second = Driver(stop_at=2), Driver()
    with pytest.raises(Pruned):
        train(trial(tmp_path, first, epochs=2))
    assert train(trial(tmp_path, second, epochs=2)) == first.curve[-1][1]
    assert second.curve == first.curve[-1:]


def test_changed_parameters_count_from_the_restored_epoch_on(tmp_path: Path) -> None:
    with pytest.raises(Pruned):
        train(trial(tmp_path, Driver(stop_at=1), epochs=2))
    stands = Driver()
    train(trial(tmp_path, stands, {**PARAMS, "learning_rate": 0.0}, epochs=2))
    (_, before), (_, after) = stands.curve  # without a learning rate nothing moves
    assert after["val_loss"] == before["val_loss"]


def test_seed_decides_the_curve(tmp_path: Path) -> None:
    curves = []
    for name, seed in (("a", 7), ("b", 7), ("c", 8), ("d", 2**63 - 1)):
        driver = Driver()
        train(trial(tmp_path / name, driver, epochs=2, seed=seed))
        curves.append(driver.curve)
    assert curves[0] == curves[1]
    assert curves[0] != curves[2]


def test_a_diverging_trial_is_pruned(tmp_path: Path) -> None:
    driver = Driver()
    with pytest.raises(Pruned, match=r"train_loss is (nan|inf) in epoch 1"):
        train(trial(tmp_path, driver, {**PARAMS, "learning_rate": 1e30}))
    assert not driver.curve


def test_a_good_configuration_finds_the_rare_digit(tmp_path: Path) -> None:
    final = train(trial(tmp_path, Driver(), {**PARAMS, **FOCAL, "batch_size": 32}, epochs=12))
    assert final["val_average_precision"] > 0.7  # a constant guess scores 0.03
    assert final["val_auc"] > 0.95
