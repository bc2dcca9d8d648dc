"""Train one classifier to find the few positive photographs, and score the kept weights on held-out ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hpo.trial import Pruned, Trial
from objectives.glaucoma import data, models
from objectives.glaucoma.augmentation import augment
from objectives.glaucoma.data import Screening
from objectives.losses.focal import binary_focal_loss, by_difficulty, focal_arrays
from objectives.losses.ghm import GHMC, gradient_statistics, histogram
from objectives.losses.weighted_bce import weighted_bce_loss
from objectives.metrics import screening
from objectives.options import chosen, hashable
from objectives.recording import WEIGHTS, load_weights, write_data
from objectives.training import (
    LOOP_DEFAULTS,
    Batch,
    Frozen,
    Losses,
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
LOSSES = ("bce", "focal", "weighted_bce", "ghm")
SMALL_IMAGE = 64  # pixels, below which the usual stem would leave next to nothing for the last stage
HISTOGRAM = 50  # bins of the gradient norms that are kept of every epoch
# Validation keeps no gradients, so it can take larger batches than training.
EVALUATION_BATCH = 64


def train(trial: Trial) -> dict[str, float]:
    """Parameters and constants: those of DEFAULTS, whichever of the two; all may be left out, and without data.root
    the photographs are generated. loss: "bce", "focal" (with gamma and alpha), "weighted_bce" (with
    positive_weight) or "ghm" (with bins and momentum). backbone: "trained" or "frozen" (with unfreeze_epoch and
    unfreeze_layers).

    Reports, for train and for val, the losses loss = data_loss + penalty and the plain bce, the metrics of `measure`,
    and what `objectives.training.fit` adds; returns those of the epoch of the best val_pauc."""
    options = chosen(trial, DEFAULTS)
    dataset = _load(trial.root, options["data"])
    print(dataset.summary, flush=True)
    write_data(trial.directory, dataset.fingerprints)
    device = pick_device()
    images, labels = to_device([dataset.images, dataset.labels], device)
    if not isinstance(options["batch_size"], int) or options["batch_size"] < 2:
        raise ValueError(f"batch_size is {options['batch_size']!r}; expected a whole number of at least 2")

    torch.manual_seed(trial.seed)
    model = _model(options, trial.seed)
    if options["weights"] is not None:
        models.load_backbone(model.backbone, trial.root / options["weights"])
    model.to(device, memory_format=torch.channels_last)
    criterion = criterion_of(options)

    def batches(epoch: int) -> Iterator[Batch]:
        generator = draws(trial.seed, epoch)
        for part in whole_batches(len(dataset.train), options["batch_size"], trial.seed, epoch):
            rows = dataset.train[part].to(images.device)
            inputs = images[rows].to(device, non_blocking=True).float() / 255
            changes = (options[name] for name in ("rotation", "shift", "brightness", "flip"))
            yield _standardised(augment(inputs, generator, *changes), dataset), labels[rows].to(device)

    return fit(
        trial,
        model,
        Settings(monitor="val_pauc", maximize=True, **settings_in(options)),
        batches,
        lambda: _held_out(images, labels, dataset.val, dataset, device),
        losses_of(options, model, criterion),
        measure_of(options),
        criterion if isinstance(criterion, nn.Module) else None,
        frozen_of(options, model),
    )


def evaluate(trial: Trial, folder: Path | None) -> dict[str, float]:
    """Score the weights that `train` kept in `trial.directory`: the losses and the metrics of `measure`.

    folder: held-out photographs as `data.load_folder` takes them; None: the test split of the study's own data.
    Raises FileNotFoundError without weights, ValueError when there is no test split."""
    options = chosen(trial, DEFAULTS)
    dataset = _load(trial.root, options["data"])
    images, labels, rows = dataset.images, dataset.labels, dataset.test
    if folder is not None:
        names = ("image_size", "labels", "columns", "ignore_extra")
        images, labels = data.load_folder(folder, **_arguments({name: options["data"][name] for name in names}))
        rows = torch.arange(len(images))
    if rows is None:
        raise ValueError(
            "the study's data has no test split: there is neither a column of splits with test in it nor a "
            "data.test_fraction"
        )
    device = pick_device()
    model = _model(options, trial.seed).to(device, memory_format=torch.channels_last)
    model.load_state_dict(load_weights(trial.directory / WEIGHTS, device)["model"])
    # A density of gradients that is counted anew in each batch: that of the training is not kept with the weights.
    losses = losses_of(options, model, criterion_of(options | {"momentum": 0.0}))
    return score(model, _held_out(images, labels, rows, dataset, device), losses, measure_of(options))


Criterion = Callable[[Tensor, Tensor], Tensor]


def criterion_of(options: Mapping[str, Any]) -> Criterion:
    """The loss that `options` name, from logits (n,) float32 and targets (n,) to a scalar; a module if it has a state.

    Raises ValueError for an unknown name."""
    name = options["loss"]
    if name == "bce":
        return F.binary_cross_entropy_with_logits
    if name == "focal":
        return lambda logits, targets: binary_focal_loss(logits, targets, options["gamma"], options["alpha"])
    if name == "weighted_bce":
        return lambda logits, targets: weighted_bce_loss(logits, targets, options["positive_weight"])
    if name == "ghm":
        return GHMC(options["bins"], options["momentum"])
    raise ValueError(f"loss is {name!r}; expected one of {', '.join(LOSSES)}")


def losses_of(options: Mapping[str, Any], model: models.Classifier, criterion: Criterion) -> Losses:
    """loss = data_loss + penalty; bce, the cross-entropy without any weight, tells losses apart that do not compare.

    Outputs: logits and targets (n,); under GHM gradient_norms and weights (n,) too."""

    def losses(network: nn.Module, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
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
    """The metrics of one split.

    pauc, pauc_normalised: the area under the ROC curve from 90 to 100 % specificity, as McClish standardises it and
    as a mean sensitivity; sens_at_95spec, auc; at a probability of 0.5 precision, recall, accuracy and
    predicted_positive, the share that is called positive. Arrays: g_positive and g_negative (50,), how many of
    either class have a gradient norm |p - t| in each fiftieth from 0 to 1. Under GHM: the statistics of the gradient
    norms as ghm_<name>, ghm_shares and ghm_weights (bins,), the mean weight in each bin, 0 where it is empty, and
    ghm_momentum. Under the focal loss: those of `focal_arrays`."""

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


def _mean_weights(norms: Tensor, weights: Tensor, bins: int) -> np.ndarray:
    index, counts = histogram(norms, bins)
    sums = torch.zeros(bins, dtype=torch.float64).scatter_add_(0, index, weights.double())
    return (sums / counts.clamp(min=1)).numpy()


def frozen_of(options: Mapping[str, Any], model: models.Classifier) -> Frozen | None:
    """What of the backbone does not train, and from which epoch on its last layers do."""
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
    """The rows 0 to n - 1 in random batches; one that is left alone goes to the last, as it has no variance to
    normalise by."""
    parts = list(shuffled(n, batch_size, seed, epoch))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def _held_out(
    images: Tensor, labels: Tensor, rows: Tensor, dataset: Screening, device: torch.device
) -> Iterator[Batch]:
    for part in rows.to(images.device).split(EVALUATION_BATCH):
        inputs = images[part].to(device, non_blocking=True).float() / 255
        yield _standardised(inputs, dataset), labels[part].to(device)


def _standardised(images: Tensor, dataset: Screening) -> Tensor:
    """Colours from 0 to 1 as mean 0 and standard deviation 1 over the training images."""
    mean, std = (value.to(images.device).view(1, 3, 1, 1) for value in (dataset.mean, dataset.std))
    return ((images - mean) / std).contiguous(memory_format=torch.channels_last)


def _load(root: Path, options: Mapping[str, Any]) -> Screening:
    given = options["root"]
    return data.load(**_arguments(options), root=root / given if given is not None else None)


def _arguments(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name != "root"} | {
        "columns": hashable(options["columns"])
    }


def _model(options: Mapping[str, Any], seed: int) -> models.Classifier:
    stem = options["stem"]
    if stem == "auto":  # published weights have the usual one
        large = options["weights"] is not None or options["data"]["image_size"] >= SMALL_IMAGE
        stem = "standard" if large else "small"
    dropouts = [options[f"dropout_{index}"] for index in (1, 2, 3)]
    return models.build(options["architecture"], options["base_width"], dropouts, options["initialisation"], stem, seed)
