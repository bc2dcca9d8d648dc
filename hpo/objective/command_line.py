"""Command line of a program that is an objective: its placeholders, their problems and their values.

A command is a list of texts with placeholders. `{learning_rate}` is a parameter, `{weights.dice}` one weight of a
simplex, `{constants.epochs}` a constant. `{seed}`, `{number}` and `{directory}` belong to the trial. `{{` and `}}` are
braces. An entry that is itself a list is left out if one of its placeholders is a conditional parameter that the
trial does not have. `python` is the interpreter that runs hpo, so that the program can import hpo.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo.errors import KeyPath, ObjectiveError
from hpo.objective.locate import PYTHON, locate, nearest_file
from hpo.text import label, listing, nearest
from hpo.trial import ObjectiveRef

if TYPE_CHECKING:
    from hpo.space.search_space import SearchSpace

RESERVED = ("seed", "number", "directory", "constants")
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


def fill_command(
    ref: ObjectiveRef,
    params: Mapping[str, Any],
    constants: Mapping[str, Any],
    seed: int,
    directory: str | os.PathLike[str],
    number: int,
) -> list[str]:
    """Return the argument list of one trial.

    Text is put in as it is, everything else as JSON (`true`, `0.001`, `null`, `[3, 4]`).

    Raises:
        ObjectiveError: A placeholder has no value.
    """
    values = {**params, "seed": seed, "directory": os.fspath(directory), "number": number}
    filled = []
    for part in ref.command:
        if isinstance(part, str):
            filled.append(_fill(part, values, constants))
        elif all(_has_value(name, values, constants) for entry in part for name in placeholders(entry)):
            filled += [_fill(entry, values, constants) for entry in part]
    if filled and filled[0] in PYTHON:
        filled[0] = sys.executable  # with the packages that hpo was installed beside
    return filled


def placeholders(text: str) -> list[str]:
    """Return the names in braces, in their order."""
    return [found[1] for found in _PLACEHOLDER.finditer(text) if found[1] is not None]


def not_placed(ref: ObjectiveRef, names: Iterable[str]) -> tuple[str, ...]:
    """Return the parameters of which no placeholder of a command is."""
    parts = [entry for part in ref.command for entry in ((part,) if isinstance(part, str) else part)]
    placed = {name for part in parts for name in placeholders(part)}
    placed |= {name.partition(".")[0] for name in placed}
    return tuple(name for name in names if name not in placed)


def command_problems(
    ref: ObjectiveRef, space: SearchSpace, constants: Mapping[str, Any] | None = None
) -> list[tuple[KeyPath, str]]:
    """Return the problems of a command's placeholders, as (index in the command, sentence) pairs."""
    problems: list[tuple[KeyPath, str]] = []
    always = space.always_active()
    for index, part in enumerate(ref.command):
        inner = not isinstance(part, str)
        for entry_index, entry in enumerate((part,) if isinstance(part, str) else part):
            path: KeyPath = (index, entry_index) if inner else (index,)
            if any(found[0] in "{}" for found in _PLACEHOLDER.finditer(entry)):
                problems.append((path, f"'{entry}' has a single brace; write {{{{ or }}}} for a brace that is text"))
            for name in placeholders(entry):
                message = _placeholder_problem(name, space, constants or {}, inner or name.split(".")[0] in always)
                if message:
                    problems.append((path, message))
    for parameter in space.parameters:
        if parameter.name in RESERVED:
            problems.append(((), f"'{{{parameter.name}}}' is hpo's own placeholder; rename the parameter of that name"))
    return problems


def program_problems(ref: ObjectiveRef) -> list[tuple[KeyPath, str]]:
    """Return what this machine lacks for a command: its program, or the script that python is to run."""
    try:
        locate(ref)
    except ObjectiveError as error:
        return [((0,), str(error))]
    script = ref.command[1] if len(ref.command) > 1 else ""
    if ref.command[0] in PYTHON and isinstance(script, str) and script.endswith(".py") and not placeholders(script):
        file = Path(ref.root, script)
        if not os.path.isfile(file):
            return [((1,), f"there is no file {file}.{nearest_file(file)}")]
    return []


def _placeholder_problem(name: str, space: SearchSpace, constants: Mapping[str, Any], may_be_absent: bool) -> str:
    if name.startswith("constants."):
        known = _constant_names(constants)
        key = name.removeprefix("constants.")
        return "" if key in known else f"'{{{name}}}': there is no constant '{key}'.{nearest(key, known)}"
    if name in ("seed", "number", "directory"):
        return ""
    head, _, weight = name.partition(".")
    homes = [parameter for parameter in space.walk() if parameter.name == head]
    if weight:
        homes = [parameter for parameter in homes if parameter.kind == "simplex" and weight in parameter.choices]
    if not homes:
        known = [parameter.name for parameter in space.walk()]
        known += [f"{p.name}.{w}" for p in space.walk() if p.kind == "simplex" for w in p.choices]
        known += ["seed", "number", "directory", *(f"constants.{key}" for key in _constant_names(constants))]
        return f"'{{{name}}}' is not a placeholder; expected {listing(known)}.{nearest(name, known)}"
    if may_be_absent:
        return ""
    where = " or ".join(home.condition_text for home in homes)
    inner = f"[--{head}, '{{{name}}}']"
    return f"'{{{name}}}' is there only where {where}; put it in an inner list, {inner}, which is left out elsewhere"


def _constant_names(constants: Mapping[str, Any], prefix: str = "") -> list[str]:
    names = []
    for key, value in constants.items():
        names.append(f"{prefix}{label(key)}")
        if isinstance(value, Mapping):
            names += _constant_names(value, f"{prefix}{label(key)}.")
    return names


def _lookup(name: str, values: Mapping[str, Any], constants: Mapping[str, Any]) -> Any:
    """Return the value of a placeholder; KeyError if there is none."""
    found: Any = {**values, "constants": constants}
    if name in found:
        return found[name]
    for part in name.split("."):
        if not isinstance(found, Mapping):
            raise KeyError(name)
        keys = {label(key): key for key in found}  # a key may be a number
        found = found[keys[part]]
    return found


def _has_value(name: str, values: Mapping[str, Any], constants: Mapping[str, Any]) -> bool:
    try:
        _lookup(name, values, constants)
    except KeyError:
        return False
    return True


def _fill(text: str, values: Mapping[str, Any], constants: Mapping[str, Any]) -> str:
    def replacement(found: re.Match[str]) -> str:
        if found[1] is None:
            return found[0][0]
        try:
            value = _lookup(found[1], values, constants)
        except KeyError:
            raise ObjectiveError(f"'{text}' of the command: '{{{found[1]}}}' has no value in this trial") from None
        return value if isinstance(value, str) else json.dumps(value, default=str)

    return _PLACEHOLDER.sub(replacement, text)
