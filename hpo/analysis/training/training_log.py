"""Hold one training as it was written down, whoever wrote it: a trial of a study, an MLflow run, a log file.

The diagnosis of a training reads this and nothing else.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo import layout
from hpo.analysis.records import StudyRecord, TrialRecord
from hpo.analysis.steps import steps_of
from hpo.machine.files import MOST_BYTES, open_plain
from hpo.spec.models import Metric
from hpo.storage.history import Step

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class TrainingLog:
    """A training as it was written down.

    Attributes:
        name: What the training is called.
        history: Every epoch, ascending, its metrics named `train_X` and `val_X` where they are of a split.
        params: What it was trained with, as far as known.
        metric: The metric it was to reach, if known.
        state: COMPLETE, PRUNED, FAIL, RUNNING, or empty where nobody says.
        steps: Arrays of steps.npz, one value a training step, beside `epoch` (the epoch of each); `val_X` has one value
            a validation batch, beside `val_epoch`. Empty where there are none.
        epochs: Arrays of epochs.npz, (epochs, ...), beside `epoch`. Empty where there are none.
    """

    name: str
    history: Sequence[Step]
    params: Mapping[str, Any] = field(default_factory=dict)
    metric: Metric | None = None
    state: str = ""
    steps: Arrays = field(default_factory=dict)
    epochs: Arrays = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Every metric, in the order in which they appeared."""
        return steps_of(self.history).names

    def series(self, metric: str) -> tuple[tuple[int, float], ...]:
        """Return (epoch, value) wherever `metric` was written down, ascending; values may be NaN or infinite."""
        return steps_of(self.history).series(metric)


def log_of(study: StudyRecord, trial: TrialRecord) -> TrainingLog:
    """Return the training of a trial, with its arrays as far as they are there and can be read."""
    folder = layout.trial_directory(study.directory, trial.number)
    return TrainingLog(
        name=f"{study.name}/{trial.number}",
        history=trial.history,
        params=trial.params,
        metric=study.metrics[0],
        state=trial.state,
        steps=read_arrays(folder / layout.STEPS, "epoch"),
        epochs=read_arrays(folder / layout.EPOCHS, "epoch"),
    )


def read_arrays(path: Path, index: str) -> dict[str, NDArray[Any]]:
    """Return the numeric arrays of an npz file; none if it is not there, is torn, too large, or lacks `index`."""
    try:
        with open_plain(path, MOST_BYTES) as plain:
            if sum(member.file_size for member in zipfile.ZipFile(plain).infolist()) > MOST_BYTES:
                return {}
            with np.load(plain, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
    except Exception:  # whatever its bytes make of zipfile, zlib and NumPy
        return {}
    found = {name: array for name, array in arrays.items() if array.dtype.kind in "biuf"}
    return found if index in found else {}
