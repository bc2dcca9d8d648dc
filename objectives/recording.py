"""Files that a training writes beside its reports: losses of every step, arrays of every epoch, the best weights.

steps.npz    a loss, `learning_rate` and `gradient_norm` of each training step, and `epoch`, the epoch of each;
             `val_<loss>` of each validation batch, and `val_epoch`
epochs.npz   arrays that a task measures each epoch, such as histograms, (epochs, ...), and `epoch`
weights.pt   of the best epoch, with the options and the scaling of inputs, by which it can be used elsewhere
data.json    of each split that trains or validates how many samples it has and their fingerprint; a line on the data
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from objectives.fingerprint import Fingerprint

STEPS = "steps.npz"
EPOCHS = "epochs.npz"
WEIGHTS = "weights.pt"
DATA = "data.json"

Arrays = dict[str, NDArray[Any]]


class Pass:
    """One pass over a split: the losses of each batch, and the network's outputs for each sample.

    Nothing is read from the device before the end, since the host would wait for the device at every step.
    """

    def __init__(self) -> None:
        self._scalars: list[dict[str, Tensor]] = []
        self._outputs: list[dict[str, Tensor]] = []
        self._sizes: list[int] = []

    def add(self, scalars: Mapping[str, Tensor], outputs: Mapping[str, Tensor], size: int) -> None:
        """Add the losses of a batch of `size` samples, and its outputs, with a row a sample."""
        self._scalars.append({name: value.detach() for name, value in scalars.items()})
        self._outputs.append({name: value.detach() for name, value in outputs.items()})
        self._sizes.append(size)

    @property
    def samples(self) -> int:
        """Number of samples so far."""
        return sum(self._sizes)

    @property
    def largest(self) -> int:
        """Samples of the largest batch."""
        return max(self._sizes)

    @cached_property
    def steps(self) -> Arrays:
        """Values of each loss, by name, (batches,) float64. Read it after the last batch."""
        names = self._scalars[0]
        return {name: torch.stack([step[name] for step in self._scalars]).double().cpu().numpy() for name in names}

    def means(self) -> dict[str, float]:
        """Return the mean over samples of each loss."""
        return {name: float(np.average(values, weights=self._sizes)) for name, values in self.steps.items()}

    def outputs(self) -> dict[str, Tensor]:
        """Return the outputs by name, a row a sample in the order of the batches, on the CPU, 16-bit as float32."""
        joined = {name: torch.cat([one[name] for one in self._outputs]).cpu() for name in self._outputs[0]}
        half = (torch.float16, torch.bfloat16)
        return {name: value.float() if value.dtype in half else value for name, value in joined.items()}


def write_steps(directory: Path, train: Sequence[Arrays], val: Sequence[Arrays]) -> None:
    """Write `steps.npz` from the steps of each epoch."""
    arrays = _joined(train) | {f"val_{name}": values for name, values in _joined(val).items()}
    _save(directory / STEPS, arrays)


def write_epochs(directory: Path, epochs: Sequence[Arrays]) -> None:
    """Write `epochs.npz` from the arrays of each epoch; write no file when a task keeps none."""
    if epochs and epochs[0]:
        stacked = {name: np.stack([epoch[name] for epoch in epochs]) for name in epochs[0]}
        _save(directory / EPOCHS, stacked | {"epoch": np.arange(1, len(epochs) + 1)})


def write_weights(directory: Path, best: Mapping[str, Any]) -> None:
    """Write `weights.pt`: `epoch`, `metrics` and the state_dict `model` of the best epoch, and what stands beside."""
    partial = directory / f"{WEIGHTS}.partial"
    torch.save(dict(best), partial)
    partial.replace(directory / WEIGHTS)


def load_weights(path: Path, device: torch.device) -> dict[str, Any]:
    """Return what `write_weights` wrote: `epoch`, `metrics`, the state_dict `model`, and what is kept beside them.

    Raises:
        FileNotFoundError: There are no weights.
        ValueError: The file is of another kind.
    """
    kept = torch.load(path, map_location=device, weights_only=True)
    if not isinstance(kept, dict) or not {"epoch", "metrics", "model"} <= kept.keys():
        raise ValueError(f"{path} does not hold the weights of a trial; expected a weights.pt")
    return kept


def write_data(directory: Path, splits: Mapping[str, Fingerprint], summary: str = "") -> None:
    """Write `data.json`, of "train" and "val"; `hpo compare` tells by it whether two trials had the same data.

    Args:
        directory: The folder of the trial.
        splits: The fingerprints.
        summary: One line on where the data came from and what a sample is; reports show it.
    """
    directory.mkdir(parents=True, exist_ok=True)  # This is the first file that a trial writes.
    partial = directory / f"{DATA}.partial"
    partial.write_text(json.dumps({**splits, **({"summary": summary} if summary else {})}), encoding="utf-8")
    partial.replace(directory / DATA)


def _joined(epochs: Sequence[Arrays]) -> Arrays:
    arrays = {name: np.concatenate([epoch[name] for epoch in epochs]) for name in epochs[0]}
    lengths = [len(next(iter(epoch.values()))) for epoch in epochs]
    return arrays | {"epoch": np.repeat(np.arange(1, len(epochs) + 1), lengths)}


def _save(path: Path, arrays: Arrays) -> None:
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    partial.replace(path)
