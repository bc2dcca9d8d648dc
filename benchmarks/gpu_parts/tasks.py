"""The built-in tasks with networks and data of the sizes that the parts of the benchmark train."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import nn

import objectives.training
from hpo.trial import Job, ObjectiveRef, Stop, Trial
from objectives.task import Task
from objectives.training import Settings, Training, settings_in

CLASSES = {"abr": "Abr", "audio_angle": "AudioAngle", "glaucoma": "Glaucoma", "mitochondria": "Mitochondria"}


@dataclass(frozen=True)
class Case:
    """A network and how it is trained.

    Attributes:
        name: For the table.
        task: A package of `objectives`.
        options: Options of the task, over its defaults.
        batches: Training batches of an epoch, and epochs, of the study for a GPU that trains such a network.
    """

    name: str
    task: str
    options: Mapping[str, Any] = field(default_factory=dict)
    batches: tuple[int, int] = (0, 0)

    def trial(self, folder: Path, **more: Any) -> Trial:
        """Return a trial with these options and more, whose reports are kept in `trial.reports`."""
        folder.mkdir(parents=True, exist_ok=True)
        reports: dict[int, dict[str, float]] = {}

        def send(step: int, metrics: dict[str, float]) -> Stop | None:
            reports[step] = metrics
            return None

        trial = Trial(Job(0, {}, 7, ObjectiveRef(), {**self.options, **more}, folder, ("x",)), send)
        trial.reports = reports  # type: ignore[attr-defined]
        return trial

    def train(self, folder: Path, device: torch.device, **more: Any) -> dict[int, dict[str, float]]:
        """Train as a study does, on this device. Return what was reported by epoch."""
        trial = self.trial(folder, **more)
        with on(device):
            importlib.import_module(f"objectives.{self.task}").train(trial)
        return trial.reports  # type: ignore[attr-defined, no-any-return]

    def training(
        self, folder: Path, device: torch.device, fused: bool = False, host: bool = False, **more: Any
    ) -> Training:
        """Return what the training loop steps through.

        Args:
            folder: The trial's.
            device: Where it trains.
            fused: With the fused AdamW in place of the default one.
            host: The data stay in pinned memory of the host.
            **more: Options over those of the case.
        """
        module = importlib.import_module(f"objectives.{self.task}.objective")
        adamw, to_device = torch.optim.AdamW, objectives.training.to_device
        with (
            on(device),
            mock.patch.object(torch.optim, "AdamW", partial(adamw, fused=True) if fused else adamw),
            mock.patch.object(module, "to_device", partial(to_device, share=0.0) if host else to_device),
        ):
            task: Task[Any, Any, nn.Module] = getattr(module, CLASSES[self.task])(self.trial(folder, **more))
            torch.manual_seed(task.seed)
            model = task.build().to(device)
            settings = Settings(monitor=task.monitor, maximize=True, **settings_in(task.options))
            training = Training(model, settings, task.problem(model))
        training.model.train()
        training.criterion.train()
        return training


@contextlib.contextmanager
def on(device: torch.device) -> Iterator[None]:
    """Have tasks train on this device."""
    with mock.patch("objectives.task.pick_device", return_value=device):
        yield


def rows_of(training: Training, batch: tuple[torch.Tensor, ...]) -> int:
    """Train one step. Return the samples of the batch, as the loop counts them."""
    training.fitting.run(batch, training.differentiate, training.optimizer.zero_grad)
    training.step()
    return len(batch[0])
