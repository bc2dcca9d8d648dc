"""Training of one network on brainstem responses, and scores of the kept weights on held-out records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hpo.trial import Trial
from objectives.abr import data, models
from objectives.abr.augmentation import augment
from objectives.abr.data import FIELDS, Dataset, Tensors
from objectives.abr.files import read_new
from objectives.abr.losses import TASKS, class_weights_of, components, total, uncertainty_of, unit_of
from objectives.abr.measures import measure as measures
from objectives.abr.records import CLASSES, NAMES
from objectives.micro_batches import Batch, Result
from objectives.options import hashable
from objectives.task import Evaluation, Task, Trained
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
        "classes": None,
        "val_fraction": 0.25,
        "test_fraction": 0.0,
        "seed": 0,
        "records": 6000,
    },
}
# Validation keeps no gradients, so it can take larger batches than training.
EVALUATION_BATCH = 256


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


def evaluate(trial: Trial, folder: Path | None) -> dict[str, Any]:
    """Score the kept weights on held-out records: the components of the loss, and the metrics.

    `loss` is the equally weighted sum of the tasks if the weights were learned. See `Task.evaluate`.
    """
    return Abr(trial).evaluate(folder)


def validate(trial: Trial) -> dict[str, Any]:
    """Score the kept weights on the validation records, as `evaluate` does on held-out ones."""
    return Abr(trial).validate()


def predict(trial: Trial, split: str, folder: Path | None) -> Iterator[dict[str, Any]]:
    """Return what the kept weights say of each record. See `Task.predict`."""
    return Abr(trial).predict(split, folder)


def measure(trial: Trial, predictions: Mapping[str, NDArray[Any]]) -> dict[str, float]:
    """Return the metrics of `measures.measure` without the two that take long, from columns as `predict` gives them."""
    return Abr(trial).measured(predictions)


def check_data(trial: Trial) -> str:
    """Load the data as `train` does, and return what they are; ValueError if they are wrong."""
    return Abr(trial).dataset.summary


def load(path: Path, device: str = "cpu") -> Trained:
    """Return the network of a weights.pt; `scaled` takes waveforms, (n, 200), and statics, (n, 4)."""
    return Abr.from_weights(path, device)


class Abr(Task[Dataset, Tensors, nn.Module]):
    """A trial of the reading of brainstem responses."""

    defaults = DEFAULTS
    monitor = "val_score"
    no_test = "there are neither test_records, nor records whose split is test, nor a data.test_fraction"

    def load(self, root: Path | None) -> Dataset:
        """Load the records of each split."""
        options = self.options["data"]
        columns, classes = hashable(options["columns"]), self._classes()
        return data.load(**{**options, "root": root, "columns": columns, "classes": classes})

    def _classes(self) -> tuple[str, ...] | None:
        classes = self.options["data"].get("classes")  # weights of earlier versions have no such option
        if classes is not None and (isinstance(classes, str) or not isinstance(classes, Sequence)):
            raise ValueError(f"data.classes is {classes!r}; expected a list of classes, or none for all")
        return None if classes is None else tuple(map(str, classes))

    def inputs_of(self, dataset: Dataset) -> dict[str, Any]:
        """Return mean and standard deviation of the training statics, and the weights of the classes."""
        weights = class_weights_of(self.options["class_weights"], dataset.train.label, len(CLASSES))
        return {"mean": dataset.mean.tolist(), "std": dataset.std.tolist(), "class_weights": weights}

    def validation_split(self) -> Tensors:
        """Return the validation records of the study's data."""
        return self.dataset.val

    def test_split(self) -> Tensors | None:
        """Return the test records of the study's data."""
        return self.dataset.test

    def load_held_out(self, folder: Path) -> Tensors:
        """Load held-out records as `data.load_held_out` takes them."""
        columns = hashable(self.options["data"]["columns"])
        return data.load_held_out(folder, columns, *self._standardisation(), self._classes())

    def inputs_in(self, held_out: Tensors) -> Iterator[tuple[Tensor, ...]]:
        """Return held-out waveforms and statics."""
        return (batch[:2] for batch in self._in_parts([held_out.signal, held_out.statics]))

    def answers(self, model: nn.Module, *inputs: Tensor) -> dict[str, Any]:
        """Return probabilities of the classes, (n, 5), and of wave V, what is said of it and of hearing, the signal."""
        found = {name: value.double() for name, value in model(*inputs).items()}
        return {
            "score": found["class"].softmax(1),
            "exists": found["exists"].sigmoid(),
            "latency_ms": found["latency"],
            "amplitude_uv": found["amplitude"] / unit_of(self.options["amplitude_unit"]),
            "threshold_db": found["threshold"],
            "signal": found["signal"].float(),
            "about": {"classes": list(CLASSES)},
        }

    def truths(self, held_out: Tensors) -> dict[str, Any]:
        """Return all that is true of held-out records, and the patient of each."""
        names = ("label", "exists", "latency", "amplitude", "threshold")
        return {
            **{f"true_{name}": getattr(held_out, name) for name in names},
            "true_signal": held_out.target,
            "group": held_out.patient,
            "about": {"items": "records", "groups": "patients"},
        }

    def new_inputs(self, folder: Path) -> Iterator[tuple[list[str], tuple[Tensor, ...]]]:
        """Return the records of a file or a folder that need have no labels."""
        waveforms, statics, names = read_new(folder, self.options["data"]["columns"])
        for start in range(0, len(names), EVALUATION_BATCH):
            rows = slice(start, start + EVALUATION_BATCH)
            yield names[rows], self.scaled(torch.from_numpy(waveforms[rows]), torch.from_numpy(statics[rows]))

    def predict_new(self, model: nn.Module, folder: Path) -> Iterator[dict[str, Any]]:
        """Return the answers to new records, without signals, which would be most of a table."""
        for part in super().predict_new(model, folder):
            yield {name: value for name, value in part.items() if name != "signal"}

    def measured(self, columns: Mapping[str, NDArray[Any]]) -> dict[str, float]:
        """Return the metrics of records from the columns of `answers` and `truths`."""
        exists = columns["exists"].clip(1e-12, 1 - 1e-12)
        outputs = {
            "class": np.log(columns["score"].clip(1e-300)),
            "exists": np.log(exists / (1 - exists)),
            "latency": columns["latency_ms"],
            "amplitude": columns["amplitude_uv"],
            "threshold": columns["threshold_db"],
            "signal": columns["signal"],
            **{name: values for name, values in columns.items() if name.startswith("true_")},
        }
        tensors = {name: torch.from_numpy(np.array(values)) for name, values in outputs.items()}
        return measures(tensors, 1.0, self.options["score_weights"], None)

    def scaled(self, *raw: Tensor) -> tuple[Tensor, Tensor]:
        """Scale each waveform to mean 0 and standard deviation 1, and statics by those of the training records."""
        waveforms, statics = (one.double().cpu().numpy() for one in raw)
        signal, _, _ = data.scaled_waveforms(waveforms)
        mean, std = self._standardisation()
        inputs = torch.from_numpy(signal)[:, None], torch.from_numpy(np.nan_to_num((statics - mean) / std))
        signals, others = (one.float().to(self.device) for one in inputs)
        return signals, others

    def _standardisation(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return np.array(self.inputs["mean"]), np.array(self.inputs["std"])

    def build(self) -> nn.Module:
        """Build the network."""
        return models.build(self.options["architecture"], self.options["dropout"])

    def problem(self, model: nn.Module) -> Problem:
        """Return the augmented records of an epoch, and what measures them."""
        training = to_device(self.dataset.train, self.device)
        validation = to_device(self.dataset.val, self.device)
        criterion = uncertainty_of(self.options)
        weights = self.inputs["class_weights"].to(self.device)

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
        options, weights = self.options, self.inputs["class_weights"].to(self.device)
        if options["weighting"] == "uncertainty":
            options = {**options, "weighting": "simplex", "loss_weights": dict.fromkeys(TASKS, 1 / len(TASKS))}
        return Evaluation(
            self._in_parts(list(held_out)),
            lambda network, batch: losses_of(network, batch, options, weights, None),
            lambda outputs, split: _measured(outputs, options),
            lambda outputs: predictions(outputs, held_out, unit_of(options["amplitude_unit"])),
        )

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


def predictions(outputs: Mapping[str, Tensor], held_out: Tensors, unit: float) -> dict[str, Any]:
    """Return the table of records: class and predicted class, and the errors of the threshold and of existing peaks."""
    values = {name: one.double().numpy() for name, one in outputs.items() if "signal" not in name}
    names, exists = np.array(CLASSES), values["true_exists"] > 0

    def errors(name: str, scale: float = 1.0) -> NDArray[np.float64]:
        found: NDArray[np.float64] = np.abs(values[name] / scale - values[f"true_{name}"])
        return found

    columns = {
        "target": names[values["true_label"].astype(int)],
        "predicted": names[values["class"].argmax(axis=1)],
        "threshold_mae": errors("threshold"),
        "latency_mae": np.where(exists, errors("latency"), np.nan),
        "amplitude_mae": np.where(exists, errors("amplitude", unit), np.nan),
        "group": held_out.patient,
    }
    return {"predictions": columns, "about": {"items": "records", "groups": "patients", "classes": list(CLASSES)}}


def _measured(outputs: Mapping[str, Tensor], options: Mapping[str, Any]) -> dict[str, float]:
    return measures(outputs, unit_of(options["amplitude_unit"]), options["score_weights"], options["metric_records"])
