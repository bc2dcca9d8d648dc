"""Knowledge: what earlier studies found, in one small JSON file that can be carried to another machine.

    {"format": "hpo-knowledge", "version": 1, "studies": [{"name": "toy", "objective": "train.py:train",
     "metrics": [{"name": "score", "direction": "maximize"}], "search_space": {...}, "group_by": null,
     "trials": {"complete": 40, "pruned": 12, "failed": 1}, "began": 1763733600.0, "ended": 1763740800.0,
     "data": {"train": "9f86d0..."}, "best": [{"number": 3, "params": {"x": 0.25}, "values": [0.9]}]}]}

Times are seconds since the epoch; `params` are named as the objective sees them; `values` are those of `metrics`.
It holds no path, no constant and no password, and reading it runs no code: all of it is plain data."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo import layout
from hpo.errors import HpoError, Problem, SpecError
from hpo.files import write_atomically
from hpo.space.search_space import SearchSpace
from hpo.spec.models import Metric
from hpo.text import first_line, listing, nearest, quote
from hpo.warm_start.candidates import Source, Tried

FORMAT, VERSION = "hpo-knowledge", 1
LARGEST = 16 * 2**20  # bytes
DEEPEST = 60  # lists and mappings in each other
MOST = 20  # problems of one file that are said
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,150}\Z")
_COUNTS = ("complete", "pruned", "failed")
_KEYS = ("name", "objective", "metrics", "search_space", "group_by", "trials", "began", "ended", "data", "best")
# Optuna and JavaScript keep numbers as doubles: beyond this integers are no longer told apart.
_WHOLE = 2**53


@dataclass(frozen=True)
class Entry:
    """One study. `objective` as `objective_mark` writes it, `counts` of its trials by how they ended, `data` the
    fingerprints of its data by split."""

    source: Source
    objective: str
    group_by: str | None
    counts: Mapping[str, int]
    began: float
    ended: float
    data: Mapping[str, str]

    @property
    def file_name(self) -> str:
        """The same of an earlier and a later export of one study."""
        return f"{self.source.name}-{_digest([self.source.name, self.objective, self.began])[:8]}.json"

    def plain(self) -> dict[str, Any]:
        return {
            "name": self.source.name,
            "objective": self.objective,
            "metrics": [metric.model_dump() for metric in self.source.metrics],
            "search_space": self.source.space.data(),
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
    """What tells whether two studies have one objective (as in `StudySpec.identity`), without the folders of this
    machine: `train.py:train` of any path to it; a digest of a command."""
    if isinstance(objective, str):
        place, colon, function = objective.rpartition(":")
        return re.split(r"[/\\]", place)[-1] + colon + function if place.endswith(".py") else objective
    parts = json.dumps(objective, default=str)
    return "command " + _digest(re.sub(r'[^" ]*/', "", parts))[:16]


def dump(entries: Sequence[Entry]) -> str:
    studies = [entry.plain() for entry in entries]
    return json.dumps({"format": FORMAT, "version": VERSION, "studies": studies}, indent=1, allow_nan=False) + "\n"


def write(runs: Path, entries: Sequence[Entry]) -> list[tuple[Entry, bool]]:
    """Keep each entry in a file of its own in the runs folder; and which of them were new, or newer than what was
    there. Raises HpoError when the folder cannot be written."""
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
                raise HpoError(f"{path} cannot be written: {error.strerror}") from None
        done.append((entry, fresh))
    return done


def kept(runs: Path) -> tuple[list[Entry], list[str]]:
    """What was imported into the runs folder; and a sentence for each file that cannot be read."""
    entries: list[Entry] = []
    complaints: list[str] = []
    for path in sorted(layout.knowledge_directory(runs).glob("*.json")):
        try:
            entries += read(path)
        except HpoError as error:
            complaints.append(first_line(error))
    return entries, complaints


def read(path: Path) -> list[Entry]:
    """Raises HpoError, with every problem it finds, in sentences that name the file and the key."""
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise HpoError(f"{path} has {size} bytes; expected a knowledge file, of at most {LARGEST}")
        text = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in its name
        said = error.strerror if isinstance(error, OSError) else error
        raise HpoError(f"{_printable(str(path))} cannot be read: {said}") from None
    try:
        data = json.loads(text)
        deep = _deeper(data, DEEPEST)
    except RecursionError:
        deep = True
    except ValueError as error:
        raise HpoError(f"{path} is not JSON ({error}); expected a file that `hpo export-knowledge` wrote") from None
    if deep:
        raise HpoError(f"{path} holds more than {DEEPEST} lists and mappings in each other; expected a knowledge file")
    return _Reader(path).file(data)


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


class _Reader:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[Problem] = []

    def say(self, key: str, message: str) -> None:
        self.problems.append(Problem(str(self.path), None, _printable(key), _printable(message)))

    def file(self, data: Any) -> list[Entry]:
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise HpoError(f"{self.path} is no knowledge file; expected one that `hpo export-knowledge` wrote")
        version = data.get("version")
        if isinstance(version, bool) or not isinstance(version, int) or version < 1:
            raise HpoError(f"{self.path}: version: {_printable(quote(version))} is no version; expected {VERSION}")
        if version > VERSION:
            raise HpoError(
                f"{self.path} has version {_printable(quote(version))} of the format, this hpo reads up to {VERSION}; "
                "install a newer hpo, or export it with an older one"
            )
        self.keys("", data, ("format", "version", "studies"))
        entries = [self.entry(f"studies.{i}", one) for i, one in enumerate(self.list("studies", data.get("studies")))]
        if self.problems:
            raise SpecError(self.problems[:MOST])
        return [entry for entry in entries if entry is not None]

    def entry(self, at: str, data: Any) -> Entry | None:
        if not self.mapping(at, data):
            return None
        before = len(self.problems)
        self.keys(at, data, _KEYS)
        name = data.get("name")
        if not isinstance(name, str) or not _NAME.match(name):
            expected = "letters, digits, '.', '_' and '-', a letter or digit first, at most 151"
            self.say(f"{at}.name", f"{quote(name)} is not the name of a study; expected {expected}")
        objective = self.text(f"{at}.objective", data.get("objective"))
        metrics = self.metrics(f"{at}.metrics", data.get("metrics"))
        space = self.space(f"{at}.search_space", data.get("search_space"))
        group_by = None if data.get("group_by") is None else self.text(f"{at}.group_by", data["group_by"])
        counted = data.get("trials")
        counts = {}
        if self.mapping(f"{at}.trials", counted):
            counts = {key: self.whole(f"{at}.trials.{key}", counted.get(key)) for key in _COUNTS}
        began, ended = (self.number(f"{at}.{key}", data.get(key)) for key in ("began", "ended"))
        splits = data.get("data", {})
        splits = splits if self.mapping(f"{at}.data", splits) else {}
        prints = {self.text(f"{at}.data", key): self.text(f"{at}.data.{key}", mark) for key, mark in splits.items()}
        trials = [
            self.trial(f"{at}.best.{i}", one, space, metrics)
            for i, one in enumerate(self.list(f"{at}.best", data.get("best")))
        ]
        if len(self.problems) > before or space is None:
            return None
        source = Source(str(name), space, metrics, tuple(trial for trial in trials if trial is not None))
        return Entry(source, objective, group_by, counts, began, ended, prints)

    def metrics(self, at: str, data: Any) -> tuple[Metric, ...]:
        found = []
        for index, one in enumerate(self.list(at, data)):
            here = f"{at}.{index}"
            if not self.mapping(here, one):
                continue
            self.keys(here, one, ("name", "direction"))
            name, direction = self.text(f"{here}.name", one.get("name")), one.get("direction")
            if direction not in ("minimize", "maximize"):
                self.say(f"{here}.direction", f"{quote(direction)} is not right; expected minimize or maximize")
            elif name:
                found.append(Metric(name=name, direction=direction))
        if not found:
            self.say(at, "names no metric; expected [{name: ..., direction: minimize or maximize}]")
        return tuple(found)

    def space(self, at: str, data: Any) -> SearchSpace | None:
        try:
            return SearchSpace.parse(
                data, lambda path, message: Problem(str(self.path), None, _printable(".".join([at, *map(str, path)])),
                                                    _printable(message)))  # fmt: skip
        except SpecError as error:
            self.problems += error.problems
        return None

    def trial(self, at: str, data: Any, space: SearchSpace | None, metrics: Sequence[Metric]) -> Tried | None:
        if not self.mapping(at, data):
            return None
        self.keys(at, data, ("number", "params", "values"))
        number = self.whole(f"{at}.number", data.get("number"))
        given = self.list(f"{at}.values", data.get("values"))
        values = [self.number(f"{at}.values.{index}", value) for index, value in enumerate(given)]
        if len(values) != len(metrics):
            self.say(f"{at}.values", f"has {len(values)} numbers; expected {len(metrics)}, one for each metric")
        params = data.get("params")
        if not self.mapping(f"{at}.params", params):
            return None
        known = [] if space is None else [parameter.name for parameter in space.walk()]
        for name, value in params.items():
            here = f"{at}.params.{name}"
            if space is not None and name not in known:
                self.say(here, f"is not a parameter of its search_space.{nearest(name, known)}")
            elif isinstance(value, dict):
                for weight, part in value.items():
                    self.text(here, weight)
                    self.number(f"{here}.{weight}", part)
            elif isinstance(value, (int, float)) and not isinstance(value, bool):
                self.number(here, value)
            elif isinstance(value, str):
                self.text(here, value)
            elif value is not None and not isinstance(value, bool):
                self.say(here, f"{quote(value)} is not a value; expected a number, text, true, false, null or weights")
        return number, params, tuple(values)

    # --- single values; what stands in for a wrong one is never used, for a problem was said

    def keys(self, at: str, data: Mapping[str, Any], known: Sequence[str]) -> None:
        for key in data:
            if key not in known:
                where = f"{at}.{key}" if at else key
                self.say(where, f"is not a key here; expected {listing(known)}.{nearest(key, known)}")

    def mapping(self, at: str, data: Any) -> bool:
        if not isinstance(data, dict):
            self.say(at, f"{quote(data)} is not a mapping" if data is not None else "is missing; expected a mapping")
        return isinstance(data, dict)

    def list(self, at: str, data: Any) -> list[Any]:
        if isinstance(data, list):
            return data
        self.say(at, f"{quote(data)} is not a list" if data is not None else "is missing; expected a list")
        return []

    def text(self, at: str, data: Any) -> str:
        if isinstance(data, str) and data and len(data) <= 1000 and data.isprintable():
            return data
        what = "is missing" if data is None else f"{quote(data)} is not right"
        self.say(at, f"{what}; expected plain text of at most 1000 letters")
        return ""

    def number(self, at: str, data: Any) -> float:
        good = isinstance(data, (int, float)) and not isinstance(data, bool)
        if good and (abs(data) <= _WHOLE if isinstance(data, int) else math.isfinite(data)):
            return float(data)
        self.say(at, "is missing; expected a number" if data is None else f"{quote(data)} is not a finite number")
        return 0.0

    def whole(self, at: str, data: Any) -> int:
        if isinstance(data, int) and not isinstance(data, bool) and 0 <= data < 2**31:
            return data
        self.say(at, "is missing; expected a count" if data is None else f"{quote(data)} is not a whole number from 0")
        return 0


def _printable(text: str) -> str:
    """Lone surrogates and control characters of a foreign file would break, or fool, a terminal."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)
