"""Every error hpo raises on purpose, and the sentence helpers they share.

HpoError                    shown as a message, never as a traceback
├── SpecError               study.yaml is wrong (all its problems at once)
├── ObjectiveError          the objective cannot be found, imported or called
├── StudyChanged            study.yaml was edited in a way its finished trials forbid
├── StudyNotFound           no study of that name in the runs folder
├── StudyLocked             another driver is at work on the study
├── StudyPaused             a job of a queue finds its study paused
├── SteeringError           a study at work cannot be told what was asked
├── StorageError            the storage cannot be opened, read or repaired
├── ResourceError           more workers or GPUs asked for than the machine or the cluster has
├── NotComparable           what was to be compared has nothing to compare
├── ReplayError             a study has too little recorded to be replayed
├── EngineError             what runs the trials fails again and again
├── ReportError             the report cannot be written
└── LanguageError           reports are not written in the language asked for
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class HpoError(Exception):
    """A mistake or a mishap that the user can act on; `str()` is the whole message."""

    exit_code = 1


class ObjectiveError(HpoError):
    exit_code = 2


class StudyChanged(HpoError):
    exit_code = 2


class LanguageError(HpoError):
    exit_code = 2


class StudyNotFound(HpoError):
    exit_code = 2


class StudyLocked(HpoError):
    exit_code = 3


class StudyPaused(HpoError):
    exit_code = 4


class SteeringError(HpoError):
    pass


class StorageError(HpoError):
    pass


class ResourceError(HpoError):
    exit_code = 2


class NotComparable(HpoError):
    exit_code = 2


class ReplayError(HpoError):
    exit_code = 2


class EngineError(HpoError):
    pass


class ReportError(HpoError):
    pass


@dataclass(frozen=True)
class Problem:
    """One thing wrong in a file: where, and the sentence that says what and what to do."""

    file: str
    line: int | None
    key: str
    message: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"


class SpecError(HpoError):
    """All problems of one study.yaml, one a line."""

    exit_code = 2

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def nearest(word: object, options: Iterable[object]) -> str:
    """` Did you mean 'x'?` for the option spelled most like `word`, else an empty string."""
    names = [str(option) for option in options]
    match = difflib.get_close_matches(str(word), names, n=1, cutoff=0.6)
    return f" Did you mean '{match[0]}'?" if match else ""


def one_line(error: BaseException) -> str:
    """What an error says, without line ends; `no message` of one that says nothing."""
    return " ".join(str(error).split()) or "no message"


def listing(options: Iterable[object], limit: int = 12) -> str:
    """`a, b, c` with the tail cut at `limit`."""
    names = [str(option) for option in options]
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown}, ... ({len(names)} in all)"
