"""The skeleton of a task: `train` and `evaluate` are the same for all tasks, and each task fills in their parts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import torch
from torch import nn

from hpo.trial import Trial
from objectives.fingerprint import Fingerprint
from objectives.micro_batches import Batch
from objectives.options import chosen
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
    """Held-out batches, and the losses and metrics that score a network on them."""

    batches: Iterable[Batch]
    losses: Losses
    metrics: Metrics


class Task(ABC, Generic[Data, HeldOut, Network]):
    """A trial of a task: its options, its data, and the parts that `train` and `evaluate` need.

    Attributes:
        defaults: The options of the task. A study's constants and parameters override them.
        monitor: The metric that says which epoch is best; larger is better.
        no_test: The end of the sentence on data without a test split: what would have made one.
        tensors_of_loss: How many tensors a loss of the user's own is called with.
        trial: The trial.
        options: Its options.
        device: The GPU that this worker was given, else the CPU.
        dataset: The data of the study.
    """

    defaults: ClassVar[Mapping[str, Any]]
    monitor: ClassVar[str]
    no_test: ClassVar[str] = "the task makes none"
    tensors_of_loss: ClassVar[int] = 2

    def __init__(self, trial: Trial) -> None:
        """Read the options of a trial and load its data.

        Raises:
            ValueError: An option or a file is wrong.
        """
        self.trial = trial
        self.options = chosen(trial, self.defaults, self.tensors_of_loss)
        self.check_options()
        self.device = pick_device()
        root = self.options.get("data", {}).get("root")
        self.dataset = self.load(trial.root / root if root is not None else None)

    def train(self) -> dict[str, float]:
        """Train a network and return the metrics of its best epoch."""
        print(self.dataset.summary, flush=True)
        write_data(self.trial.directory, self.dataset.fingerprints, self.dataset.summary)
        torch.manual_seed(self.trial.seed)
        model = self.build()
        self.load_initial_weights(model)
        model.to(self.device)
        settings = Settings(monitor=self.monitor, maximize=True, **settings_in(self.options))
        return fit(self.trial, model, settings, self.problem(model))

    def evaluate(self, folder: Path | None) -> dict[str, float]:
        """Score the weights that `train` kept in the trial's directory.

        Args:
            folder: Held-out data of the user; None: the test split of the study's own data.

        Raises:
            FileNotFoundError: There are no weights.
            ValueError: There is no test split, or the held-out data are wrong.
        """
        held_out = self.test_split() if folder is None else self.load_held_out(folder)
        if held_out is None:
            raise ValueError(f"the study's data has no test split: {self.no_test}")
        model = self.build().to(self.device)
        model.load_state_dict(load_weights(self.trial.directory / WEIGHTS, self.device)["model"])
        evaluation = self.evaluation(model, held_out)
        return score(model, evaluation.batches, evaluation.losses, evaluation.metrics)

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
