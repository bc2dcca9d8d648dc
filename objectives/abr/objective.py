"""Training of one network on brainstem responses, and scores of the kept weights on held-out records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from hpo.trial import Trial
from objectives.abr import data, models
from objectives.abr.augmentation import augment
from objectives.abr.data import Dataset, Tensors
from objectives.abr.losses import TASKS, class_weights_of, components, total, uncertainty_of, unit_of
from objectives.abr.measures import measure
from objectives.abr.records import CLASSES, NAMES
from objectives.micro_batches import Batch, Result
from objectives.options import hashable
from objectives.task import Evaluation, Task
from objectives.training import LOOP_DEFAULTS, Problem, draws, shuffled, to_device

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
FIELDS = tuple(Tensors.__dataclass_fields__)  # the tensors of a batch, in this order


def train(trial: Trial) -> dict[str, float]:
    """Train a network on the records of a study, or on made-up ones if there is no data.root.

    Each epoch reports the loss and its components (`losses.components`), the metrics (`measures.measure`; of training
    those that need no signal), and what the training loop adds.

    Args:
        trial: Its parameters and constants are those of DEFAULTS, whichever of the two; all may be left out.

    Returns:
        The metrics of the epoch of the best val_score.
    """
    return Abr(trial).train()


def evaluate(trial: Trial, folder: Path | None) -> dict[str, float]:
    """Score the kept weights on held-out records: the components of the loss, and the metrics.

    `loss` is the equally weighted sum of the tasks if the weights were learned. See `Task.evaluate`.
    """
    return Abr(trial).evaluate(folder)


class Abr(Task[Dataset, Tensors, nn.Module]):
    """A trial of the reading of brainstem responses."""

    defaults = DEFAULTS
    monitor = "val_score"
    no_test = "there are neither test_records, nor records whose split is test, nor a data.test_fraction"

    def load(self, root: Path | None) -> Dataset:
        """Load the records of each split."""
        options = self.options["data"]
        return data.load(**{**options, "root": root, "columns": hashable(options["columns"])})

    def test_split(self) -> Tensors | None:
        """Return the test records of the study's data."""
        return self.dataset.test

    def load_held_out(self, folder: Path) -> Tensors:
        """Load held-out records as `data.load_held_out` takes them."""
        return data.load_held_out(folder, hashable(self.options["data"]["columns"]), self.dataset)

    def build(self) -> nn.Module:
        """Build the network."""
        return models.build(self.options["architecture"], self.options["dropout"])

    def problem(self, model: nn.Module) -> Problem:
        """Return the augmented records of an epoch, and what measures them."""
        training = to_device(self.dataset.train, self.device)
        validation = to_device(self.dataset.val, self.device)
        criterion = uncertainty_of(self.options)
        weights = self._class_weights()

        def batches(epoch: int) -> Iterator[Batch]:
            generator = draws(self.trial.seed, epoch)
            for rows in shuffled(len(training[0]), self.options["batch_size"], self.trial.seed, epoch):
                rows = rows.to(training[0].device)
                batch = {name: tensor[rows].to(self.device) for name, tensor in zip(FIELDS, training, strict=True)}
                yield tuple(augment(batch, generator, **self.options["augmentation"]).values())

        def losses(network: nn.Module, batch: Batch) -> Result:
            return losses_of(network, batch, self.options, weights, criterion)

        def metrics(outputs: Mapping[str, Tensor], split: str) -> dict[str, float]:
            found = _measured(outputs, self.options)
            if criterion is not None and split == "train":
                found |= {f"weight_{name}": one for name, one in zip(TASKS, criterion.weights().tolist(), strict=True)}
            return found

        return Problem(batches, lambda: self._in_parts(validation), losses, metrics, criterion)

    def evaluation(self, model: nn.Module, held_out: Tensors) -> Evaluation:
        """Return held-out records, with losses by fixed weights and the metrics of validation."""
        options, weights = self.options, self._class_weights()
        if options["weighting"] == "uncertainty":
            options = {**options, "weighting": "simplex", "loss_weights": dict.fromkeys(TASKS, 1 / len(TASKS))}
        return Evaluation(
            self._in_parts(list(held_out)),
            lambda network, batch: losses_of(network, batch, options, weights, None),
            lambda outputs, split: _measured(outputs, options),
        )

    def _class_weights(self) -> Tensor:
        labels = self.dataset.train.label
        return class_weights_of(self.options["class_weights"], labels, len(CLASSES)).to(self.device)

    def _in_parts(self, tensors: list[Tensor]) -> Iterator[Batch]:
        for start in range(0, len(tensors[0]), EVALUATION_BATCH):
            yield tuple(tensor[start : start + EVALUATION_BATCH].to(self.device) for tensor in tensors)


def losses_of(
    network: nn.Module, batch: Batch, options: Mapping[str, Any], class_weights: Tensor, uncertainty: nn.Module | None
) -> Result:
    """Return the loss with its components, and the outputs that `measures.measure` takes.

    In training there are no signals among the outputs, which would be most of an epoch's memory.
    """
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
