"""Place of an objective, found without importing it."""

from __future__ import annotations

import ast
import importlib
import os
import shutil
import sys
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from hpo.errors import ObjectiveError
from hpo.text import listing, nearest
from hpo.trial import ObjectiveRef

PYTHON = ("python", "python3")
# What makes an objective of a function that takes the parameters themselves.
_AROUND = "def objective(trial): return {name}(**trial.params)"
# The package of objectives that comes with hpo, and the folder that holds it and hpo itself.
BUILT_IN = "objectives"
PACKAGE_FOLDER = str(Path(__file__).absolute().parents[2])


@dataclass(frozen=True)
class Location:
    """Place of an objective.

    Attributes:
        file: File of the definition, or the program of a command.
        line: Line of the definition; None: not known.
    """

    file: str
    line: int | None = None

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}"


@dataclass(frozen=True)
class ModuleLocation:
    """File of a module (None: built in), and the folder that holds its outermost package (None: it is installed)."""

    name: str
    file: Path | None
    folder: str | None


def locate(ref: ObjectiveRef) -> Location:
    """Find the objective without importing it, so that no code of the user runs.

    Raises:
        ObjectiveError: The module, file, function or program does not exist, the file does not parse, or the function
            does not take exactly one argument.
    """
    if ref.command:
        return Location(_find_program(ref.command[0], ref.root))
    _, function = split_target(ref.target)
    file = file_of(ref)
    if not file.endswith(".py"):
        return Location(file)  # compiled: only importing can tell
    return Location(file, _find_function(Path(file), function))


def file_of(ref: ObjectiveRef) -> str:
    """Return the file of an objective that is a function, or its module's name if there is none.

    Raises:
        ObjectiveError: There is no such module or file.
    """
    place, _ = split_target(ref.target)
    file = find_file(place, ref.root) if place.endswith(".py") else find_module(place, ref.root).file
    return str(file or place)


def split_target(target: str) -> tuple[str, str]:
    """Return the halves of `module:function` or `file.py:function`; ObjectiveError if it is neither."""
    place, colon, function = target.rpartition(":")
    if colon and place and function.isidentifier() and (place.endswith(".py") or _is_module(place)):
        return place, function
    guess = ""
    if not colon and target.endswith(".py"):
        guess = f" Did you mean '{target}:train'?"
    elif not colon and "." in target and _is_module(target):
        guess = f" Did you mean '{':'.join(target.rsplit('.', 1))}'?"
    raise ObjectiveError(f"'{target}' names no objective; expected module:function or file.py:function.{guess}")


def find_file(place: str, root: str) -> Path:
    """Return the absolute path of the file of `file.py:function`; ObjectiveError if there is none."""
    file = Path(root, place)
    if not os.path.isfile(file):
        raise ObjectiveError(f"there is no file {file}.{nearest_file(file)}")
    return file.absolute()


def find_module(name: str, root: str) -> ModuleLocation:
    """Find the file a module is imported from, without importing its packages.

    The first folder that has the whole dotted name is used: `root`, then the folder of hpo for a module of
    `objectives`, then the installed packages. The working folder is not searched: a worker may have another one.

    Raises:
        ObjectiveError: There is no such module, or it is a folder without `__init__.py`.
    """
    importlib.invalidate_caches()
    parts = name.split(".")
    folders = [root, *([PACKAGE_FOLDER] if parts[0] == BUILT_IN else []), None]
    searches = []
    for folder in folders:
        found = _descend(parts, folder)
        if len(found) == len(parts):
            return ModuleLocation(name, _file_of(name, found[-1]), folder)
        searches.append(found)
    deepest = max(searches, key=len)
    depth = len(deepest)
    within = f"'{'.'.join(parts[:depth])}'" if depth else f"{root} nor among the installed packages"
    searched = list(deepest[-1].submodule_search_locations or []) if depth else [root]
    near = nearest(parts[depth], _modules_in(searched))
    raise ObjectiveError(f"there is no module '{'.'.join(parts[: depth + 1])}' in {within}.{near}")


def _descend(parts: list[str], folder: str | None) -> list[ModuleSpec]:
    """Return the specs of a module's packages and of itself, as far as found; `folder` None: installed."""
    found: list[ModuleSpec] = []
    for depth, part in enumerate(parts, start=1):
        if not found:
            spec = _installed(part) if folder is None else PathFinder.find_spec(part, [folder])
        else:
            within = found[-1].submodule_search_locations
            spec = None if within is None else PathFinder.find_spec(".".join(parts[:depth]), list(within))
        if spec is None:
            break
        found.append(spec)
    return found


def _file_of(name: str, spec: ModuleSpec) -> Path | None:
    if spec.origin is not None and spec.has_location:
        return Path(spec.origin)
    if spec.submodule_search_locations:
        modules = listing(_modules_in(list(spec.submodule_search_locations))) or "it has none"
        raise ObjectiveError(f"'{name}' is a folder without __init__.py; expected one of its modules: {modules}")
    return None


def _installed(name: str) -> ModuleSpec | None:
    """Find a module as a fresh interpreter does: regardless of imported modules and the working folder."""
    for finder in sys.meta_path:
        path = [entry for entry in sys.path if entry] if finder is PathFinder else None
        find = getattr(finder, "find_spec", None)
        if find is not None and (spec := find(name, path)) is not None:
            found: ModuleSpec = spec
            return found
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


def check_class(module: str, name: str, root: str) -> None:
    """Look whether a module has a class, without importing it.

    What a compiled module has, or one that imports all names of another, is not known.

    Raises:
        ObjectiveError: There is no such module, or no such name in it, or it is a function.
    """
    if not _is_module(module) or not name.isidentifier():
        raise ObjectiveError(f"'{module}:{name}' names no class; expected package.module:Class")
    file = find_module(module, root).file
    if file is None or file.suffix != ".py":
        return
    found = _definitions(file)
    if name in found.functions:
        raise ObjectiveError(f"'{name}' of '{module}' is a function; expected a class")
    if name not in found.classes and name not in found.others and not found.more:
        raise ObjectiveError(f"'{module}' has no class '{name}'.{nearest(name, found.classes)}")


@dataclass(frozen=True)
class _Definitions:
    """Names at the top level of a file with their lines; `more`: it may have others."""

    functions: dict[str, ast.stmt]
    classes: dict[str, int]
    others: dict[str, int]
    more: bool


def _definitions(file: Path) -> _Definitions:
    try:
        tree = ast.parse(file.read_bytes(), str(file))
    except OSError as error:
        raise ObjectiveError(f"{file} cannot be read: {error.strerror}") from error
    except (SyntaxError, ValueError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        said = error.msg if isinstance(error, SyntaxError) else str(error)
        raise ObjectiveError(f"{file}{line}: this is not valid Python: {said}") from error
    functions: dict[str, ast.stmt] = {}
    classes: dict[str, int] = {}
    others: dict[str, int] = {}
    star = False
    for statement in _top_level(tree.body):
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            functions[statement.name] = statement
        elif isinstance(statement, ast.ClassDef):
            classes[statement.name] = statement.lineno
        elif isinstance(statement, (ast.Import, ast.ImportFrom)):
            for alias in statement.names:
                star |= alias.name == "*"
                others[alias.asname or alias.name.split(".")[0]] = statement.lineno
        elif isinstance(statement, (ast.Assign, ast.AnnAssign)):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            others.update({target.id: statement.lineno for target in targets if isinstance(target, ast.Name)})
    return _Definitions(functions, classes, others, star or "__getattr__" in functions)


def _find_function(file: Path, name: str) -> int | None:
    """Return the line of the definition of `name` at the top level of a file; None: not known."""
    found = _definitions(file)
    functions, others = found.functions, found.others | found.classes
    if name in functions:
        _check_arguments(functions[name], file)
        return functions[name].lineno
    if name in others:
        return others[name]
    if found.more:
        return None
    public = [function for function in functions if not function.startswith("_")]
    there = f" It has {listing(public)}." if public else " It has no functions."
    raise ObjectiveError(f"{file} has no function '{name}'.{nearest(name, functions)}{there}")


def _top_level(body: list[ast.stmt]) -> list[ast.stmt]:
    """Return the statements of a module, including those under `if`, `try` and `with`."""
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
    name = function.name
    if len(required) > 1 or needed or not (positional or arguments.vararg):
        said = ", ".join([*(argument.arg for argument in required), *needed]) or "none"
        around = f", or around it: {_AROUND.format(name=name)}" if required or needed else ""
        raise ObjectiveError(f"{where} needs other arguments ({said}) than one trial; expected {name}(trial){around}")
    if positional and _is_value(positional[0], arguments.defaults[0] if not required else None):
        said = f"takes {positional[0].arg} first, which is no trial"
        raise ObjectiveError(f"{where} {said}; expected {name}(trial), or around it: {_AROUND.format(name=name)}")


def _is_value(argument: ast.arg, default: ast.expr | None) -> bool:
    """Return True if an argument is a number, a text, true or false, by its default or its annotation."""
    written = argument.annotation
    named = written.value if isinstance(written, ast.Constant) else getattr(written, "id", "")
    literal = default.value if isinstance(default, ast.Constant) else None
    return literal is not None or isinstance(default, ast.UnaryOp) or named in ("bool", "float", "int", "str")


def _find_program(program: str | tuple[str, ...], root: str) -> str:
    if not isinstance(program, str):
        raise ObjectiveError("the command begins with a list; expected the program, such as python")
    if program in PYTHON:
        return sys.executable
    if os.sep in program:
        file = Path(root, program)
        if not os.path.isfile(file):
            raise ObjectiveError(f"there is no program {file}.{nearest_file(file)}")
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


def nearest_file(file: Path) -> str:
    """Return a sentence that names the most similar file in the folder, or says that the folder is missing."""
    if not os.path.isdir(file.parent):
        return f" The folder {file.parent} does not exist."
    return nearest(file.name, [other.name for other in file.parent.iterdir() if os.path.isfile(other)])
