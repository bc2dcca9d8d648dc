"""Train one U-Net to find mitochondria, and score the kept weights on held-out slices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hpo.trial import Trial
from objectives.losses.dice import dice_loss
from objectives.losses.focal import binary_focal_loss
from objectives.metrics.overlap import Overlap
from objectives.mitochondria import data, models
from objectives.mitochondria.augmentation import augment
from objectives.mitochondria.data import Patches, Segmentation
from objectives.training import (
    WEIGHTS,
    Settings,
    fit,
    load_weights,
    pick_device,
    settings_in,
    shuffled,
    to_device,
    with_defaults,
)

DEFAULTS: dict[str, Any] = {
    "base_width": 64,
    "epochs": 40,
    "patience": None,
    "weight_decay": 0.01,
    "schedule": "constant",
    "settle_batches": 16,
    "precision": "auto",
    "compile": False,
    "checkpoint_every": 1,
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
    """params: architecture, learning_rate, batch_size, loss ("bce", "focal" with gamma and alpha, "dice",
    "bce_dice"); base_width, if it is searched. constants: those of DEFAULTS; all may be left out, and without
    data.root the slices are generated.

    Reports train_loss, val_loss, val_jaccard and val_dice (pooled over all pixels), val_image_jaccard (the mean
    over patches) and what `objectives.training.fit` adds; returns those of the epoch of the best val_jaccard."""
    params, constants = trial.params, with_defaults(trial.constants, DEFAULTS)
    dataset = _load(trial.root, constants["data"])
    print(dataset.summary, flush=True)
    device = pick_device()
    images, masks = to_device([dataset.train.images, dataset.train.masks], device)
    validation = Patches(*to_device([dataset.val.images, dataset.val.masks], device), dataset.val.slice_of)

    torch.manual_seed(trial.seed)
    model = _model(params, constants).to(device, memory_format=torch.channels_last)

    def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        draws = torch.Generator().manual_seed(trial.seed * 1_000_003 + epoch)
        for chosen in shuffled(len(images), params["batch_size"], trial.seed, epoch):
            chosen = chosen.to(images.device)
            inputs = _scaled(images[chosen], dataset, device)
            yield augment(inputs, masks[chosen].to(device).float(), draws, **constants["augmentation"])

    def losses(network: nn.Module, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        inputs, targets = batch
        return {"loss": loss_of(params, network(inputs), targets)}

    def validate(network: nn.Module) -> dict[str, float]:
        return {f"val_{name}": value for name, value in measure(network, validation, dataset, params, device).items()}

    settings = Settings(params["learning_rate"], monitor="val_jaccard", maximize=True, **settings_in(constants))
    return fit(trial, model, settings, batches, losses, validate)


def evaluate(trial: Trial, folder: Path | None) -> dict[str, float]:
    """Score the weights that `train` kept in `trial.directory`: loss, jaccard, dice, image_jaccard.

    folder: held-out slices in one of the layouts of `data.load_folder`; None: the test split of the study's own
    data. Raises FileNotFoundError without weights, ValueError when there is no test split."""
    constants = with_defaults(trial.constants, DEFAULTS)
    dataset = _load(trial.root, constants["data"])
    patches = dataset.test
    if folder is not None:
        patches = data.load_folder(folder, constants["data"]["patch_size"], constants["data"]["mask_threshold"])
    if patches is None:
        raise ValueError(
            "the study's data has no test split: there is neither test_images with test_masks nor a data.test_fraction"
        )
    device = pick_device()
    model = _model(trial.params, constants).to(device, memory_format=torch.channels_last)
    model.load_state_dict(load_weights(trial.directory / WEIGHTS, device)["model"])
    model.eval()
    with torch.no_grad():
        return measure(model, patches, dataset, trial.params, device)


def loss_of(params: Mapping[str, Any], logits: Tensor, targets: Tensor) -> Tensor:
    """The loss that `params` name, a scalar; in float32, whatever the precision of the logits.

    Raises ValueError for an unknown name."""
    logits, name = logits.float(), params["loss"]
    if name == "bce":
        return F.binary_cross_entropy_with_logits(logits, targets)
    if name == "focal":
        return binary_focal_loss(logits, targets, params["gamma"], params["alpha"])
    if name == "dice":
        return dice_loss(logits, targets)
    if name == "bce_dice":
        return F.binary_cross_entropy_with_logits(logits, targets) + dice_loss(logits, targets)
    raise ValueError(f"loss is {name!r}; expected bce, focal, dice or bce_dice")


def measure(
    network: nn.Module, patches: Patches, dataset: Segmentation, params: Mapping[str, Any], device: torch.device
) -> dict[str, float]:
    """loss (the mean over patches), jaccard and dice pooled over all pixels, image_jaccard the mean over patches."""
    overlap, total = Overlap(), torch.zeros((), device=device)
    splits = zip(patches.images.split(EVALUATION_BATCH), patches.masks.split(EVALUATION_BATCH), strict=True)
    for images, masks in splits:
        targets = masks.to(device)
        logits = network(_scaled(images, dataset, device))
        total += loss_of(params, logits, targets.float()) * len(images)
        overlap.add(logits > 0, targets)  # a probability above 0.5
    return {
        "loss": float(total) / len(patches.images),
        "jaccard": overlap.jaccard(),
        "dice": overlap.dice(),
        "image_jaccard": overlap.mean_image_jaccard(),
    }


def _load(root: Path, options: Mapping[str, Any]) -> Segmentation:
    given = options["root"]
    return data.load(**{**options, "root": root / given if given is not None else None})


def _model(params: Mapping[str, Any], constants: Mapping[str, Any]) -> nn.Module:
    return models.build(params["architecture"], params.get("base_width", constants["base_width"]))


def _scaled(raw: Tensor, dataset: Segmentation, device: torch.device) -> Tensor:
    """uint8 patches as floats of mean 0 and standard deviation 1 over the training slices."""
    return (raw.to(device, non_blocking=True).float() / 255 - dataset.mean) / dataset.std
