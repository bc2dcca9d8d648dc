"""Training of one U-Net that finds mitochondria, and scores of the kept weights on held-out slices."""

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
from objectives.losses.own import EXPECTED
from objectives.metrics import overlap
from objectives.micro_batches import Batch, Result
from objectives.mitochondria import data, models
from objectives.mitochondria.augmentation import augment
from objectives.mitochondria.data import Patches, Segmentation
from objectives.mitochondria.files import read_images
from objectives.mitochondria.predictions import levels, predictions, probabilities
from objectives.mitochondria.tiles import joined, tiled
from objectives.options import OWN_LOSS
from objectives.task import Evaluation, Task, Trained
from objectives.training import LOOP_DEFAULTS, Losses, Metrics, Problem, channels_last, draws, shuffled, to_device

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
LOSSES = ("bce", "focal", "dice", "bce_dice")
# Validation keeps no gradients, so it can take larger batches than training.
EVALUATION_BATCH = 32


def train(trial: Trial) -> dict[str, float]:
    """Train a U-Net on the slices of a study, or on generated ones if there is no data.root.

    Each epoch reports train_loss, val_loss, val_jaccard and val_dice (pooled over all pixels), val_image_jaccard (the
    mean over patches), and what the training loop adds.

    Args:
        trial: Its parameters and constants are those of DEFAULTS, whichever of the two; all may be left out. loss is
            "bce", "focal" (with gamma and alpha), "dice", "bce_dice" or a loss of the user's own.

    Returns:
        The metrics of the epoch of the best val_jaccard.
    """
    return Mitochondria(trial).train()


def evaluate(trial: Trial, folder: Path | None) -> dict[str, Any]:
    """Score the kept weights on held-out slices: loss, jaccard, dice, image_jaccard. See `Task.evaluate`."""
    return Mitochondria(trial).evaluate(folder)


def validate(trial: Trial) -> dict[str, Any]:
    """Score the kept weights on the validation slices, as `evaluate` does on held-out ones."""
    return Mitochondria(trial).validate()


def predict(trial: Trial, split: str, folder: Path | None) -> Iterator[dict[str, Any]]:
    """Return what the kept weights say of each pixel, of patches or of whole new slices. See `Task.predict`."""
    return Mitochondria(trial).predict(split, folder)


def check_data(trial: Trial) -> str:
    """Load the data as `train` does, and return what they are; ValueError if they are wrong."""
    return Mitochondria(trial).dataset.summary


def load(path: Path, device: str = "cpu") -> Trained:
    """Return the U-Net of a weights.pt; `scaled` takes grey levels 0 to 255, (n, 1, H, W)."""
    return Mitochondria.from_weights(path, device)


class Mitochondria(Task[Segmentation, Patches, nn.Module]):
    """A trial of the segmentation of mitochondria."""

    defaults = DEFAULTS
    monitor = "val_jaccard"
    no_test = "there is neither test_images with test_masks nor a data.test_fraction"

    def load(self, root: Path | None) -> Segmentation:
        """Load the patches of each split."""
        return data.load(**{**self.options["data"], "root": root})

    def inputs_of(self, dataset: Segmentation) -> dict[str, Any]:
        """Return mean and standard deviation of the training slices' grey levels on the scale 0 to 1."""
        return {"mean": dataset.mean, "std": dataset.std}

    def validation_split(self) -> Patches:
        """Return the validation patches of the study's data."""
        return self.dataset.val

    def test_split(self) -> Patches | None:
        """Return the test patches of the study's data."""
        return self.dataset.test

    def load_held_out(self, folder: Path) -> Patches:
        """Load held-out slices in one of the layouts of `data.load_folder`."""
        options = self.options["data"]
        return data.load_folder(folder, options["patch_size"], options["mask_threshold"])

    def build(self) -> nn.Module:
        """Build the U-Net."""
        return channels_last(models.build(self.options["architecture"], self.options["base_width"]))

    def problem(self, model: nn.Module) -> Problem:
        """Return the augmented patches of an epoch, and what measures them."""
        images, masks = to_device([self.dataset.train.images, self.dataset.train.masks], self.device)
        val_images, val_masks = to_device([self.dataset.val.images, self.dataset.val.masks], self.device)
        validation = Patches(val_images, val_masks, self.dataset.val.slice_of)

        def batches(epoch: int) -> Iterator[Batch]:
            generator = draws(self.trial.seed, epoch)
            for rows in shuffled(len(images), self.options["batch_size"], self.trial.seed, epoch):
                rows = rows.to(images.device)
                targets = masks[rows].to(self.device).float()
                yield augment(self.scaled(images[rows]), targets, generator, **self.options["augmentation"])

        return Problem(
            batches,
            lambda: self._held_out(validation),
            _losses(self.options),
            measure_of(self.options),
            self.options.get(OWN_LOSS),
        )

    def evaluation(self, model: nn.Module, held_out: Patches) -> Evaluation:
        """Return held-out patches with the losses and metrics of training."""
        return Evaluation(
            self._held_out(held_out),
            _losses(self.options, probabilities=True),
            measure_of(self.options),
            lambda outputs: predictions(outputs, held_out),
        )

    def _held_out(self, patches: Patches) -> Iterator[Batch]:
        for start in range(0, len(patches.images), EVALUATION_BATCH):
            part = slice(start, start + EVALUATION_BATCH)
            yield self.scaled(patches.images[part]), patches.masks[part].to(self.device).float()

    def inputs_in(self, held_out: Patches) -> Iterator[tuple[Tensor, ...]]:
        """Return held-out patches, scaled."""
        return (batch[:1] for batch in self._held_out(held_out))

    def answers(self, model: nn.Module, *inputs: Tensor) -> dict[str, Any]:
        """Return the probability of each pixel, (n, P, P), on the same side of one half as its logit."""
        return {"score": probabilities(model(*inputs)[:, 0])}

    def truths(self, held_out: Patches) -> dict[str, Any]:
        """Return the masks of held-out patches, and the slice of each."""
        about = {"items": "pixels", "groups": "slices"}
        return {"target": held_out.masks[:, 0], "group": held_out.slice_of, "about": about}

    def predict_new(self, model: nn.Module, folder: Path) -> Iterator[dict[str, Any]]:
        """Return the probabilities of whole slices, one at a time."""
        images, names = read_images(folder)
        size = self.options["data"]["patch_size"]
        for image, name in zip(images, names, strict=True):
            tiles, places = tiled(image, size)
            batches = map(self.scaled, torch.split(tiles, EVALUATION_BATCH))
            scores = torch.cat([self.answers(model, batch)["score"].cpu() for batch in batches])
            yield {"name": [name], "score": joined(scores, places, image.shape)[None]}

    def scaled(self, *raw: Tensor) -> Tensor:
        """Scale patches of grey levels 0 to 255 to mean 0 and standard deviation 1 over the training slices."""
        (patches,) = raw
        grey = patches.to(self.device, non_blocking=True).float() / 255
        scaled: Tensor = (grey - self.inputs["mean"]) / self.inputs["std"]
        return scaled


def loss_of(options: Mapping[str, Any], logits: Tensor, targets: Tensor) -> Tensor:
    """Return the loss that the options name, 0-d; in float32, whatever the precision of the logits.

    Raises:
        ValueError: There is no loss of that name.
    """
    logits, name = logits.float(), options["loss"]
    if (own := options.get(OWN_LOSS)) is not None:
        found: Tensor = own(logits, targets)
        return found
    if name == "bce":
        return F.binary_cross_entropy_with_logits(logits, targets)
    if name == "focal":
        return binary_focal_loss(logits, targets, options["gamma"], options["alpha"])
    if name == "dice":
        return dice_loss(logits, targets)
    if name == "bce_dice":
        return bce_dice_loss(logits, targets)
    raise ValueError(f"loss is {name!r}; expected {', '.join(LOSSES[:-1])} or {LOSSES[-1]}, or {EXPECTED}")


def measure_of(options: Mapping[str, Any]) -> Metrics:
    """Return the metrics of one split, from outputs with a row a patch.

    From `predicted` and `target`, (n, 1, P, P) bool, which training does not give: jaccard and dice pooled over all
    pixels, and image_jaccard, the mean over patches. From the pixels of either split under the focal loss, arrays:
    those of `focal_arrays`.
    """

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


def _losses(options: Mapping[str, Any], probabilities: bool = False) -> Losses:
    def losses(network: nn.Module, batch: Batch) -> Result:
        inputs, targets = batch
        logits = network(inputs)
        found = {"loss": loss_of(options, logits, targets)}
        outputs: dict[str, Tensor] = {}
        if options["loss"] == "focal":
            outputs["by_difficulty"] = by_difficulty(logits, targets, options["gamma"], options["alpha"])
        if not network.training:
            outputs |= {"predicted": logits > 0, "target": targets > 0.5}  # a probability above 0.5
        if probabilities:
            outputs["level"] = levels(logits)
        return found, outputs

    return losses
