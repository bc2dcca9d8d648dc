"""The mitochondria objective from its parameters to its numbers, on few and small generated slices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import jaccard_score
from torch.nn import functional as F

from hpo.actions.evaluate import evaluate as score
from hpo.analysis.assessment import assess, binary_of
from hpo.analysis.predictions import read_returned
from hpo.runner import run
from hpo.spec.load import load_spec
from hpo.trial import Interrupted, Job, ObjectiveRef, Trial
from objectives.losses.dice import dice_loss
from objectives.losses.focal import binary_focal_loss
from objectives.mitochondria import data, evaluate, models, train
from objectives.mitochondria.objective import loss_of
from objectives.recording import EPOCHS, WEIGHTS, load_weights
from tests.objectives.trials import Reports

PARAMS = {"architecture": "attention_resunet", "learning_rate": 3e-3, "batch_size": 4, "loss": "bce_dice"}
DATA = {"patch_size": 64, "slices": 4, "height": 128, "width": 128, "val_fraction": 0.25}
CONSTANTS = {"base_width": 4, "epochs": 3, "data": DATA}
CPU = torch.device("cpu")


def trial_in(folder: Path, reports: Reports, constants: dict[str, Any] = CONSTANTS, **params: Any) -> Trial:
    folder.mkdir(parents=True, exist_ok=True)
    reference = ObjectiveRef(target="objectives.mitochondria:train", root=str(folder))
    return Trial(Job(0, PARAMS | params, 5, reference, constants, folder, ("val_jaccard",)), reports)


def test_a_resumed_trial_has_the_bits_of_an_uninterrupted_one(tmp_path: Path) -> None:
    whole, cut = Reports(), Reports()
    expected = train(trial_in(tmp_path / "whole", whole))
    cut.stop_at = 2
    with pytest.raises(Interrupted):
        train(trial_in(tmp_path / "cut", cut))
    cut.stop_at = 0
    found = train(trial_in(tmp_path / "cut", cut))
    names = ("train_loss", "val_loss", "val_jaccard", "val_dice", "val_image_jaccard")
    curves = [{step: [metrics[name] for name in names] for step, metrics in run.items()} for run in (whole, cut)]
    assert curves[0] == curves[1]
    assert sorted(curves[0]) == [1, 2, 3]
    assert [found[name] for name in names] == [expected[name] for name in names]
    best = max(whole, key=lambda step: whole[step]["val_jaccard"])
    assert (expected["best_epoch"], expected["val_jaccard"]) == (best, whole[best]["val_jaccard"])


@pytest.mark.parametrize("architecture", ["unet", "attention_unet"])
def test_the_kept_weights_give_the_reported_numbers_on_held_out_slices(tmp_path: Path, architecture: str) -> None:
    """Computed here a second time, from the weights and the patches, with scikit-learn."""
    trial = trial_in(tmp_path, Reports(), architecture=architecture)
    result = train(trial)
    kept = load_weights(tmp_path / WEIGHTS, CPU)
    assert kept["epoch"] == result["best_epoch"]
    dataset = data.load(**DATA)
    model = models.build(architecture, 4).eval()
    model.load_state_dict(kept["model"])

    def again(patches: data.Patches) -> tuple[float, float]:
        inputs = (patches.images.float() / 255 - dataset.mean) / dataset.std
        with torch.no_grad():
            logits = model(inputs)
        loss = F.binary_cross_entropy_with_logits(logits, patches.masks.float()) + dice_loss(
            logits, patches.masks.float()
        )
        overlap = jaccard_score(patches.masks.numpy().ravel(), logits.sigmoid().numpy().ravel() > 0.5, zero_division=1)
        return overlap, loss.item()

    assert (result["val_jaccard"], result["val_loss"]) == pytest.approx(again(dataset.val), rel=1e-4)
    assert dataset.test is not None
    held_out = evaluate(trial, None)
    assert (held_out["jaccard"], held_out["loss"]) == pytest.approx(again(dataset.test), rel=1e-4)
    assert sorted(held_out) == ["about", "dice", "examples", "image_jaccard", "jaccard", "loss", "predictions"]
    counted = assess(read_returned(held_out)).scores
    assert all(counted[name].value == held_out[name] for name in ("jaccard", "dice"))
    # Of the pixels that are counted by slice and probability, the pooled scores are the same.
    binary = binary_of(read_returned(held_out))
    assert binary is not None
    found = binary.measure()
    assert (found["jaccard"], found["dice"]) == pytest.approx((held_out["jaccard"], held_out["dice"]))
    assert binary.counts.sum() == dataset.test.masks.numel()


def write_stack(folder: Path, name: str, seed: int) -> None:
    import tifffile

    from objectives.mitochondria.generator import generate

    made = generate(3, 64, 64, seed)
    for kind, stack in (("images", made.images), ("masks", made.masks.astype(np.uint8) * 255)):
        tifffile.imwrite(folder / f"{name}{kind}.tif", stack, photometric="minisblack")


def test_own_slices_and_a_folder_of_held_out_ones(tmp_path: Path) -> None:
    """`data.root` counts from the study's folder."""
    (tmp_path / "slices").mkdir()
    write_stack(tmp_path / "slices", "", 1)
    (tmp_path / "later").mkdir()
    write_stack(tmp_path / "later", "test_", 2)
    own = {"root": "slices", "patch_size": 32, "val_fraction": 0.34}
    trial = trial_in(tmp_path, Reports(), {**CONSTANTS, "epochs": 1, "data": own})
    assert 0 <= train(trial)["val_jaccard"] <= 1
    assert 0 <= evaluate(trial, tmp_path / "later")["jaccard"] <= 1
    with pytest.raises(ValueError, match="the study's data has no test split"):
        evaluate(trial, None)


def test_each_loss_is_the_one_it_is_called() -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(3, 1, 4, 4), (torch.rand(3, 1, 4, 4) < 0.3).float()
    bce = F.binary_cross_entropy_with_logits(logits, targets)
    assert torch.equal(loss_of({"loss": "bce"}, logits, targets), bce)
    assert torch.equal(loss_of({"loss": "dice"}, logits, targets), dice_loss(logits, targets))
    assert torch.equal(loss_of({"loss": "bce_dice"}, logits, targets), bce + dice_loss(logits, targets))
    focal = {"loss": "focal", "gamma": 1.5, "alpha": 0.8}
    assert torch.equal(loss_of(focal, logits, targets), binary_focal_loss(logits, targets, 1.5, 0.8))
    assert loss_of({"loss": "bce"}, logits.bfloat16(), targets).dtype == torch.float32
    with pytest.raises(ValueError, match="loss is 'iou'; expected bce, focal, dice or bce_dice"):
        loss_of({"loss": "iou"}, logits, targets)


def test_the_focal_loss_tells_which_pixels_it_came_from(tmp_path: Path) -> None:
    reports = Reports()
    train(trial_in(tmp_path, reports, loss="focal", gamma=1.5, alpha=0.8))
    with np.load(tmp_path / EPOCHS) as kept:
        for split in ("train", "val"):
            count, loss = kept[f"{split}_focal_count"], kept[f"{split}_focal_loss"]
            assert count.shape == loss.shape == kept[f"{split}_focal_ce"].shape == (len(reports), 2, 50)
            means = loss.sum((1, 2)) / count.sum((1, 2))
            assert means == pytest.approx([told[f"{split}_loss"] for told in reports.values()], rel=1e-4)
        assert set(kept["train_focal_gamma"]) == {1.5}
        assert set(kept["train_focal_alpha"]) == {0.8}


def test_a_misspelt_constant_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"constants\.data\.patchsize is not known; .* Did you mean 'patch_size'\?"):
        train(trial_in(tmp_path, Reports(), {"data": {"patchsize": 64}}))


def test_it_learns(tmp_path: Path) -> None:
    reports = Reports()
    train(trial_in(tmp_path, reports, {**CONSTANTS, "epochs": 8}, architecture="unet", learning_rate=1e-2))
    assert reports[8]["train_loss"] < 0.85 * reports[1]["train_loss"]


@pytest.mark.slow
@pytest.mark.timeout(1800)  # minutes on two free cores, many on busy ones
def test_the_small_study_finds_most_mitochondria_and_its_winner_holds_on_its_test_split(tmp_path: Path) -> None:
    spec = load_spec("mitochondria_small.yaml")
    result = run(spec, tmp_path)
    assert result.done
    assert result.progress.complete == 12
    assert result.progress.best is not None
    assert result.progress.best > 0.5
    assert score(tmp_path, "mitochondria_small").metrics["jaccard"] > 0.4
    weights = {path.parent.name for path in tmp_path.glob("mitochondria_small/trials/*/weights.pt")}
    assert len(weights) == 9, "the best three of each architecture"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["auto", "float32", "float16"])
def test_on_a_gpu_it_trains_in_each_precision_and_tells_its_memory(tmp_path: Path, precision: str) -> None:
    reports = Reports()
    train(trial_in(tmp_path, reports, {**CONSTANTS, "precision": precision}))
    assert reports[3]["peak_gpu_mib"] > 0
    assert reports[3]["train_loss"] < reports[1]["train_loss"]
    assert 0 <= evaluate(trial_in(tmp_path, reports), None)["jaccard"] <= 1
