"""The study that the doctor's checks examine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from hpo import layout
from hpo.doctor.finding import Finding
from hpo.spec.models import StudySpec
from hpo.storage.histories import Histories


@dataclass(frozen=True)
class StudyContext:
    """A study whose study.yaml and storage can be read.

    A check of a study that is being driven finds what is wrong for sure even so: what was written meanwhile is no
    mistake. Nothing of such a study is fixed. While the doctor fixes, it holds the driver's lock itself, so checks ask
    `driver` and not `driver_of`. It does not hold the lock of MLflow's writer; who writes there takes it.

    Attributes:
        runs: The runs folder.
        name: The study's name.
        directory: Its folder.
        spec: Its study.yaml.
        study: Its Optuna study.
        storage: The storage of that.
        trials: All trials, in the order of their numbers, as they were when the context was made.
        driver: The process at work on the study (host, pid, started, ...), or None.
    """

    runs: Path
    name: str
    directory: Path
    spec: StudySpec
    study: optuna.Study
    storage: BaseStorage
    trials: Sequence[FrozenTrial]
    driver: Mapping[str, Any] | None

    @cached_property
    def histories(self) -> Histories:
        """Histories of the trials."""
        return Histories(self.directory, self.trials)

    def folder(self, number: int) -> Path:
        """Return the folder of a trial."""
        return layout.trial_directory(self.directory, number)


# Each module of checks lists its own as CHECKS, in the order in which they are to be asked.
Check = Callable[[StudyContext], Iterator[Finding]]
