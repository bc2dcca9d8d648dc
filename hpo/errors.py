"""Every error that hpo raises on purpose.

HpoError                    shown as a message, never as a traceback
├── SpecError               study.yaml is wrong (all its problems at once)
├── ObjectiveError          the objective cannot be found, imported or called
├── ReportRefused           a report is not one of the trial that this process runs
├── CheckpointRefused       a checkpoint is damaged, of another trial, or not safe to load
├── StudyChanged            study.yaml was edited in a way its finished trials forbid
├── StudyNotFound           no study of that name in the runs folder
├── StudyLocked             another driver runs the study
├── StudyFolderTaken        a study's folder in the runs folder is, or holds, somebody else's
├── NotDeleted              a study cannot be deleted: it is not this user's, or not what its name says
├── NotRestored             a study cannot be backed up or restored
├── StudyPaused             the job of a queue finds its study paused
├── ControlError            a request to a running study cannot be sent or obeyed
├── StorageError            the storage cannot be opened, read or repaired
│   ├── StorageLocked       another program has locked the SQLite file or the journal that it is
│   └── StorageMissing      its file does not exist, or its database holds no tables yet
├── AccessDenied            this user may not read or write a file
├── ResourceError           more workers or GPUs requested than the machine or the cluster has
├── ScaffoldError           a first study cannot be made of what was given, or its files cannot be written
├── InvalidJobRequest       a resource or option of a cluster job is not valid
├── NotComparable           the two sides of a comparison have nothing in common
├── ReplayError             the study recorded too little to be replayed
├── NotReproducible         a trial cannot be trained again from its start
├── NotContinued            a trial cannot be trained on from its checkpoint
├── NotGrown                a study cannot take on another search space with its trials
├── TransferError           trials cannot be imported or exported
├── EngineError             the engine that runs the trials fails again and again
├── LogError                a training log cannot be read
├── ReportError             the report cannot be written
└── LanguageError           the report does not exist in that language
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


class HpoError(Exception):
    """A mistake or a mishap that the user can act on. `str()` is the whole message, `exit_code` that of the command."""

    exit_code = 1


class ObjectiveError(HpoError):
    """The objective cannot be found, imported or called."""

    exit_code = 2


class ReportRefused(HpoError):
    """A report is not one of the trial that this process runs now."""


class CheckpointRefused(HpoError):
    """A checkpoint is damaged, of another trial, or not safe to load."""


class StudyChanged(HpoError):
    """study.yaml was edited in a way its finished trials forbid."""

    exit_code = 2


class LanguageError(HpoError):
    """The report does not exist in the language asked for."""

    exit_code = 2


class StudyNotFound(HpoError):
    """The runs folder has no study of that name."""

    exit_code = 2


class StudyLocked(HpoError):
    """Another driver runs the study."""

    exit_code = 3


class StudyFolderTaken(HpoError):
    """A study's folder in the runs folder is, or holds, somebody else's."""

    exit_code = 2


class NotDeleted(HpoError):
    """A study cannot be deleted: it is not this user's, or not what its name says."""


class NotRestored(HpoError):
    """A study cannot be backed up or restored."""


class StudyPaused(HpoError):
    """A cluster job finds its study paused."""

    exit_code = 4


class ControlError(HpoError):
    """A request to a running study cannot be sent or obeyed."""


class StorageError(HpoError):
    """The storage cannot be opened, read or repaired."""


class StorageLocked(StorageError):
    """Another program has locked the SQLite file or the journal that the storage is."""


class StorageMissing(StorageError):
    """The file that the storage is does not exist, or nobody has stored a study in the database yet."""


class AccessDenied(HpoError):
    """A file may not be read or written by this user."""


class ResourceError(HpoError):
    """More workers or GPUs were requested than there are."""

    exit_code = 2


class NotComparable(HpoError):
    """The two sides of a comparison have nothing in common."""

    exit_code = 2


class NotReproducible(HpoError):
    """A trial cannot be trained again from its start."""

    exit_code = 2


class NotContinued(HpoError):
    """A trial cannot be trained on from its checkpoint."""

    exit_code = 2


class NotGrown(HpoError):
    """A study cannot take on another search space with its trials."""

    exit_code = 2


class ReplayError(HpoError):
    """The study recorded too little to be replayed."""

    exit_code = 2


class TransferError(HpoError):
    """Trials cannot be imported or exported."""

    exit_code = 2


class EngineError(HpoError):
    """The engine fails again and again."""


class ReportError(HpoError):
    """The report cannot be written."""


KeyPath = tuple[Any, ...]  # the keys from the root of a document down to a value


def dotted(path: KeyPath) -> str:
    """Return `('metrics', 0, 'name')` as `metrics.0.name`."""
    return ".".join(str(part) for part in path)


@dataclass(frozen=True)
class Problem:
    """One problem in a file: its place, and a sentence that says what is wrong and what was expected."""

    file: str
    line: int | None
    key: str
    message: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"


_MOST_SAID = 100


class SpecError(HpoError):
    """All problems of one study.yaml, one per line; the message has the first 100."""

    exit_code = 2

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        said = [str(problem) for problem in self.problems[:_MOST_SAID]]
        more = len(self.problems) - len(said)
        super().__init__("\n".join([*said, f"and {more} more"] if more > 0 else said))


class LogError(HpoError):
    """A training log that cannot be read."""

    exit_code = 2


class ScaffoldError(HpoError):
    """A first study cannot be made of what was given, or its files cannot be written."""

    exit_code = 2


class InvalidJobRequest(HpoError):
    """A resource or option of a cluster job that is not valid."""

    exit_code = 2
