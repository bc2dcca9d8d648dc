"""A study as the doctor's checks see it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from hpo import layout
from hpo.doctor.finding import Finding
from hpo.spec.models import StudySpec


@dataclass(frozen=True)
class Case:
    """One study whose study.yaml and storage can be read.

    trials: as they were when the case was opened, in the order of their numbers. driver: who is at work on the study
    (host, pid, started, ...), or None. Ask it, and not `driver_of`: while the doctor mends, it holds the driver's lock
    itself. It does not hold the lock of MLflow's writer; who writes there takes it.
    A check of a study that is being driven finds what is wrong for sure even so: what was written meanwhile is no
    mistake. Nothing of such a study is mended."""

    runs: Path
    name: str
    directory: Path
    spec: StudySpec
    study: optuna.Study
    storage: BaseStorage
    trials: Sequence[FrozenTrial]
    driver: Mapping[str, Any] | None

    def folder(self, number: int) -> Path:
        return layout.trial_directory(self.directory, number)


# Each module of checks lists its own as CHECKS, in the order in which they are to be asked.
Check = Callable[[Case], Iterator[Finding]]
