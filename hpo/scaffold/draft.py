"""A study as it is drafted from what was found: what is searched and why, what is kept, what a person must decide."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hpo.errors import SpecError
from hpo.objective.command_line import RESERVED
from hpo.space.search_space import SearchSpace
from hpo.spec.study_name import LONGEST, name_problem


class Missing:
    """Value of a setting that has no default."""

    def __repr__(self) -> str:
        return "no default"


MISSING = Missing()
# Stands for a setting's value in the words that set it. No name of an argument holds it.
VALUE = "\0"


@dataclass(frozen=True)
class Setting:
    """A value of a script that can be set from outside.

    Attributes:
        name: its name in the script: `batch_size`, `LEARNING_RATE`, `optimizer.lr`.
        value: its default; MISSING: it has none.
        kind: float, int, bool, text, or empty where the script does not say.
        choices: the values that the script takes; empty: any.
        shown: how messages call it, such as `--batch-size`.
        arguments: the words of a command line that set it, VALUE where its value goes; empty: it is read from the
            trial.
        flag: the words of a command line that switch it on, where it takes no value.
        required: the script does not start without it.
        forms: texts by which the command line says true and false; empty: as JSON does.
        limits: the least and the largest value that the script takes; None: any.
    """

    name: str
    value: Any
    kind: str = ""
    choices: tuple[Any, ...] = ()
    shown: str = ""
    arguments: tuple[str, ...] = ()
    flag: str = ""
    required: bool = False
    forms: tuple[str, str] | tuple[()] = ()
    limits: tuple[float | None, float | None] = (None, None)


def kind_of(value: Any) -> str:
    """Return the kind of a setting that has a value: bool, int, float or text."""
    if isinstance(value, bool):
        return "bool"
    return {int: "int", float: "float"}.get(type(value), "text")


@dataclass(frozen=True)
class Entry:
    """A line of `search_space` or of `constants`.

    Attributes:
        name: the key.
        declared: what stands behind it.
        why: where it comes from.
        decide: what a person must decide; empty: nothing.
        default: the value that the script has today; MISSING: none that can be tried first.
    """

    name: str
    declared: Any
    why: str = ""
    decide: str = ""
    default: Any = MISSING


@dataclass(frozen=True)
class MetricEntry:
    """A metric of the study, and what a person must decide of it."""

    name: str
    direction: str
    decide: str = ""


@dataclass
class Draft:
    """A study that is to be written.

    Attributes:
        name: of the study.
        title: comment lines at the top of the file.
        objective: `file.py:function`; or
        command: the program and its arguments.
        metrics: what is optimised.
        parameters: what is searched.
        constants: what every trial gets unchanged.
        group_by: the parameter that is compared within; empty: none.
        settings: further keys of the study, in their order, each with a comment.
        first: values of the first trial that stand inside choices of `parameters`.
        notes: sentences of what was seen and is not in the study.
        decide: sentences on what a person must decide that has no line of its own.
    """

    name: str
    title: tuple[str, ...] = ()
    objective: str = ""
    command: list[str | list[str]] = field(default_factory=list)
    metrics: list[MetricEntry] = field(default_factory=list)
    parameters: list[Entry] = field(default_factory=list)
    constants: list[Entry] = field(default_factory=list)
    group_by: str = ""
    settings: list[Entry] = field(default_factory=list)
    first: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    decide: list[str] = field(default_factory=list)


def study_name(wanted: str) -> str:
    """Return a name for a study, made of a file's or a folder's."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", wanted).strip("-_.")[:LONGEST] or "study"
    return f"{name}-study" if name_problem(name) else name


def key_name(wanted: str, taken: Iterable[str]) -> str:
    """Return a name for a parameter or constant, made of a script's, that is not taken."""
    name = re.sub(r"[^A-Za-z0-9_]+", "_", wanted).strip("_") or "value"
    if name[0].isdigit():
        name = f"_{name}"
    used = {*taken, *RESERVED, "include"}
    if name not in used:
        return name
    return next(other for n in range(2, 10_000) if (other := f"{name}_{n}") not in used)


def refused(declared: Any) -> str:
    """Return why a range is none, as a study would say it; empty if it is one."""
    try:
        SearchSpace.parse({"it": declared})
    except SpecError as error:
        return error.problems[0].message
    return ""


def default_group(parameters: Sequence[Entry]) -> str:
    """Return the parameter that trials are compared within: the architecture, if one is chosen."""
    for entry in parameters:
        words = re.split(r"[_\W]+", entry.name.lower())
        choices = entry.declared.get("choices") if isinstance(entry.declared, dict) else None
        if choices and {"arch", "architecture", "model", "backbone", "net", "network", "encoder"} & {*words}:
            return entry.name if all(isinstance(choice, str) for choice in choices) else ""
    return ""
