"""Knowledge: what earlier studies found, in one small JSON file that can be carried to another machine.

    {"format": "hpo-knowledge", "version": 1, "studies": [{"name": "toy", "objective": "train.py:train",
     "metrics": [{"name": "score", "direction": "maximize"}], "search_space": {...}, "group_by": null,
     "trials": {"complete": 40, "pruned": 12, "failed": 1}, "began": 1763733600.0, "ended": 1763740800.0,
     "data": {"train": "9f86d0..."}, "best": [{"number": 3, "params": {"x": 0.25}, "values": [0.9]}]}]}

Times are seconds since the epoch; `params` are named as the objective sees them; `values` are those of `metrics`.
It holds no path, no constant and no password, and reading it runs no code: all of it is plain data.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from hpo import layout
from hpo.errors import HpoError, KeyPath, Problem, SpecError
from hpo.machine.access import reason
from hpo.machine.files import read_plain, write_atomically
from hpo.space.search_space import SearchSpace
from hpo.spec.identity import from_json, to_json
from hpo.spec.models import Metric
from hpo.text import first_line, nearest, printable_line, quote
from hpo.validation import problems_in
from hpo.warm_start.candidates import Source

FORMAT, VERSION = "hpo-knowledge", 1
LARGEST = 16 * 2**20  # bytes
DEEPEST = 60  # lists and mappings in each other
MOST = 20  # problems of one file that are said
# Optuna and JavaScript keep numbers as doubles: beyond this integers are no longer told apart.
_WHOLE = 2**53


@dataclass(frozen=True)
class Entry:
    """One study of a knowledge file.

    Attributes:
        source: Its search space, metrics and best trials.
        objective: Mark of its objective (`objective_mark`).
        group_by: Parameter that groups its trials.
        counts: Number of its trials by how they ended.
        began: Start of the first trial, in seconds since the epoch.
        ended: End of the last trial, in seconds since the epoch.
        data: Fingerprints of its data by split.
    """

    source: Source
    objective: str
    group_by: str | None
    counts: Mapping[str, int]
    began: float
    ended: float
    data: Mapping[str, str]

    @property
    def file_name(self) -> str:
        """Name of the file in the runs folder, the same for an earlier and a later export of one study."""
        return f"{self.source.name}-{_digest([self.source.name, self.objective, self.began])[:8]}.json"

    def plain(self) -> dict[str, Any]:
        """Return the entry as plain data."""
        return {
            "name": self.source.name,
            "objective": self.objective,
            "metrics": [metric.identity() for metric in self.source.metrics],
            "search_space": to_json(self.source.space.data()),
            "group_by": self.group_by,
            "trials": dict(self.counts),
            "began": self.began,
            "ended": self.ended,
            "data": dict(self.data),
            "best": [
                {"number": number, "params": dict(params), "values": list(values)}
                for number, params, values in self.source.trials
            ],
        }


def objective_mark(objective: object) -> str:
    """Return what identifies an objective (as in `StudySpec.identity`) on every machine.

    It is `train.py:train` for any path to that file, and a digest for a command.
    """
    if isinstance(objective, str):
        place, colon, function = objective.rpartition(":")
        return re.split(r"[/\\]", place)[-1] + colon + function if place.endswith(".py") else objective
    parts = json.dumps(objective, default=str)
    return "command " + _digest(re.sub(r'[^" ]*/', "", parts))[:16]


def dump(entries: Sequence[Entry]) -> str:
    """Return the text of a knowledge file."""
    studies = [entry.plain() for entry in entries]
    return json.dumps({"format": FORMAT, "version": VERSION, "studies": studies}, indent=1, allow_nan=False) + "\n"


def write(runs: Path, entries: Sequence[Entry]) -> list[tuple[Entry, bool]]:
    """Keep each entry in a file of its own in the runs folder.

    Returns:
        The entries, each with True if it is new, or newer than the one that was there.

    Raises:
        HpoError: The folder cannot be written.
    """
    folder = layout.knowledge_directory(runs)
    done = []
    for entry in entries:
        path = folder / entry.file_name
        try:
            old = read(path)[0] if path.exists() else None
        except HpoError:
            old = None  # damaged since: written anew
        fresh = old is None or (entry.ended, entry.counts["complete"]) > (old.ended, old.counts["complete"])
        if fresh:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                write_atomically(path, dump([entry]))
            except OSError as error:
                raise HpoError(f"{path} cannot be written: {reason(error)}") from None
        done.append((entry, fresh))
    return done


def kept(runs: Path) -> tuple[list[Entry], list[str]]:
    """Return the entries that were imported into the runs folder, and a sentence for each unreadable file."""
    entries: list[Entry] = []
    complaints: list[str] = []
    for path in sorted(layout.knowledge_directory(runs).glob("*.json")):
        try:
            entries += read(path)
        except HpoError as error:
            complaints.append(first_line(error))
    return entries, complaints


def read(path: Path) -> list[Entry]:
    """Return the entries of a file. Raises HpoError with every problem, in sentences that name file and key."""
    try:
        text = read_plain(path, LARGEST)
    except OSError as error:
        said = reason(error)
        raise HpoError(f"{printable_line(str(path))} cannot be read: {said}") from None
    try:
        data = json.loads(text)
        deep = _deeper(data, DEEPEST)
    except RecursionError:
        deep = True
    except ValueError as error:
        raise HpoError(f"{path} is not JSON ({error}); expected a file that `hpo export-knowledge` wrote") from None
    if deep:
        raise HpoError(f"{path} holds more than {DEEPEST} lists and mappings in each other; expected a knowledge file")
    return _entries_of(path, data)


def _deeper(data: Any, limit: int) -> bool:
    level = [data]
    for _ in range(limit):
        level = [
            below
            for one in level
            if isinstance(one, (dict, list))
            for below in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return False
    return True


def _digest(data: Any) -> str:
    return hashlib.sha256(json.dumps(data).encode()).hexdigest()


def _plain_text(value: str) -> str:
    if not value.isprintable():
        raise ValueError(f"{quote(value)} is not right; expected {_TEXT}")
    return value


def _number(value: Any) -> float:
    good = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not good or not (abs(value) <= _WHOLE if isinstance(value, int) else math.isfinite(value)):
        raise ValueError(f"{quote(value)} is not a finite number")
    return float(value)


def _value(value: Any) -> Any:
    """Return the value of a parameter unchanged; ValueError if it is neither a scalar nor weights of a simplex."""
    if isinstance(value, dict):
        for weight, part in value.items():
            _plain_text(weight)
            _number(part)
    elif isinstance(value, str):
        _plain_text(value)
    elif isinstance(value, float):
        _number(value)
    elif value is not None and not isinstance(value, int):
        raise ValueError(f"{quote(value)} is not a value; expected a number, text, true, false, null or weights")
    return value


def _not_empty(metrics: list[_MetricModel]) -> list[_MetricModel]:
    if not metrics:
        raise ValueError("names no metric; expected [{name: ..., direction: minimize or maximize}]")
    return metrics


_TEXT = "plain text of at most 1000 characters"
_PlainText = Annotated[
    str, Field(strict=True, min_length=1, max_length=1000, description=_TEXT), AfterValidator(_plain_text)
]
_Number = Annotated[float, BeforeValidator(_number)]
_Count = Annotated[int, Field(strict=True, ge=0, lt=2**31, description="a whole number from 0")]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _MetricModel(_Model):
    name: _PlainText
    direction: Literal["minimize", "maximize"]


class _CountsModel(BaseModel):
    complete: _Count
    pruned: _Count
    failed: _Count


class _TrialModel(_Model):
    number: _Count
    params: dict[_PlainText, Annotated[Any, AfterValidator(_value)]]
    values: list[_Number]


class _StudyModel(_Model):
    name: Annotated[
        str,
        Field(
            strict=True,
            pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,150}$",
            description="the name of a study: letters, digits, '.', '_' and '-', a letter or digit first, 151 at most",
        ),
    ]
    objective: _PlainText
    metrics: Annotated[list[_MetricModel], AfterValidator(_not_empty)]
    search_space: Annotated[Any, Field(description="the parameters that were searched")]
    group_by: Annotated[_PlainText | None, Field(description=_TEXT)] = None
    trials: _CountsModel
    began: _Number
    ended: _Number
    data: dict[_PlainText, _PlainText] = {}
    best: list[_TrialModel]


class _FileModel(_Model):
    model_config = ConfigDict(title="a knowledge file")
    format: str
    version: int
    studies: list[_StudyModel]


class _Problems:
    """Problems of one file, in words that any terminal can show."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: list[Problem] = []

    def problem(self, keys: KeyPath, message: str) -> Problem:
        return Problem(str(self.path), None, printable_line(".".join(map(str, keys))), printable_line(message))

    def add(self, keys: KeyPath, message: str) -> None:
        self.found.append(self.problem(keys, message))

    def refuse_any(self) -> None:
        if self.found:
            raise SpecError(self.found[:MOST])


def _entries_of(path: Path, data: Any) -> list[Entry]:
    """Return the studies of a file's content; SpecError with every problem, HpoError if it is another kind of file."""
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise HpoError(f"{path} is no knowledge file; expected one that `hpo export-knowledge` wrote")
    version = data.get("version")
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise HpoError(f"{path}: version: {printable_line(quote(version))} is no version; expected {VERSION}")
    if version > VERSION:
        raise HpoError(
            f"{path} has version {printable_line(quote(version))} of the format, this hpo reads up to {VERSION}; "
            "install a newer hpo, or export it with an older one"
        )
    problems = _Problems(path)
    studies: list[_StudyModel] = []
    try:
        studies = _FileModel.model_validate(data).studies
    except ValidationError as error:
        for keys, message in problems_in(error, _FileModel):
            problems.add(keys, message)
    except UnicodeEncodeError as error:  # pydantic refuses such text without saying where it is
        raise HpoError(f"{path} holds text that is not Unicode ({printable_line(str(error))})") from None
    problems.refuse_any()
    entries = [_entry(("studies", index), study, problems) for index, study in enumerate(studies)]
    problems.refuse_any()
    return [entry for entry in entries if entry is not None]


def _entry(at: KeyPath, study: _StudyModel, problems: _Problems) -> Entry | None:
    """Return the study if its parts fit together; otherwise add the problems and return None."""
    try:
        space = SearchSpace.parse(
            from_json(study.search_space), lambda keys, message: problems.problem((*at, "search_space", *keys), message)
        )
    except SpecError as error:
        problems.found += error.problems
        return None
    known = [parameter.name for parameter in space.walk()]
    offered = {(one.name, value) for one in space.walk() for value in (*one.choices, one.value)}
    for index, trial in enumerate(study.best):
        here = (*at, "best", index)
        if len(trial.values) != len(study.metrics):
            expected = f"expected {len(study.metrics)}, one for each metric"
            problems.add((*here, "values"), f"has {len(trial.values)} numbers; {expected}")
        for name in set(trial.params).difference(known):
            message = f"is not a parameter of its search_space.{nearest(name, known)}"
            problems.add((*here, "params", name), message)
        for name, value in trial.params.items():
            # A choice is kept as text: any integer may be one.
            if isinstance(value, int) and abs(value) > _WHOLE and (name, value) not in offered:
                problems.add((*here, "params", name), f"{quote(value)} is not a finite number, nor one of its choices")
    metrics = tuple(Metric(name=metric.name, direction=metric.direction) for metric in study.metrics)
    trials = tuple((trial.number, trial.params, tuple(trial.values)) for trial in study.best)
    counts = study.trials.model_dump()
    source = Source(study.name, space, metrics, trials, tried=counts["complete"] + counts["pruned"])
    return Entry(source, study.objective, study.group_by, counts, study.began, study.ended, study.data)
