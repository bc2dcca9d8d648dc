"""The skeleton of a task: `train` and `evaluate` are the same for all tasks, and each task fills in their parts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from hpo.trial import Trial
from objectives.fingerprint import Fingerprint
from objectives.micro_batches import Batch
from objectives.options import OWN_LOSS, chosen
from objectives.recording import WEIGHTS, load_weights, write_data
from objectives.training import Losses, Metrics, Problem, Settings, fit, pick_device, score, settings_in


class Dataset(Protocol):
    """The data of a study, as the skeleton sees them."""

    @property
    def summary(self) -> str:
        """One line on the samples of each split and on what was left out."""

    @property
    def fingerprints(self) -> dict[str, Fingerprint]:
        """Fingerprints of "train" and "val"."""


Data = TypeVar("Data", bound=Dataset)
HeldOut = TypeVar("HeldOut")
Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Evaluation:
    """Functions and batches that score a network on held-out samples.

    Attributes:
        batches: The samples.
        losses: The losses and the outputs of a batch.
        metrics: The metrics of all outputs.
        predictions: What `hpo evaluate` takes beside the scores, made of all outputs: `predictions`, `about` and
            `examples` of docs/objectives.md.
    """

    batches: Iterable[Batch]
    losses: Losses
    metrics: Metrics
    predictions: Callable[[Mapping[str, Tensor]], Mapping[str, Any]]


@dataclass(frozen=True)
class Trained:
    """A trained network with all that is needed to use it.

    Attributes:
        network: The network with the weights of the best epoch, in evaluation mode.
        scaled: Turns raw samples into the network's inputs; the page of the task says which.
        options: The options of its training.
        epoch: The best epoch.
        metrics: What that epoch reported.
    """

    network: nn.Module
    scaled: Callable[..., Any]
    options: Mapping[str, Any]
    epoch: int
    metrics: Mapping[str, float]


class Task(ABC, Generic[Data, HeldOut, Network]):
    """A trial of a task: its options, its data, and the parts that `train` and `evaluate` need.

    Attributes:
        defaults: The options of the task. A study's constants and parameters override them.
        monitor: The metric that says which epoch is best; larger is better.
        no_test: The end of the sentence on data without a test split: what would have made one.
        tensors_of_loss: How many tensors a loss of the user's own is called with.
        trial: The trial.
        seed: Its seed.
        options: Its options.
        device: The GPU that this worker was given, else the CPU.
    """

    defaults: ClassVar[Mapping[str, Any]]
    monitor: ClassVar[str]
    no_test: ClassVar[str] = "the task makes none"
    tensors_of_loss: ClassVar[int] = 2

    def __init__(self, trial: Trial) -> None:
        """Read the options of a trial.

        Raises:
            ValueError: An option is wrong.
        """
        self.trial, self.seed = trial, trial.seed
        self.options = chosen(trial, self.defaults, self.tensors_of_loss)
        self.check_options()
        self.device = pick_device()

    @cached_property
    def dataset(self) -> Data:
        """The data of the study, loaded when first asked for; ValueError if a file is wrong."""
        root = self.options.get("data", {}).get("root")
        return self.load(self.trial.root / Path(root).expanduser() if root is not None else None)

    @cached_property
    def inputs(self) -> Mapping[str, Any]:
        """Scaling of inputs, by the training data; kept with the weights."""
        return self.inputs_of(self.dataset)

    def train(self) -> dict[str, float]:
        """Train a network and return the metrics of its best epoch."""
        print(self.dataset.summary, flush=True)
        write_data(self.trial.directory, self.dataset.fingerprints, self.dataset.summary)
        torch.manual_seed(self.trial.seed)
        model = self.build()
        self.load_initial_weights(model)
        model.to(self.device)
        settings = Settings(monitor=self.monitor, maximize=True, **settings_in(self.options))
        options = {name: value for name, value in self.options.items() if name != OWN_LOSS}
        beside_weights = {"options": options, "inputs": dict(self.inputs)}
        return fit(self.trial, model, settings, replace(self.problem(model), beside_weights=beside_weights))

    def evaluate(self, folder: Path | None) -> dict[str, Any]:
        """Score the weights that `train` kept in the trial's directory.

        The data of the training are not read where `folder` is given.

        Args:
            folder: Held-out data of the user; None: the test split of the study's own data.

        Returns:
            The losses and metrics, and what `Evaluation.predictions` adds to them.

        Raises:
            FileNotFoundError: There are no weights.
            ValueError: There is no test split, or the held-out data are wrong.
        """
        model = self._kept_model()
        return self._score(model, self._held_out_split(folder))

    def validate(self) -> dict[str, Any]:
        """Score the kept weights on the validation split, for what is to be chosen without the test split."""
        return self._score(self._kept_model(), self.validation_split())

    def predict(self, split: str, folder: Path | None) -> Iterator[dict[str, Any]]:
        """Return what the kept weights say of each sample, in parts; see docs/guides/ensemble.md.

        Args:
            split: "val", "test" or "new".
            folder: For "test" held-out data of the user, None: the study's own. For "new" files without labels.

        Raises:
            FileNotFoundError: There are no weights.
            ValueError: There is no such split, or the data are wrong.
        """
        model = self._kept_model().eval()
        if split == "new":
            if folder is None:
                raise ValueError("there is no folder of new files")
            parts = self.predict_new(model, folder)
        else:
            held_out = self.validation_split() if split == "val" else self._held_out_split(folder)
            parts = (self.answers(model, *inputs) for inputs in self.inputs_in(held_out))
            yield self.truths(held_out)
        with torch.no_grad():
            for part in parts:
                yield {name: value.cpu() if isinstance(value, Tensor) else value for name, value in part.items()}

    def predict_new(self, model: Network, folder: Path) -> Iterator[dict[str, Any]]:
        """Return the answers to files without labels, with the name of each."""
        for names, inputs in self.new_inputs(folder):
            yield {"name": names, **self.answers(model, *inputs)}

    def _held_out_split(self, folder: Path | None) -> HeldOut:
        held_out = self.test_split() if folder is None else self.load_held_out(folder)
        if held_out is None:
            raise ValueError(f"the study's data has no test split: {self.no_test}")
        return held_out

    def _kept_model(self) -> Network:
        kept = load_weights(self.trial.directory / WEIGHTS, self.device)
        if "inputs" in kept:  # Weights of earlier versions have none, and the training data are read for them.
            self.inputs = kept["inputs"]
        model = self.build().to(self.device)
        model.load_state_dict(kept["model"])
        return model

    def _score(self, model: Network, held_out: HeldOut) -> dict[str, Any]:
        evaluation = self.evaluation(model, held_out)
        return score(model, evaluation.batches, evaluation.losses, evaluation.metrics, evaluation.predictions)

    @classmethod
    def from_weights(cls, path: Path, device: str = "cpu") -> Trained:
        """Return the network of a weights.pt, ready to be used; neither the study nor its data are needed.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: The file holds no weights, or was written by a version that kept no options with them.
        """
        kept = load_weights(Path(path), torch.device(device))
        if "options" not in kept:
            raise ValueError(
                f"{path} holds weights alone, as earlier versions wrote them; expected one with the options of its "
                "training (`hpo evaluate` reads both)"
            )
        task = cls.__new__(cls)
        task.options, task.inputs, task.device, task.seed = kept["options"], kept["inputs"], torch.device(device), 0
        model = task.build().to(task.device)
        model.load_state_dict(kept["model"])
        return Trained(model.eval(), task.scaled, task.options, kept["epoch"], kept["metrics"])

    def check_options(self) -> None:
        """Raise ValueError for an option that the task refuses before it loads anything."""
        return

    def load_initial_weights(self, model: Network) -> None:
        """Replace initial weights of the network, where the task can start from given ones."""
        return

    @abstractmethod
    def load(self, root: Path | None) -> Data:
        """Load the splits of the data at `root`, or make up data if it is None."""

    @abstractmethod
    def inputs_of(self, dataset: Data) -> dict[str, Any]:
        """Return what is needed of the training data to scale inputs: numbers, lists of them and tensors."""

    @abstractmethod
    def scaled(self, *raw: Tensor) -> Any:
        """Return raw samples as inputs of the network."""

    @abstractmethod
    def validation_split(self) -> HeldOut:
        """Return the validation split of the study's own data."""

    @abstractmethod
    def test_split(self) -> HeldOut | None:
        """Return the test split of the study's own data, if there is one."""

    def load_held_out(self, folder: Path) -> HeldOut:
        """Load held-out data of the user; a task that reads no files refuses them."""
        raise ValueError(f"this task reads no held-out data, so it cannot be scored on {folder}; leave out --data")

    @abstractmethod
    def build(self) -> Network:
        """Build the network that the options describe."""

    @abstractmethod
    def problem(self, model: Network) -> Problem:
        """Return what the training loop trains on and measures."""

    @abstractmethod
    def evaluation(self, model: Network, held_out: HeldOut) -> Evaluation:
        """Return what scores the network on held-out data."""

    def inputs_in(self, held_out: HeldOut) -> Iterator[tuple[Tensor, ...]]:
        """Return the inputs of the network for held-out samples, in batches and in their order."""
        raise ValueError("this task does not predict; expected it to have inputs_in, answers and truths")

    def answers(self, model: Network, *inputs: Tensor) -> dict[str, Any]:
        """Return what the network says of a batch, a row a sample: numbers that can be averaged over networks."""
        raise ValueError("this task does not predict; expected it to have inputs_in, answers and truths")

    def truths(self, held_out: HeldOut) -> dict[str, Any]:
        """Return what is true of held-out samples, and what they are."""
        raise ValueError("this task does not predict; expected it to have inputs_in, answers and truths")

    def new_inputs(self, folder: Path) -> Iterator[tuple[list[str], tuple[Tensor, ...]]]:
        """Return the names of files without labels and the inputs of the network for them, in batches."""
        raise ValueError(f"this task reads no new files, so it says nothing of those in {folder}")
