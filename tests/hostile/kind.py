"""A kind of hostile objective, and what its docstring says is right.

The docstring of `kinds/NAME.py`, or of `kinds/NAME/objective.py` where a kind needs more files, begins with a sentence.
After a line `---` it holds YAML with these keys, all of them optional:

engines: those it concerns, of local, ray and inline; local alone if it is not given.
fast: true: it runs in `make test` too, on the local engine.
study: keys of study.yaml that differ from `STUDY`. A folder may hold a study.yaml of its own instead.
run: `again` (the same command is given again, with a budget of so many trials), `runs` (the name of the runs folder),
    `tmpdir` (a path below the temporary folder, which becomes $TMPDIR).
expect: what is right of the command: `exit` (one code, or several that are all right; after 2 no study is expected),
    `says` and `never_says` (regular expressions), `most` (bytes of a file of the study's folder), `requeued` (how many
    attempts). What is right of each trial, and under `trials: {NUMBER: ...}` of one, which takes over nothing from the
    others: `state`, `cause`, `reason` (regular expressions), `metrics`, `history` (`{1-5: {loss: ...}}`, or `any`),
    `constraints`, `files` (a regular expression by file name), and `or` (a list of what is right as well).

Case does not count in regular expressions. A number may be an expression of Python in the trial's parameters (`x`),
`number`, `step`, `value`, `nan` and `inf`. If it is a comparison, it must be true of `value`.
"""

from __future__ import annotations

import ast
import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

KINDS = Path(__file__).parent / "kinds"
ENGINES = ("local", "ray", "inline")
NAME = "hostile"
OBJECTIVE, SPEC = "objective.py", "study.yaml"
# Each trial's x is known before: its number divided by this.
PARTS = 16
STUDY: dict[str, Any] = {
    "name": NAME,
    "objective": f"{OBJECTIVE}:train",
    "metrics": [{"name": "val_loss", "direction": "minimize"}],
    "search_space": {"x": {"low": 0.0, "high": 1.0}},
    "sampler": "random",
    "pruner": "none",
    "budget": {"trials": 3, "failures": 99},
    "engine": {"workers": 1, "cpu": 1, "retries": 0},
    "seed": 1,
}

Number = float | str


@dataclass(frozen=True)
class Right:
    """What is right of a trial.

    metrics: those that it returns, and no others; None: any. history: by step; None: any. files: a regular expression
    by the name of a file in the trial's folder. others: what is right as well.
    """

    state: str = "COMPLETE"
    cause: str = ""
    reason: tuple[str, ...] = ()
    metrics: Mapping[str, Number] | None = None
    history: Mapping[int, Mapping[str, Number]] | None = field(default_factory=dict)
    constraints: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    others: tuple[Right, ...] = ()


@dataclass(frozen=True)
class Kind:
    """See the module."""

    name: str
    place: Path
    engines: tuple[str, ...] = ("local",)
    fast: bool = False
    study: Mapping[str, Any] = field(default_factory=dict)
    again: int | None = None
    runs: str = "runs"
    tmpdir: str = ""
    exit: tuple[int, ...] = (0,)
    says: tuple[str, ...] = ()
    never_says: tuple[str, ...] = ()
    most: Mapping[str, int] = field(default_factory=dict)
    requeued: int = 0
    usual: Right = Right()
    by_number: Mapping[int, Right] = field(default_factory=dict)

    @property
    def own_study(self) -> bool:
        """Whether its folder holds a study.yaml."""
        return (self.place / SPEC).exists()

    @property
    def mlflow(self) -> bool:
        """Whether its study is tracked."""
        return self.study.get("mlflow", True) is not False

    def right(self, number: int) -> Right:
        """What is right of a trial."""
        return self.by_number.get(number, self.usual)

    def copy(self, folder: Path, engine: str) -> Path:
        """Write the kind's files and its study.yaml into `folder`; return the study.yaml."""
        if self.place.is_dir():
            shutil.copytree(self.place, folder, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            folder.mkdir()
            shutil.copyfile(self.place, folder / OBJECTIVE)
        path = folder / SPEC
        if not path.exists():
            path.write_text(yaml.safe_dump(self._study(engine), sort_keys=False, allow_unicode=True))
        return path

    def trials(self, path: Path) -> int:
        """The number of trials that count at the end of the last run of a study.yaml."""
        planned: int = yaml.safe_load(path.read_text())["budget"]["trials"]
        return self.again or planned

    def _study(self, engine: str) -> dict[str, Any]:
        study: dict[str, Any] = {**STUDY, **self.study}
        if "command" in study:
            del study["objective"]
        if "search_space" not in self.study:
            most = max(self.again or 0, study["budget"]["trials"])
            study.setdefault("enqueue", [{"x": number / PARTS} for number in range(min(most, PARTS + 1))])
        study["budget"] = STUDY["budget"] | study["budget"]
        study["engine"] = STUDY["engine"] | study["engine"] | {"name": engine}
        return study


def read_kinds(folder: Path = KINDS) -> list[Kind]:
    """All kinds, by name."""
    places = [path for path in sorted(folder.iterdir()) if path.suffix == ".py" or (path / OBJECTIVE).exists()]
    return [_read(place) for place in places]


def same(one: float, other: float) -> bool:
    """Whether two numbers are equal, NaN to NaN."""
    return one == other or (math.isnan(one) and math.isnan(other))


def agrees(number: Number, value: float, names: Mapping[str, Any]) -> bool:
    """Whether a value is the number that is expected, or what is said of it is true."""
    known = {"nan": math.nan, "inf": math.inf, "value": value, **names}
    result = eval(number, {"__builtins__": {}}, known) if isinstance(number, str) else number
    return result if isinstance(result, bool) else same(float(result), value)


def _read(place: Path) -> Kind:
    source = place / OBJECTIVE if place.is_dir() else place
    sentence, _, block = (ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or "").partition("\n---\n")
    if not sentence.strip() or not block:
        raise ValueError(f"{source} needs a docstring with a sentence, a line `---` and YAML")
    try:
        given = yaml.safe_load(block)
    except yaml.YAMLError as error:
        raise ValueError(f"the YAML of {source} cannot be read: {error}") from error
    _check_keys(source, given, {"engines", "fast", "study", "run", "expect"})
    run, expect = given.get("run", {}), dict(given.get("expect", {}))
    _check_keys(source, run, {"again", "runs", "tmpdir"})
    own = place / SPEC
    study = yaml.safe_load(own.read_text()) if own.exists() else given.get("study", {})
    codes = expect.pop("exit", 0)
    by_number = expect.pop("trials", {})
    command = {
        "exit": tuple(codes) if isinstance(codes, list) else (codes,),
        "says": tuple(expect.pop("says", ())),
        "never_says": tuple(expect.pop("never_says", ())),
        "most": expect.pop("most", {}),
        "requeued": expect.pop("requeued", 0),
    }
    return Kind(
        name=place.stem,
        place=place,
        engines=tuple(given.get("engines", ("local",))),
        fast=given.get("fast", False),
        study=study,
        **run,
        **command,
        usual=_right(source, expect),
        by_number={number: _right(source, one) for number, one in by_number.items()},
    )


def _right(source: Path, given: Mapping[str, Any]) -> Right:
    given = dict(given)
    others = given.pop("or", ())
    _check_keys(source, given, {"state", "cause", "reason", "metrics", "history", "constraints", "files"})
    reason, history = given.pop("reason", ()), given.pop("history", {})
    complete = given.get("state", "COMPLETE") == "COMPLETE"
    metrics = given.pop("metrics", {"val_loss": "x"} if complete else {})
    return Right(
        **given,
        reason=(reason,) if isinstance(reason, str) else tuple(reason),
        metrics=None if metrics == "any" else metrics,
        history=None if history == "any" else _by_step(history),
        others=tuple(_right(source, other) for other in others),
    )


def _by_step(given: Mapping[Any, Any]) -> dict[int, Mapping[str, Number]]:
    found = {}
    for steps, metrics in given.items():
        first, _, last = str(steps).partition("-")
        found.update(dict.fromkeys(range(int(first), int(last or first) + 1), metrics))
    return found


def _check_keys(source: Path, given: Mapping[str, Any], known: set[str]) -> None:
    if unknown := given.keys() - known:
        raise ValueError(f"{source}: {', '.join(sorted(unknown))} is not among {', '.join(sorted(known))}")
