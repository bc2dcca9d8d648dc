"""The glaucoma objective from its parameters to its numbers, on few and small generated photographs."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import precision_score, recall_score, roc_auc_score
from torch.nn import functional as F

from hpo.actions.evaluate import evaluate as score
from hpo.analysis.assessment import assess
from hpo.analysis.predictions import read_returned
from hpo.runner import run
from hpo.spec.load import load_spec
from hpo.trial import Interrupted, Job, ObjectiveRef, Pruned, Trial
from objectives.glaucoma import data, evaluate, models, train
from objectives.glaucoma.objective import (
    DEFAULTS,
    criterion_of,
    frozen_of,
    losses_of,
    measure_of,
    whole_batches,
)
from objectives.losses.focal import binary_focal_loss
from objectives.losses.ghm import GHMC
from objectives.losses.weighted_bce import weighted_bce_loss
from objectives.options import with_defaults
from objectives.recording import EPOCHS, STEPS, WEIGHTS, load_weights
from tests.objectives.glaucoma.test_data import write
from tests.objectives.trials import Reports

PARAMS = {"architecture": "cnn", "learning_rate": 3e-3, "batch_size": 16, "loss": "focal", "gamma": 1.5, "alpha": 0.75}
DATA = {"images": 60, "image_size": 16, "prevalence": 0.3, "val_fraction": 0.4}
CONSTANTS = {"base_width": 2, "epochs": 3, "data": DATA}
CPU = torch.device("cpu")
LOSSES = {
    "bce": {},
    "focal": {"gamma": 2.0, "alpha": 0.25},
    "weighted_bce": {"positive_weight": 8.0},
    "ghm": {"bins": 5, "momentum": 0.75},
}


def trial_in(
    folder: Path, reports: Reports, constants: dict[str, Any] = CONSTANTS, root: Path | None = None, **params: Any
) -> Trial:
    folder.mkdir(parents=True, exist_ok=True)
    reference = ObjectiveRef(target="objectives.glaucoma:train", root=str(root or folder))
    return Trial(Job(0, PARAMS | params, 5, reference, constants, folder, ("val_pauc",)), reports)


def options(**changed: Any) -> dict[str, Any]:
    return with_defaults(changed, DEFAULTS, "constants")


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_weights(folder / WEIGHTS, CPU)["model"]


@pytest.mark.parametrize(("loss", "own"), LOSSES.items())
def test_each_loss_trains_and_twice_to_the_same_bits(tmp_path: Path, loss: str, own: dict[str, Any]) -> None:
    first, again = Reports(), Reports()
    for folder, reports in (("first", first), ("again", again)):
        train(trial_in(tmp_path / folder, reports, loss=loss, **own))
    assert first.curves() == again.curves()
    assert sorted(first) == [1, 2, 3]
    one, two = weights_of(tmp_path / "first"), weights_of(tmp_path / "again")
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert all(math.isfinite(value) for metrics in first.values() for value in metrics.values())
    assert ("train_ghm_evenness" in first[1]) == (loss == "ghm")


@pytest.mark.parametrize(
    "changed",
    [
        {"loss": "ghm", "bins": 5, "momentum": 0.75, "schedule": "plateau", "plateau_patience": 1},
        {"architecture": "resnet18", "backbone": "frozen", "unfreeze_epoch": 3, "warmup_epochs": 2},
    ],
)
def test_a_resumed_trial_has_the_bits_of_an_uninterrupted_one(tmp_path: Path, changed: dict[str, Any]) -> None:
    whole, cut = Reports(), Reports()
    constants = {**CONSTANTS, "epochs": 4}
    expected = train(trial_in(tmp_path / "whole", whole, constants, **changed))
    cut.stop_at = 2
    with pytest.raises(Interrupted):
        train(trial_in(tmp_path / "cut", cut, constants, **changed))
    cut.stop_at = 0
    found = train(trial_in(tmp_path / "cut", cut, constants, **changed))
    assert whole.curves() == cut.curves()
    assert sorted(whole) == [1, 2, 3, 4]
    one, two = weights_of(tmp_path / "whole"), weights_of(tmp_path / "cut")
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert found["val_pauc"] == expected["val_pauc"] == max(metrics["val_pauc"] for metrics in whole.values())


def test_the_kept_weights_give_the_reported_numbers_on_held_out_photographs(tmp_path: Path) -> None:
    """Computed here a second time, from the weights and the images, with scikit-learn."""
    trial = trial_in(tmp_path, Reports(), architecture="resnet18")
    result = train(trial)
    dataset = data.load(**DATA)
    model = models.build("resnet18", 2, stem="small").eval()
    model.load_state_dict(weights_of(tmp_path))

    def again(rows: torch.Tensor) -> dict[str, float]:
        mean, std = dataset.mean.view(3, 1, 1), dataset.std.view(3, 1, 1)
        with torch.no_grad():
            logits = model((dataset.images[rows] / 255 - mean) / std)
        truth, probability = dataset.labels[rows], logits.sigmoid().numpy()
        kernels = [model.head.dense_1.weight, model.head.dense_2.weight, model.head.dense_3.weight]
        data_loss = binary_focal_loss(logits, truth, 1.5, 0.75).item()
        penalty = 0.0005 * sum((kernel**2).sum().item() for kernel in kernels)
        return {
            "loss": data_loss + penalty,
            "data_loss": data_loss,
            "penalty": penalty,
            "bce": F.binary_cross_entropy(logits.sigmoid(), truth).item(),
            "auc": roc_auc_score(truth, probability),
            "pauc": roc_auc_score(truth, probability, max_fpr=0.1),
            "precision": precision_score(truth, probability > 0.5, zero_division=0),
            "recall": recall_score(truth, probability > 0.5),
            "accuracy": ((probability > 0.5) == truth.numpy()).mean(),
            "predicted_positive": (probability > 0.5).mean(),
        }

    expected = again(dataset.val)
    assert {name: result[f"val_{name}"] for name in expected} == pytest.approx(expected, rel=1e-4)
    assert dataset.test is not None
    held_out, expected = evaluate(trial, None), again(dataset.test)
    assert {name: held_out[name] for name in expected} == pytest.approx(expected, rel=1e-4)
    more = ["about", "pauc_normalised", "predictions", "sens_at_95spec"]
    assert sorted(set(held_out) - set(expected)) == more
    found = assess(read_returned(held_out)).scores
    for name in ("auc", "pauc", "pauc_normalised", "sens_at_95spec", "recall", "accuracy"):
        assert found[name].low is not None, name


def test_own_photographs_and_a_folder_of_held_out_ones(tmp_path: Path) -> None:
    """`data.root` counts from the study's folder."""
    write(tmp_path / "fundus")
    write(tmp_path / "later", labels="graded.csv")
    own = {"root": "fundus", "image_size": 16, "val_fraction": 0.4, "columns": {"label": "label"}}
    trial = trial_in(tmp_path, Reports(), {**CONSTANTS, "epochs": 1, "data": own})
    assert 0 < train(trial)["val_pauc"] <= 1
    assert 0 <= evaluate(trial, tmp_path / "later")["auc"] <= 1
    with pytest.raises(ValueError, match="the study's data has no test split"):
        evaluate(trial, None)


def test_each_loss_is_the_one_it_is_called() -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(40), (torch.rand(40) < 0.3).float()
    expected = {
        "bce": F.binary_cross_entropy_with_logits(logits, targets),
        "focal": binary_focal_loss(logits, targets, 2.0, 0.25),
        "weighted_bce": weighted_bce_loss(logits, targets, 8.0),
        "ghm": GHMC(5, 0.75)(logits, targets),
    }
    for name, own in LOSSES.items():
        assert torch.equal(criterion_of(options(loss=name, **own))(logits, targets), expected[name]), name
    with pytest.raises(ValueError, match="loss is 'hinge'; expected one of bce, focal, weighted_bce, ghm"):
        criterion_of(options(loss="hinge"))


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_losses_are_taken_in_float32(precision: torch.dtype) -> None:
    model = models.build("cnn", 2)
    chosen = options(loss="ghm")
    batch = (torch.rand(8, 3, 16, 16), torch.tensor([0.0, 1.0] * 4))
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        scalars, outputs = losses_of(chosen, model, criterion_of(chosen))(model, batch)
    assert {value.dtype for value in scalars.values()} == {torch.float32}
    assert {name: (value.dtype, value.shape) for name, value in outputs.items()} == dict.fromkeys(
        ("logits", "targets", "gradient_norms", "weights"), (torch.float32, (8,))
    )
    assert scalars["loss"].item() == pytest.approx((scalars["data_loss"] + scalars["penalty"]).item())


def test_metrics_of_scores_by_hand() -> None:
    """Four positives, six negatives; a logit above 0 is called positive."""
    logits = torch.tensor([2.0, 1.0, 0.5, -1.0, 3.0, -2.0, -3.0, -4.0, -5.0, -6.0])
    targets = torch.tensor([1.0] * 4 + [0.0] * 6)
    found = measure_of(options())({"logits": logits, "targets": targets}, "val")
    # Above each positive: one negative, the one of 3.0; so 20 of 24 pairs are in order.
    assert found["auc"] == pytest.approx(20 / 24)
    assert found["precision"] == found["recall"] == 0.75
    assert found["accuracy"] == 0.8
    assert found["predicted_positive"] == 0.4
    assert found["sens_at_95spec"] == 0
    assert found["pauc_normalised"] == pytest.approx(0, abs=1e-12)
    assert found["pauc"] == pytest.approx((1 - 0.005 / 0.095) / 2)
    # |p - t|: 0.119, 0.269, 0.378, 0.731 of the positives.
    assert np.flatnonzero(found["g_positive"]).tolist() == [5, 13, 18, 36]
    assert found["g_positive"].sum() == 4
    assert found["g_negative"].tolist()[:3] == [2 + 1, 0, 1]  # 0.002, 0.007, 0.018 and 0.047
    assert found["g_negative"][47] == 1  # 0.953
    assert found["g_negative"].sum() == 6


def test_the_gradient_norm_of_a_hopeless_mistake_is_in_the_last_bin() -> None:
    found = measure_of(options())({"logits": torch.tensor([-90.0, 90.0]), "targets": torch.tensor([1.0, 0.0])}, "val")
    assert found["g_positive"][49] == found["g_negative"][49] == 1
    assert found["pauc"] == pytest.approx(0.4737, abs=5e-5)


def test_scores_that_are_not_finite_end_the_trial() -> None:
    with pytest.raises(Pruned, match="the val scores are not finite: the training diverged"):
        measure_of(options())({"logits": torch.tensor([0.0, math.nan]), "targets": torch.tensor([0.0, 1.0])}, "val")


def test_ghm_tells_its_statistics_and_weights_by_hand() -> None:
    """Fifteen norms, fourteen of them in the first of ten bins."""
    chosen = options(loss="ghm", bins=10)
    logits, targets = torch.tensor([-4.0] * 14 + [4.0]), torch.tensor([0.0] * 14 + [0.0])
    targets[0], logits[0] = 1.0, 4.0
    criterion = criterion_of(chosen)
    criterion(logits, targets)
    kept = {"gradient_norms": criterion.gradient_norms, "weights": criterion.weights}
    found = measure_of(chosen)({"logits": logits, "targets": targets} | kept, "train")
    assert found["ghm_number"] == 15
    assert found["ghm_evenness"] == pytest.approx(27.85, abs=0.005)
    assert found["ghm_inert"] == 1
    assert found["ghm_most_populated"] == 0
    assert found["ghm_least_populated"] == 1
    assert found["ghm_shares"] == pytest.approx([1400 / 15, *[0] * 8, 100 / 15])
    assert found["ghm_weights"] == pytest.approx([15 / 14 / 2, *[0] * 8, 15 / 2])


def test_the_focal_loss_tells_which_samples_it_came_from() -> None:
    """p_t = 3/4 of one negative and 1/4 of one positive: their 1 - p_t lie in fiftieths 12 and 37."""
    chosen = options(loss="focal", gamma=2.0, alpha=0.75)
    logits = torch.full((2,), -math.log(3))
    found = measure_of(chosen)({"logits": logits, "targets": torch.tensor([0.0, 1.0])}, "train")
    assert [array.tolist() for array in found["focal_count"].nonzero()] == [[0, 1], [12, 37]]
    assert found["focal_ce"][0, 12] == pytest.approx(-math.log(3 / 4))
    assert found["focal_loss"][1, 37] == pytest.approx(-0.75 * (3 / 4) ** 2 * math.log(1 / 4))
    assert (found["focal_gamma"], found["focal_alpha"]) == (2.0, 0.75)
    plain = measure_of(options(loss="bce"))({"logits": logits, "targets": torch.tensor([0.0, 1.0])}, "train")
    assert "focal_count" not in plain


def test_what_is_kept_of_steps_and_epochs(tmp_path: Path) -> None:
    reports = Reports()
    train(trial_in(tmp_path, reports, loss="ghm", bins=5))
    steps, epochs = (np.load(tmp_path / name) for name in (STEPS, EPOCHS))
    assert {"loss", "data_loss", "penalty", "bce", "learning_rate", "gradient_norm", "epoch"} <= set(steps)
    assert {"val_loss", "val_data_loss", "val_penalty", "val_bce", "val_epoch"} <= set(steps)
    assert steps["loss"].shape == (3 * 3,)  # 36 images in batches of 16
    assert epochs["train_g_positive"].shape == epochs["val_g_negative"].shape == (3, 50)
    assert epochs["train_ghm_shares"].shape == epochs["train_ghm_weights"].shape == (3, 5)
    assert (epochs["train_g_positive"].sum(1) == round(36 * 0.3)).all()
    assert (epochs["val_g_negative"].sum(1) == 24 - round(24 * 0.3)).all()
    assert set(reports[1]) >= {f"{split}_{name}" for split in ("train", "val") for name in (
        "loss", "bce", "pauc", "pauc_normalised", "sens_at_95spec", "auc", "precision", "recall", "accuracy",
        "predicted_positive", "ghm_mean", "ghm_median", "ghm_std", "ghm_inert")}  # fmt: skip


@pytest.mark.parametrize(("count", "joining"), [(0, 0), (10, 10), (50, 40)])
def test_what_is_frozen(count: int, joining: int) -> None:
    model = models.build("resnet18", 2)
    frozen = frozen_of(options(backbone="frozen", unfreeze_layers=count, unfreeze_epoch=4), model)
    assert frozen is not None
    assert (len(frozen.staying), len(frozen.joining), frozen.epoch, frozen.factor) == (40 - joining, joining, 4, 0.1)
    assert [*frozen.staying, *frozen.joining] == model.layers()
    if joining == 10:
        assert frozen.joining[-1] is model.backbone.layer4[1].bn2
        assert frozen.joining[0] is model.backbone.layer4[0].conv1
    assert frozen_of(options(), model) is None


def test_a_frozen_backbone_joins_from_its_end(tmp_path: Path) -> None:
    """It starts from given weights, keeps them until its epoch, and its first layers for ever."""
    torch.manual_seed(3)
    given = {name: torch.rand_like(value) if value.is_floating_point() else value for name, value in
             models.build("resnet18", 2).backbone.state_dict().items()}  # fmt: skip
    torch.save(given, tmp_path / "given.pth")
    constants = {**CONSTANTS, "weights": "given.pth", "epochs": 2}

    def changed(folder: str, epoch: int) -> set[str]:
        frozen = {"backbone": "frozen", "unfreeze_layers": 10, "unfreeze_epoch": epoch}
        train(trial_in(tmp_path / folder, Reports(), constants, tmp_path, architecture="resnet18", **frozen))
        kept = weights_of(tmp_path / folder)
        return {name for name, value in given.items() if not torch.equal(kept[f"backbone.{name}"], value)}

    assert changed("never", 3) == set()
    last = changed("at once", 1)
    assert last
    assert all(name.startswith("layer4") for name in last)
    assert "layer4.1.conv2.weight" in last


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"backbone": "half"}, "backbone is 'half'; expected trained or frozen"),
        ({"backbone": "frozen", "unfreeze_epoch": 0}, "unfreeze_epoch is 0; expected a whole number of at least 1"),
        ({"backbone": "frozen", "unfreeze_layers": -1}, "unfreeze_layers is -1; expected a whole number"),
        ({"batch_size": 1}, "batch_size is 1; expected a whole number of at least 2"),
        ({"initialisation": "zeros"}, "initialisation is 'zeros'; expected one of he, glorot"),
        ({"dropout_2": 1.0}, "dropout_2 is 1.0; expected a number from 0"),
        ({"weights": "none.pth"}, r"weights \S+none.pth do not exist"),
        ({"gama": 1.0}, r"gama is not known; .* Did you mean 'gamma'\?"),
    ],
)
def test_options_that_do_not_fit(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train(trial_in(tmp_path, Reports(), **changed))


def test_misspelt_constants_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"constants\.data\.prevalance is not known; .* Did you mean 'prevalence'\?"):
        train(trial_in(tmp_path, Reports(), {"data": {"prevalance": 0.1}}))
    with pytest.raises(ValueError, match=r"constants\.data\.columns\.lable is not known; .* Did you mean 'label'\?"):
        train(trial_in(tmp_path, Reports(), {"data": {"columns": {"lable": "class"}}}))


def test_published_weights_get_the_stem_they_have(tmp_path: Path) -> None:
    """Images of 16 pixels would have the small one."""
    torch.save(models.build("resnet18", 2, stem="standard").backbone.state_dict(), tmp_path / "large.pth")
    torch.save(models.build("resnet18", 2, stem="small").backbone.state_dict(), tmp_path / "small.pth")

    def train_from(name: str, **more: str) -> None:
        constants = {**CONSTANTS, "epochs": 1, "weights": f"{name}.pth", **more}
        folder = tmp_path / "-".join([name, *more])
        train(trial_in(folder, Reports(), constants, tmp_path, architecture="resnet18"))

    train_from("large")
    with pytest.raises(ValueError, match=r"small.pth do not fit .*conv1.weight \(2 x 3 x 3 x 3 in place of 2 x 3 x 7"):
        train_from("small")
    train_from("small", stem="small")


@pytest.mark.parametrize(("n", "sizes"), [(33, [16, 17]), (34, [16, 16, 2]), (32, [16, 16]), (1, [1]), (17, [17])])
def test_no_batch_of_one(n: int, sizes: list[int]) -> None:
    batches = whole_batches(n, 16, 0, 1)
    assert [len(batch) for batch in batches] == sizes
    assert sorted(torch.cat(batches).tolist()) == list(range(n))


def test_it_learns(tmp_path: Path) -> None:
    """AUC on photographs it never saw."""
    data_ = {"images": 300, "image_size": 32, "prevalence": 0.3, "val_fraction": 0.2}
    constants = {"base_width": 8, "epochs": 6, "data": data_, "rotation": 0.0, "shift": 0.05, "dropout_1": 0.0}
    trial = trial_in(tmp_path, Reports(), constants, learning_rate=1e-2)
    train(trial)
    assert evaluate(trial, None)["auc"] > 0.8


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_small_study_finds_glaucoma_and_its_winner_holds_on_its_test_split(tmp_path: Path) -> None:
    result = run(load_spec("glaucoma_small.yaml"), tmp_path)
    assert result.done
    assert result.progress.failed == 0
    assert result.progress.best is not None
    assert result.progress.best > 0.7
    assert score(tmp_path, "glaucoma_small").metrics["auc"] > 0.85


@pytest.mark.slow
def test_pneumonia_is_found_as_well_as_small_models_do(tmp_path: Path) -> None:
    root = Path(os.environ.get("HPO_TEST_DATA") or "unset") / "imbalanced_pneumoniamnist"
    if not root.is_dir():
        pytest.skip("HPO_TEST_DATA names no folder with imbalanced_pneumoniamnist (1,800 chest X-rays)")
    own = {"root": str(root), "image_size": 28, "columns": {"file": "file", "label": "label", "split": "split"}}
    constants = {"base_width": 8, "epochs": 12, "rotation": 10.0, "shift": 0.05, "brightness": 0.1, "flip": False}
    trial = trial_in(tmp_path, Reports(), {**constants, "data": own}, loss="bce", batch_size=32)
    train(trial)
    found = evaluate(trial, None)
    assert found["auc"] > 0.90
    assert found["pauc"] > 0.75


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["auto", "float32", "float16"])
@pytest.mark.parametrize("loss", LOSSES)
def test_on_a_gpu_it_trains_in_each_precision(tmp_path: Path, precision: str, loss: str) -> None:
    reports = Reports()
    trial = trial_in(tmp_path, reports, {**CONSTANTS, "precision": precision}, loss=loss, architecture="resnet18")
    train(trial)
    assert reports[3]["peak_gpu_mib"] > 0
    assert math.isfinite(reports[3]["train_loss"])
    assert 0 <= evaluate(trial, None)["auc"] <= 1
