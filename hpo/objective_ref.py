"""Objectives: found without importing them (`locate`), imported (`load`), or written out as the
argument list of a command (`fill_command`).

A command is a list of texts with placeholders: `{learning_rate}` any parameter, `{weights.dice}`
one weight of a simplex, `{constants.epochs}`, `{seed}`, `{number}`, `{directory}`; `{{` and `}}`
are braces. An entry that is itself a list is left out when one of its placeholders is a conditional
parameter that the trial does not have. `python` is the interpreter that runs hpo, so that the
program can import hpo."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from hpo.errors import ObjectiveError, listing, nearest
from hpo.space import SearchSpace
from hpo.trial import ObjectiveRef
from hpo.yaml_source import KeyPath

RESERVED = ("seed", "number", "directory", "constants")
_PYTHON = ("python", "python3")
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


@dataclass(frozen=True)
class Location:
    """Where an objective stands: the file and the line of its definition (None: not known), or the
    program of a command."""

    file: str
    line: int | None = None

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}"


def locate(ref: ObjectiveRef) -> Location:
    """Finds the objective without importing it: nothing of the user's runs.

    Raises ObjectiveError when the module, file, function or program is not there, the file does
    not parse, or the function does not take exactly one argument."""
    if ref.command:
        return Location(_find_program(ref.command[0], ref.root))
    place, function = split_target(ref.target)
    file = _python_file(place, ref.root) if place.endswith(".py") else _module_file(place, ref.root)
    if file is None or file.suffix != ".py":
        return Location(str(file or place))  # compiled: only importing can tell
    return Location(str(file), _find_function(file, function))


def load(ref: ObjectiveRef) -> Callable[..., Any]:
    """Imports the objective's module and returns the function. `ref.root` stays first on sys.path,
    for what the objective imports later. Raises ObjectiveError, from what the import raised."""
    place, function = split_target(ref.target)
    if ref.root not in sys.path:
        sys.path.insert(0, ref.root)
    try:
        if place.endswith(".py"):
            module = _import_file(_python_file(place, ref.root))
        else:
            module = importlib.import_module(place)
    except ObjectiveError:
        raise
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise ObjectiveError(f"importing '{place}' raised {type(error).__name__}: {error}") from error
    found = getattr(module, function, None)
    if found is None:
        names = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        raise ObjectiveError(f"'{place}' has no function '{function}'.{nearest(function, names)}")
    if not callable(found):
        raise ObjectiveError(f"'{function}' of '{place}' is {type(found).__name__}; expected a function of one trial")
    checked: Callable[..., Any] = found
    return checked


def split_target(target: str) -> tuple[str, str]:
    """`module:function` or `file.py:function` as its two halves; ObjectiveError if it is neither."""
    place, colon, function = target.rpartition(":")
    if colon and place and function.isidentifier() and (place.endswith(".py") or _is_module(place)):
        return place, function
    guess = ""
    if not colon and target.endswith(".py"):
        guess = f" Did you mean '{target}:train'?"
    elif not colon and "." in target and _is_module(target):
        guess = f" Did you mean '{':'.join(target.rsplit('.', 1))}'?"
    raise ObjectiveError(f"'{target}' names no objective; expected module:function or file.py:function.{guess}")


def fill_command(
    ref: ObjectiveRef,
    params: Mapping[str, Any],
    constants: Mapping[str, Any],
    seed: int,
    directory: str | os.PathLike[str],
    number: int,
) -> list[str]:
    """The argument list of one trial. Text is put in as it is, all else as JSON (`true`, `0.001`,
    `null`, `[3, 4]`). Raises ObjectiveError for a placeholder that has no value."""
    values = {**params, "seed": seed, "directory": os.fspath(directory), "number": number}
    filled = []
    for part in ref.command:
        if isinstance(part, str):
            filled.append(_fill(part, values, constants))
        elif all(_has_value(name, values, constants) for entry in part for name in placeholders(entry)):
            filled += [_fill(entry, values, constants) for entry in part]
    if filled and filled[0] in _PYTHON:
        filled[0] = sys.executable
    return filled


def placeholders(text: str) -> list[str]:
    """The names in braces, in order."""
    return [found[1] for found in _PLACEHOLDER.finditer(text) if found[1] is not None]


def command_problems(
    ref: ObjectiveRef, space: SearchSpace, constants: Mapping[str, Any] | None = None
) -> list[tuple[KeyPath, str]]:
    """What is wrong with a command's placeholders, as (index in the command, sentence) pairs."""
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
    """What the machine lacks of a command: its program, or the script that python is to run."""
    try:
        locate(ref)
    except ObjectiveError as error:
        return [((0,), str(error))]
    script = ref.command[1] if len(ref.command) > 1 else ""
    if ref.command[0] in _PYTHON and isinstance(script, str) and script.endswith(".py") and not placeholders(script):
        file = Path(ref.root, script)
        if not os.path.isfile(file):
            return [((1,), f"there is no file {file}.{_nearest_file(file)}")]
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
        names.append(f"{prefix}{key}")
        if isinstance(value, Mapping):
            names += _constant_names(value, f"{prefix}{key}.")
    return names


def _lookup(name: str, values: Mapping[str, Any], constants: Mapping[str, Any]) -> Any:
    """The value of a placeholder; KeyError when there is none."""
    found: Any = {**values, "constants": constants}
    if name in found:
        return found[name]
    for part in name.split("."):
        if not isinstance(found, Mapping):
            raise KeyError(name)
        found = found[part]
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


def _find_program(program: str | tuple[str, ...], root: str) -> str:
    if not isinstance(program, str):
        raise ObjectiveError("the command begins with a list; expected the program, such as python")
    if program in _PYTHON:
        return sys.executable
    if os.sep in program:
        file = Path(root, program)
        if not os.path.isfile(file):
            raise ObjectiveError(f"there is no program {file}.{_nearest_file(file)}")
        if not os.access(file, os.X_OK):
            raise ObjectiveError(f"the program {file} may not be executed; chmod +x makes it so")
        return str(file)
    found = shutil.which(program)
    if found is None:
        here = f" Did you mean './{program}'?" if os.path.isfile(Path(root, program)) else ""
        raise ObjectiveError(f"the program '{program}' is not on $PATH; expected one that is, or a path.{here}")
    return found


def _is_module(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))


def _nearest_file(file: Path) -> str:
    if not os.path.isdir(file.parent):
        return f" The folder {file.parent} does not exist."
    return nearest(file.name, [other.name for other in file.parent.iterdir() if os.path.isfile(other)])


def _python_file(place: str, root: str) -> Path:
    file = Path(root, place)
    if not os.path.isfile(file):
        raise ObjectiveError(f"there is no file {file}.{_nearest_file(file)}")
    return file.absolute()


def _module_file(name: str, root: str) -> Path | None:
    """The file a module would be imported from; None for one built in. Imports no parent package."""
    importlib.invalidate_caches()
    parts = name.split(".")
    searched: list[str] | None = None
    spec: ModuleSpec | None = None
    for depth, part in enumerate(parts, start=1):
        dotted_name = ".".join(parts[:depth])
        if depth == 1:
            spec = PathFinder.find_spec(part, [root]) or _installed(part)
        else:
            spec = PathFinder.find_spec(dotted_name, searched) if searched is not None else None
        if spec is None:
            within = f"'{'.'.join(parts[: depth - 1])}'" if depth > 1 else f"{root} nor among the installed packages"
            near = nearest(part, _modules_in(searched if searched is not None else [root]))
            raise ObjectiveError(f"there is no module '{dotted_name}' in {within}.{near}")
        searched = list(spec.submodule_search_locations) if spec.submodule_search_locations is not None else None
    if spec is not None and spec.origin is not None and spec.has_location:
        return Path(spec.origin)
    if searched:
        modules = listing(_modules_in(searched)) or "it has none"
        raise ObjectiveError(f"'{name}' is a folder without __init__.py; expected one of its modules: {modules}")
    return None


def _installed(name: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(name)
    except ValueError:  # a module such as __main__, which was not imported from anywhere
        return None


def _modules_in(folders: list[str]) -> list[str]:
    names = set()
    for folder in map(Path, folders):
        for path in folder.iterdir() if os.path.isdir(folder) else ():
            if path.suffix == ".py" or (
                os.path.isdir(path) and path.name.isidentifier() and path.name != "__pycache__"
            ):
                names.add(path.stem)
    return sorted(names - {"__init__"})


def _find_function(file: Path, name: str) -> int | None:
    """The line of the definition of `name` at the top level of a file."""
    try:
        tree = ast.parse(file.read_bytes(), str(file))
    except OSError as error:
        raise ObjectiveError(f"{file} cannot be read: {error.strerror}") from error
    except (SyntaxError, ValueError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        said = error.msg if isinstance(error, SyntaxError) else str(error)
        raise ObjectiveError(f"{file}{line}: this is not valid Python: {said}") from error
    functions: dict[str, ast.stmt] = {}
    others: dict[str, int] = {}
    star = False
    for statement in _top_level(tree.body):
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            functions[statement.name] = statement
        elif isinstance(statement, ast.ClassDef):
            others[statement.name] = statement.lineno
        elif isinstance(statement, (ast.Import, ast.ImportFrom)):
            for alias in statement.names:
                star |= alias.name == "*"
                others[alias.asname or alias.name.split(".")[0]] = statement.lineno
        elif isinstance(statement, (ast.Assign, ast.AnnAssign)):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            others.update({target.id: statement.lineno for target in targets if isinstance(target, ast.Name)})
    if name in functions:
        _check_arguments(functions[name], file)
        return functions[name].lineno
    if name in others:
        return others[name]
    if star or "__getattr__" in functions:
        return None
    public = [function for function in functions if not function.startswith("_")]
    there = f" It has {listing(public)}." if public else " It has no functions."
    raise ObjectiveError(f"{file} has no function '{name}'.{nearest(name, functions)}{there}")


def _top_level(body: list[ast.stmt]) -> list[ast.stmt]:
    """The statements of a module, those under `if`, `try` and `with` too."""
    found = []
    for statement in body:
        found.append(statement)
        for block in ("body", "orelse", "finalbody"):
            if isinstance(statement, (ast.If, ast.Try, ast.With)):
                found += _top_level(getattr(statement, block, []))
        if isinstance(statement, ast.Try):
            for handler in statement.handlers:
                found += _top_level(handler.body)
    return found


def _check_arguments(function: ast.stmt, file: Path) -> None:
    assert isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
    where = f"{file}:{function.lineno}: '{function.name}'"
    if isinstance(function, ast.AsyncFunctionDef):
        raise ObjectiveError(f"{where} is async; expected a plain function of one trial")
    if function.decorator_list:
        return  # what a decorator makes of the arguments is not known before it runs
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    required = positional[: len(positional) - len(arguments.defaults)]
    needed = [a.arg for a, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if default is None]
    if len(required) > 1 or needed or not (positional or arguments.vararg):
        said = ", ".join([*(argument.arg for argument in required), *needed]) or "none"
        raise ObjectiveError(f"{where} needs other arguments ({said}) than one trial; expected {function.name}(trial)")


def _import_file(file: Path) -> ModuleType:
    """Imports a file under its own name, so that what it defines can be pickled; its folder goes on
    sys.path, for the modules beside it."""
    folder, name = str(file.parent), file.stem
    if folder not in sys.path:
        sys.path.insert(0, folder)
    present = sys.modules.get(name)
    if present is not None:
        if Path(getattr(present, "__file__", None) or "").absolute() == file:
            return present
        name = f"hpo_objective_{name}"  # the name is taken by another module
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ObjectiveError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
