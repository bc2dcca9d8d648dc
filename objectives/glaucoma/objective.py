"""Training of one classifier that finds the few positive photographs, and scores of the kept weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from hpo.trial import Pruned, Trial
from objectives.glaucoma import data, models
from objectives.glaucoma.augmentation import augment
from objectives.glaucoma.data import Screening
from objectives.losses.focal import binary_focal_loss, by_difficulty, focal_arrays
from objectives.losses.ghm import GHMC, gradient_statistics, histogram
from objectives.losses.own import EXPECTED
from objectives.losses.weighted_bce import weighted_bce_loss
from objectives.metrics import screening
from objectives.micro_batches import Batch, Result
from objectives.options import OWN_LOSS, hashable
from objectives.task import Evaluation, Task, Trained
from objectives.training import (
    LOOP_DEFAULTS,
    Frozen,
    Losses,
    Metrics,
    Problem,
    channels_last,
    draws,
    shuffled,
    to_device,
)

DEFAULTS: dict[str, Any] = {
    **LOOP_DEFAULTS,
    "architecture": "resnet18",
    "base_width": 64,
    "stem": "auto",
    "initialisation": "he",
    "weights": None,
    "backbone": "trained",
    "unfreeze_epoch": 5,
    "unfreeze_layers": 50,
    "dropout_1": 0.3,
    "dropout_2": 0.3,
    "dropout_3": 0.2,
    "l2": 0.0005,
    "loss": "focal",
    "gamma": 1.5,
    "alpha": 0.75,
    "positive_weight": 8.0,
    "bins": 10,
    "momentum": 0.0,
    "rotation": 15.0,
    "shift": 0.1,
    "brightness": 0.2,
    "flip": True,
    "batch_size": 32,
    "learning_rate": 1e-4,
    "weight_decay": 0.0,
    "epochs": 15,
    "schedule": "plateau",
    "data": {
        "root": None,
        "image_size": 64,
        "val_fraction": 0.2,
        "test_fraction": 0.0,
        "labels": None,
        "columns": {"file": None, "label": None, "patient": None, "split": None},
        "ignore_extra": False,
        "seed": 0,
        "images": 2000,
        "prevalence": 0.03,
    },
}
ABOUT: dict[str, Any] = {"items": "photographs", "positive": "RG", "threshold": 0.5}
LOSSES = ("bce", "focal", "weighted_bce", "ghm")
SMALL_IMAGE = 64  # pixels, below which the usual stem would leave next to nothing for the last stage
HISTOGRAM = 50  # bins of the gradient norms that are kept of every epoch
# Validation keeps no gradients, so it can take larger batches than training.
EVALUATION_BATCH = 64


def train(trial: Trial) -> dict[str, float]:
    """Train a classifier on the photographs of a study, or on generated ones if there is no data.root.

    Each epoch reports, for train and for val, the losses loss = data_loss + penalty and the plain bce, the metrics of
    `measure_of`, and what the training loop adds.

    Args:
        trial: Its parameters and constants are those of DEFAULTS, whichever of the two; all may be left out. loss is
            "bce", "focal" (with gamma and alpha), "weighted_bce" (with positive_weight), "ghm" (with bins and
            momentum) or a loss of the user's own. backbone is "trained" or "frozen" (with unfreeze_epoch and
            unfreeze_layers).

    Returns:
        The metrics of the epoch of the best val_pauc.
    """
    return Glaucoma(trial).train()


def evaluate(trial: Trial, folder: Path | None) -> dict[str, Any]:
    """Score the kept weights on held-out photographs: losses and metrics of `measure_of`. See `Task.evaluate`."""
    return Glaucoma(trial).evaluate(folder)


def validate(trial: Trial) -> dict[str, Any]:
    """Score the kept weights on the validation photographs, as `evaluate` does on held-out ones."""
    return Glaucoma(trial).validate()


def predict(trial: Trial, split: str, folder: Path | None) -> Iterator[dict[str, Any]]:
    """Return what the kept weights say of each photograph: how likely glaucoma is. See `Task.predict`."""
    return Glaucoma(trial).predict(split, folder)


def check_data(trial: Trial) -> str:
    """Load the data as `train` does, and return what they are; ValueError if they are wrong."""
    return Glaucoma(trial).dataset.summary


def load(path: Path, device: str = "cpu") -> Trained:
    """Return the network of a weights.pt; `scaled` takes colours 0 to 255, (n, 3, S, S)."""
    return Glaucoma.from_weights(path, device)


@dataclass(frozen=True)
class Photos:
    """Photographs to score.

    Attributes:
        images: (n, 3, S, S) uint8.
        labels: (n,) float32.
        rows: The rows that count, int64.
        patients: The patient of each of the n, or None where it is not known.
    """

    images: Tensor
    labels: Tensor
    rows: Tensor
    patients: NDArray[np.str_] | None


class Glaucoma(Task[Screening, Photos, models.Classifier]):
    """A trial of the screening for glaucoma."""

    defaults = DEFAULTS
    monitor = "val_pauc"
    no_test = "there is neither a column of splits with test in it nor a data.test_fraction"

    def check_options(self) -> None:
        """Raise ValueError for a batch size below 2: the head normalises over the batch."""
        size = self.options["batch_size"]
        if not isinstance(size, int) or size < 2:
            raise ValueError(f"batch_size is {size!r}; expected a whole number of at least 2")

    def load(self, root: Path | None) -> Screening:
        """Load the photographs of all splits."""
        return data.load(**{**self._data_options(), "root": root})

    def inputs_of(self, dataset: Screening) -> dict[str, Any]:
        """Return mean and standard deviation of the training images' colours on the scale 0 to 1."""
        return {"mean": dataset.mean, "std": dataset.std}

    def validation_split(self) -> Photos:
        """Return the validation photographs of the study's data."""
        return self._photos(self.dataset.val)

    def test_split(self) -> Photos | None:
        """Return the test photographs of the study's data."""
        return None if self.dataset.test is None else self._photos(self.dataset.test)

    def _photos(self, rows: Tensor) -> Photos:
        return Photos(self.dataset.images, self.dataset.labels, rows, self.dataset.patients)

    def load_held_out(self, folder: Path) -> Photos:
        """Load held-out photographs as `data.load_folder` takes them."""
        options = self._data_options()
        names = ("image_size", "labels", "columns", "ignore_extra")
        images, labels, patients = data.load_folder(folder, **{name: options[name] for name in names})
        return Photos(images, labels, torch.arange(len(images)), patients)

    def build(self) -> models.Classifier:
        """Build the classifier, its weights drawn from the trial's seed."""
        options, stem = self.options, self.options["stem"]
        if stem == "auto":  # Published weights have the usual one.
            large = options["weights"] is not None or options["data"]["image_size"] >= SMALL_IMAGE
            stem = "standard" if large else "small"
        dropouts = [options[f"dropout_{index}"] for index in (1, 2, 3)]
        shape = options["architecture"], options["base_width"]
        return channels_last(models.build(*shape, dropouts, options["initialisation"], stem, self.seed))

    def load_initial_weights(self, model: models.Classifier) -> None:
        """Load the weights of the backbone that the options name, if any."""
        if self.options["weights"] is not None:
            models.load_backbone(model.backbone, self.trial.root / Path(self.options["weights"]).expanduser())

    def problem(self, model: models.Classifier) -> Problem:
        """Return the augmented photographs of an epoch, and what measures them."""
        images, labels = to_device([self.dataset.images, self.dataset.labels], self.device)
        changes = [self.options[name] for name in ("rotation", "shift", "brightness", "flip")]
        criterion = criterion_of(self.options)

        def batches(epoch: int) -> Iterator[Batch]:
            generator = draws(self.trial.seed, epoch)
            for part in whole_batches(len(self.dataset.train), self.options["batch_size"], self.trial.seed, epoch):
                rows = self.dataset.train[part].to(images.device)
                inputs = images[rows].to(self.device, non_blocking=True).float() / 255
                yield self._standardised(augment(inputs, generator, *changes)), labels[rows].to(self.device)

        return Problem(
            batches,
            lambda: self._held_out(Photos(images, labels, self.dataset.val, None)),
            losses_of(self.options, model, criterion),
            measure_of(self.options),
            criterion if isinstance(criterion, nn.Module) else None,
            frozen_of(self.options, model),
        )

    def evaluation(self, model: models.Classifier, held_out: Photos) -> Evaluation:
        """Return held-out photographs with the losses and metrics of training."""
        # GHM counts the density of gradients anew in each batch: that of the training is not kept with the weights.
        criterion = criterion_of(self.options | {"momentum": 0.0})
        losses = losses_of(self.options, model, criterion)
        batches = self._held_out(held_out)
        return Evaluation(batches, losses, measure_of(self.options), lambda outputs: predictions(outputs, held_out))

    def _held_out(self, photos: Photos) -> Iterator[Batch]:
        rows = photos.rows.to(photos.images.device)
        for start in range(0, len(rows), EVALUATION_BATCH):
            part = rows[start : start + EVALUATION_BATCH]
            yield self.scaled(photos.images[part]), photos.labels[part].to(self.device)

    def inputs_in(self, held_out: Photos) -> Iterator[tuple[Tensor, ...]]:
        """Return held-out photographs, scaled."""
        return (batch[:1] for batch in self._held_out(held_out))

    def answers(self, model: models.Classifier, *inputs: Tensor) -> dict[str, Any]:
        """Return the probability of referable glaucoma, (n,)."""
        return {"score": model(*inputs).double().sigmoid()}

    def truths(self, held_out: Photos) -> dict[str, Any]:
        """Return the classes of held-out photographs, and the patient of each where he is known."""
        found: dict[str, Any] = {"target": held_out.labels[held_out.rows] > 0.5, "about": dict(ABOUT)}
        if held_out.patients is not None:
            found["group"] = held_out.patients[held_out.rows.cpu().numpy()]
            found["about"]["groups"] = "patients"
        return found

    def new_inputs(self, folder: Path) -> Iterator[tuple[list[str], tuple[Tensor, ...]]]:
        """Return the photographs of a folder."""
        for names, images in data.new_images(folder, self.options["data"]["image_size"], EVALUATION_BATCH):
            yield names, (self.scaled(images),)

    def scaled(self, *raw: Tensor) -> Tensor:
        """Scale colours 0 to 255 to mean 0 and standard deviation 1 over the training images."""
        (images,) = raw
        return self._standardised(images.to(self.device, non_blocking=True).float() / 255)

    def _standardised(self, images: Tensor) -> Tensor:
        """Do the same with colours from 0 to 1."""
        mean, std = (self.inputs[name].to(images.device).view(1, 3, 1, 1) for name in ("mean", "std"))
        scaled: Tensor = ((images - mean) / std).contiguous(memory_format=torch.channels_last)
        return scaled

    def _data_options(self) -> dict[str, Any]:
        options = self.options["data"]
        return {**options, "columns": hashable(options["columns"])}


Criterion = Callable[[Tensor, Tensor], Tensor]


def criterion_of(options: Mapping[str, Any]) -> Criterion:
    """Return the loss that the options name, a function of logits (n,) float32 and targets (n,) to a 0-d tensor.

    It is a module if it has a state.

    Raises:
        ValueError: There is no loss of that name.
    """
    name = options["loss"]
    if (own := options.get(OWN_LOSS)) is not None:
        criterion: Criterion = own
        return criterion
    if name == "bce":
        return F.binary_cross_entropy_with_logits
    if name == "focal":
        return lambda logits, targets: binary_focal_loss(logits, targets, options["gamma"], options["alpha"])
    if name == "weighted_bce":
        return lambda logits, targets: weighted_bce_loss(logits, targets, options["positive_weight"])
    if name == "ghm":
        return GHMC(options["bins"], options["momentum"])
    raise ValueError(f"loss is {name!r}; expected one of {', '.join(LOSSES)}, or {EXPECTED}")


def losses_of(options: Mapping[str, Any], model: models.Classifier, criterion: Criterion) -> Losses:
    """Return the losses of a batch: loss = data_loss + penalty, and bce.

    The cross-entropy without any weight, bce, compares trainings whose losses do not compare. Outputs are logits and
    targets (n,), and under GHM gradient_norms and weights (n,).
    """

    def losses(network: nn.Module, batch: Batch) -> Result:
        images, targets = batch
        logits = network(images).float()
        data_loss, penalty = criterion(logits, targets), options["l2"] * model.penalty()
        bce = F.binary_cross_entropy_with_logits(logits, targets)
        scalars = {"loss": data_loss + penalty, "data_loss": data_loss, "penalty": penalty, "bce": bce}
        outputs = {"logits": logits, "targets": targets}
        if isinstance(criterion, GHMC):
            outputs |= {"gradient_norms": criterion.gradient_norms, "weights": criterion.weights}
        return scalars, outputs

    return losses


def measure_of(options: Mapping[str, Any]) -> Metrics:
    """Return the metrics of one split.

    They are: pauc, pauc_normalised: the area under the ROC curve from 90 to 100 % specificity, as McClish standardises
    it and as a mean sensitivity; sens_at_95spec; auc; at a probability of 0.5 precision, recall, accuracy and
    predicted_positive, the share that is called positive.

    Arrays are: g_positive and g_negative (50,), how many of either class have a gradient norm |p - t| in each fiftieth
    from 0 to 1. Under GHM: the statistics of the gradient norms as ghm_<name>, ghm_shares and ghm_weights (bins,), the
    mean weight in each bin, 0 where it is empty, and ghm_momentum. Under the focal loss: those of `focal_arrays`.
    """

    def measure(outputs: Mapping[str, Tensor], split: str) -> dict[str, Any]:
        logits, positive = outputs["logits"].double(), outputs["targets"] > 0.5
        if not logits.isfinite().all():
            raise Pruned(f"the {split} scores are not finite: the training diverged")
        norms = torch.where(positive, -logits, logits).sigmoid()  # |p - t|, also where 1 - p would be rounded to 0
        truth, scores, called = positive.numpy(), logits.numpy(), (logits > 0).numpy()
        found: dict[str, Any] = {
            "pauc": screening.partial_auc(truth, scores),
            "pauc_normalised": screening.partial_auc_normalised(truth, scores),
            "sens_at_95spec": screening.sensitivity_at_specificity(truth, scores),
            "auc": screening.auc(truth, scores),
            "precision": screening.precision(truth, called),
            "recall": screening.recall(truth, called),
            "accuracy": float((called == truth).mean()),
            "predicted_positive": float(called.mean()),
            "g_positive": histogram(norms[positive], HISTOGRAM)[1].numpy(),
            "g_negative": histogram(norms[~positive], HISTOGRAM)[1].numpy(),
        }
        if options["loss"] == "ghm":
            statistics = gradient_statistics(outputs["gradient_norms"], options["bins"])
            found |= {f"ghm_{name}": value for name, value in statistics.items()}
            found["ghm_weights"] = _mean_weights(outputs["gradient_norms"], outputs["weights"], options["bins"])
            found["ghm_momentum"] = np.array(float(options["momentum"]))
        if options["loss"] == "focal":
            gamma, alpha = options["gamma"], options["alpha"]
            found |= focal_arrays(by_difficulty(logits[None], outputs["targets"][None], gamma, alpha), gamma, alpha)
        return found

    return measure


def predictions(outputs: Mapping[str, Tensor], photos: Photos) -> dict[str, Any]:
    """Return the table of photographs with their classes and probabilities, in the order of their rows."""
    columns = {"target": outputs["targets"].numpy() > 0.5, "score": outputs["logits"].double().sigmoid().numpy()}
    about = dict(ABOUT)
    if photos.patients is not None:
        columns["group"] = photos.patients[photos.rows.cpu().numpy()]
        about["groups"] = "patients"
    return {"predictions": columns, "about": about}


def _mean_weights(norms: Tensor, weights: Tensor, bins: int) -> NDArray[np.float64]:
    index, counts = histogram(norms, bins)
    sums = torch.zeros(bins, dtype=torch.float64).scatter_add_(0, index, weights.double())
    means: NDArray[np.float64] = (sums / counts.clamp(min=1)).numpy()
    return means


def frozen_of(options: Mapping[str, Any], model: models.Classifier) -> Frozen | None:
    """Return the modules of the backbone that do not train, and the epoch from which its last layers do.

    Raises:
        ValueError: An option is out of its range.
    """
    if options["backbone"] == "trained":
        return None
    if options["backbone"] != "frozen":
        raise ValueError(f"backbone is {options['backbone']!r}; expected trained or frozen")
    epoch, count, layers = options["unfreeze_epoch"], options["unfreeze_layers"], model.layers()
    for name, value, least in (("unfreeze_epoch", epoch, 1), ("unfreeze_layers", count, 0)):
        if not isinstance(value, int) or value < least:
            raise ValueError(f"{name} is {value!r}; expected a whole number of at least {least}")
    first = max(0, len(layers) - count)
    return Frozen(staying=layers[:first], joining=layers[first:], epoch=epoch)


def whole_batches(n: int, batch_size: int, seed: int, epoch: int) -> list[Tensor]:
    """Return the rows 0 to n - 1 in random batches.

    A row that is left alone goes to the last batch, since one sample has no variance to normalise by.
    """
    parts = list(shuffled(n, batch_size, seed, epoch))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts
