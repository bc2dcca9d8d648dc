"""Train one network on brainstem responses, and score the kept weights on held-out records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hpo.trial import Trial
from objectives.abr import data, models
from objectives.abr.augmentation import augment
from objectives.abr.data import Dataset, Tensors
from objectives.abr.losses import TASKS, class_weights_of, components, total, uncertainty_of, unit_of
from objectives.abr.measures import measure
from objectives.abr.records import CLASSES, NAMES
from objectives.options import chosen, hashable
from objectives.recording import WEIGHTS, load_weights, write_data
from objectives.training import (
    LOOP_DEFAULTS,
    Batch,
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
    "architecture": "small",
    "learning_rate": 1e-3,
    "batch_size": 32,
    "epochs": 30,
    "schedule": "plateau",
    "settle_batches": 16,
    "dropout": 0.1,
    "amplitude_unit": "uV",
    "class_weights": "balanced",
    "weighting": "simplex",
    "loss_weights": dict.fromkeys(TASKS, 0.25),
    **{f"weight_{name}": 1.0 for name in TASKS},
    "score_weights": {"signal": 0.1, "class": 0.4, "peak": 0.1, "threshold": 0.4},
    "metric_records": 128,
    "augmentation": {"noise": 0.1, "shift": 1},
    "data": {
        "root": None,
        "columns": dict.fromkeys(NAMES),
        "val_fraction": 0.25,
        "test_fraction": 0.0,
        "seed": 0,
        "records": 6000,
    },
}
# Validation keeps no gradients, so it can take larger batches than training.
EVALUATION_BATCH = 256
FIELDS = tuple(Tensors.__dataclass_fields__)  # what a batch holds, in this order


def train(trial: Trial) -> dict[str, float]:
    """params and constants: those of DEFAULTS, all of which may be left out; without data.root the records are made up.

    Reports the loss and its components (`losses.components`), the metrics (`measures.measure`; of training those
    that need no signal) and what `objectives.training.fit` adds; returns those of the epoch of the best val_score."""
    options = chosen(trial, DEFAULTS)
    dataset = _load(trial, options)
    print(dataset.summary, flush=True)
    write_data(trial.directory, dataset.fingerprints)
    device = pick_device()
    training = to_device(dataset.train, device)
    validation = to_device(dataset.val, device)

    torch.manual_seed(trial.seed)
    model = models.build(options["architecture"], options["dropout"]).to(device)
    criterion = uncertainty_of(options)
    if criterion is not None:
        criterion.to(device)
    weights = class_weights_of(options["class_weights"], dataset.train.label, len(CLASSES)).to(device)

    def batches(epoch: int) -> Iterator[Batch]:
        generator = draws(trial.seed, epoch)
        for rows in shuffled(len(training[0]), options["batch_size"], trial.seed, epoch):
            rows = rows.to(training[0].device)
            batch = {name: tensor[rows].to(device) for name, tensor in zip(FIELDS, training, strict=True)}
            yield tuple(augment(batch, generator, **options["augmentation"]).values())

    def losses(network: nn.Module, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        return losses_of(network, batch, options, weights, criterion)

    def metrics(outputs: Mapping[str, Tensor], split: str) -> dict[str, float]:
        found = _measured(outputs, options)
        if criterion is not None and split == "train":
            found |= {f"weight_{name}": one for name, one in zip(TASKS, criterion.weights().tolist(), strict=True)}
        return found

    settings = Settings(monitor="val_score", maximize=True, **settings_in(options))
    return fit(trial, model, settings, batches, lambda: _in_parts(validation, device), losses, metrics, criterion)


def evaluate(trial: Trial, folder: Path | None) -> dict[str, float]:
    """Score the weights that `train` kept in `trial.directory`: the components of the loss, and the metrics. `loss` is
    the equally weighted sum of the tasks where the weights were learned.

    folder: held-out records as `data.load_held_out` takes them; None: the test split of the study's own data. Raises
    FileNotFoundError without weights, ValueError when there is no test split."""
    options = chosen(trial, DEFAULTS)
    dataset = _load(trial, options)
    records = dataset.test
    if folder is not None:
        records = data.load_held_out(folder, hashable(options["data"]["columns"]), dataset)
    if records is None:
        raise ValueError(
            "the study's data has no test split: there are neither test_records, nor records whose split is test, nor "
            "a data.test_fraction"
        )
    device = pick_device()
    model = models.build(options["architecture"]).to(device)
    model.load_state_dict(load_weights(trial.directory / WEIGHTS, device)["model"])
    weights = class_weights_of(options["class_weights"], dataset.train.label, len(CLASSES)).to(device)
    if options["weighting"] == "uncertainty":
        options |= {"weighting": "simplex", "loss_weights": dict.fromkeys(TASKS, 1 / len(TASKS))}
    return score(
        model,
        _in_parts(list(records), device),
        lambda network, batch: losses_of(network, batch, options, weights, None),
        lambda outputs, split: _measured(outputs, options),
    )


def losses_of(
    network: nn.Module, batch: Batch, options: Mapping[str, Any], class_weights: Tensor, uncertainty: nn.Module | None
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The loss with its components, and the outputs that `measures.measure` takes: without signals in training, where
    they would be most of an epoch's memory."""
    values = dict(zip(FIELDS, batch, strict=True))
    found = network(values["signal"], values["statics"])
    parts = components(found, values, unit_of(options["amplitude_unit"]), class_weights)
    loss = total(parts, options, uncertainty)
    outputs = {name: found[name] for name in ("class", "exists", "latency", "amplitude", "threshold")}
    outputs |= {f"true_{name}": values[name] for name in ("label", "exists", "latency", "amplitude", "threshold")}
    if not network.training:
        outputs |= {"signal": found["signal"], "true_signal": values["target"]}
    return {"loss": loss, **parts}, outputs


def _measured(outputs: Mapping[str, Tensor], options: Mapping[str, Any]) -> dict[str, float]:
    return measure(outputs, unit_of(options["amplitude_unit"]), options["score_weights"], options["metric_records"])


def _in_parts(tensors: list[Tensor], device: torch.device) -> Iterator[Batch]:
    for start in range(0, len(tensors[0]), EVALUATION_BATCH):
        yield tuple(tensor[start : start + EVALUATION_BATCH].to(device) for tensor in tensors)


def _load(trial: Trial, options: Mapping[str, Any]) -> Dataset:
    given = dict(options["data"])
    root = trial.root / given["root"] if given["root"] is not None else None
    return data.load(**{**given, "root": root, "columns": hashable(given["columns"])})
