"""Train one U-Net to find mitochondria, and score the kept weights on held-out slices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hpo.trial import Trial
from objectives.losses.dice import bce_dice_loss, dice_loss
from objectives.losses.focal import binary_focal_loss, by_difficulty, focal_arrays
from objectives.metrics import overlap
from objectives.mitochondria import data, models
from objectives.mitochondria.augmentation import augment
from objectives.mitochondria.data import Patches, Segmentation
from objectives.options import chosen
from objectives.recording import WEIGHTS, load_weights, write_data
from objectives.training import (
    LOOP_DEFAULTS,
    Batch,
    Metrics,
    Settings,
    draws,
    fit,
    pick_device,
    score,
    settings_in,
    shuffled,
    to_device,
)

DEFAULTS: dict[str, Any] = {
    **LOOP_DEFAULTS,
    "architecture": "unet",
    "base_width": 64,
    "batch_size": 16,
    "loss": "bce_dice",
    "gamma": 2.0,
    "alpha": 0.25,
    "learning_rate": 1e-3,
    "epochs": 40,
    "settle_batches": 16,
    "augmentation": {"flip": True, "brightness": 0.1, "contrast": 0.2},
    "data": {
        "root": None,
        "patch_size": 256,
        "val_fraction": 0.2,
        "test_fraction": 0.0,
        "mask_threshold": None,
        "seed": 0,
        "slices": 16,
        "height": 256,
        "width": 256,
    },
}
# Validation keeps no gradients, so it can take larger batches than training.
EVALUATION_BATCH = 32


def train(trial: Trial) -> dict[str, float]:
    """Parameters and constants: those of DEFAULTS, whichever of the two; all may be left out, and without data.root
    the slices are generated. loss: "bce", "focal" (with gamma and alpha), "dice" or "bce_dice".

    Reports train_loss, val_loss, val_jaccard and val_dice (pooled over all pixels), val_image_jaccard (the mean
    over patches) and what `objectives.training.fit` adds; returns those of the epoch of the best val_jaccard."""
    options = chosen(trial, DEFAULTS)
    dataset = _load(trial.root, options["data"])
    print(dataset.summary, flush=True)
    write_data(trial.directory, dataset.fingerprints)
    device = pick_device()
    images, masks = to_device([dataset.train.images, dataset.train.masks], device)
    validation = Patches(*to_device([dataset.val.images, dataset.val.masks], device), dataset.val.slice_of)

    torch.manual_seed(trial.seed)
    model = _model(options).to(device, memory_format=torch.channels_last)

    def batches(epoch: int) -> Iterator[Batch]:
        generator = draws(trial.seed, epoch)
        for rows in shuffled(len(images), options["batch_size"], trial.seed, epoch):
            rows = rows.to(images.device)
            inputs = _scaled(images[rows], dataset, device)
            yield augment(inputs, masks[rows].to(device).float(), generator, **options["augmentation"])

    settings = Settings(monitor="val_jaccard", maximize=True, **settings_in(options))
    return fit(
        trial, model, settings, batches, lambda: _held_out(validation, dataset, device), _losses(options),
        measure_of(options),
    )  # fmt: skip


def evaluate(trial: Trial, folder: Path | None) -> dict[str, float]:
    """Score the weights that `train` kept in `trial.directory`: loss, jaccard, dice, image_jaccard.

    folder: held-out slices in one of the layouts of `data.load_folder`; None: the test split of the study's own
    data. Raises FileNotFoundError without weights, ValueError when there is no test split."""
    options = chosen(trial, DEFAULTS)
    dataset = _load(trial.root, options["data"])
    patches = dataset.test
    if folder is not None:
        patches = data.load_folder(folder, options["data"]["patch_size"], options["data"]["mask_threshold"])
    if patches is None:
        raise ValueError(
            "the study's data has no test split: there is neither test_images with test_masks nor a data.test_fraction"
        )
    device = pick_device()
    model = _model(options).to(device, memory_format=torch.channels_last)
    model.load_state_dict(load_weights(trial.directory / WEIGHTS, device)["model"])
    return score(model, _held_out(patches, dataset, device), _losses(options), measure_of(options))


def loss_of(options: Mapping[str, Any], logits: Tensor, targets: Tensor) -> Tensor:
    """The loss that `options` name, a scalar; in float32, whatever the precision of the logits.

    Raises ValueError for an unknown name."""
    logits, name = logits.float(), options["loss"]
    if name == "bce":
        return F.binary_cross_entropy_with_logits(logits, targets)
    if name == "focal":
        return binary_focal_loss(logits, targets, options["gamma"], options["alpha"])
    if name == "dice":
        return dice_loss(logits, targets)
    if name == "bce_dice":
        return bce_dice_loss(logits, targets)
    raise ValueError(f"loss is {name!r}; expected bce, focal, dice or bce_dice")


def measure_of(options: Mapping[str, Any]) -> Metrics:
    """The metrics of one split, from outputs with a row a patch. From predicted and target, (n, 1, P, P) bool, which
    training does not give: jaccard and dice pooled over all pixels, image_jaccard the mean over patches. Arrays, from
    the pixels of either split under the focal loss: those of `focal_arrays`."""

    def measure(outputs: Mapping[str, Tensor], split: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if "predicted" in outputs:
            masks = outputs["predicted"], outputs["target"]
            found["jaccard"] = overlap.jaccard(*masks)
            found["dice"] = overlap.dice(*masks)
            found["image_jaccard"] = overlap.mean_image_jaccard(*masks)
        if "by_difficulty" in outputs:
            found |= focal_arrays(outputs["by_difficulty"], options["gamma"], options["alpha"])
        return found

    return measure


def _losses(options: Mapping[str, Any]) -> Any:
    def losses(network: nn.Module, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        inputs, targets = batch
        logits = network(inputs)
        found = {"loss": loss_of(options, logits, targets)}
        outputs: dict[str, Tensor] = {}
        if options["loss"] == "focal":
            outputs["by_difficulty"] = by_difficulty(logits, targets, options["gamma"], options["alpha"])
        if not network.training:
            outputs |= {"predicted": logits > 0, "target": targets > 0.5}  # a probability above 0.5
        return found, outputs

    return losses


def _held_out(patches: Patches, dataset: Segmentation, device: torch.device) -> Iterator[Batch]:
    splits = zip(patches.images.split(EVALUATION_BATCH), patches.masks.split(EVALUATION_BATCH), strict=True)
    for images, masks in splits:
        yield _scaled(images, dataset, device), masks.to(device).float()


def _load(root: Path, options: Mapping[str, Any]) -> Segmentation:
    given = options["root"]
    return data.load(**{**options, "root": root / given if given is not None else None})


def _model(options: Mapping[str, Any]) -> nn.Module:
    return models.build(options["architecture"], options["base_width"])


def _scaled(raw: Tensor, dataset: Segmentation, device: torch.device) -> Tensor:
    """uint8 patches as floats of mean 0 and standard deviation 1 over the training slices."""
    return (raw.to(device, non_blocking=True).float() / 255 - dataset.mean) / dataset.std
