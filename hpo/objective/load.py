"""Import an objective as a function, from exactly the file that `hpo.objective.locate` names."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
from collections.abc import Callable
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from hpo.errors import ObjectiveError
from hpo.objective.locate import BUILT_IN, PACKAGE_FOLDER, find_file, find_module, split_target
from hpo.objective.merged_packages import merge_subpackages
from hpo.text import message_of, nearest
from hpo.trial import ObjectiveRef

# The folder of Python's own modules.
_LIBRARY = os.path.dirname(os.__file__)
# The packages that `use_package` chose, and their folders. The variable tells them to processes that multiprocessing
# spawns (hpo.machine.start).
_chosen: dict[str, str] = {}
_PACKAGES = "HPO_PACKAGES"


def load(ref: ObjectiveRef) -> Callable[..., Any]:
    """Import the objective's module and return the function.

    `ref.root` stays on sys.path, for what the objective imports later: after Python's own modules and before installed
    packages.

    Raises:
        ObjectiveError: There is no such module or function, or importing it raised.
    """
    place, function = split_target(ref.target)
    try:
        search_in(ref.root)
        if place.endswith(".py"):
            file = find_file(place, ref.root)
            search_in(str(file.parent))
            module = _import_file(file.stem, file)
        else:
            module = import_module(place, ref.root)
    except (ObjectiveError, KeyboardInterrupt):
        raise
    except BaseException as error:
        said = f"importing '{place}' raised {type(error).__name__}: {message_of(error)}{_hint(error, ref)}"
        raise ObjectiveError(said) from error
    found = getattr(module, function, None)
    if found is None:
        names = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        raise ObjectiveError(f"'{place}' has no function '{function}'.{nearest(function, names)}")
    if not callable(found):
        raise ObjectiveError(f"'{function}' of '{place}' is {type(found).__name__}; expected a function of one trial")
    checked: Callable[..., Any] = found
    return checked


def missing_package(error: BaseException) -> str:
    """Return which Python lacks a package, and how it is installed, as `; sentence`; empty for other errors."""
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return ""
    top = error.name.partition(".")[0]
    if importlib.util.find_spec(top) is not None:
        return ""
    install = f"`{sys.executable} -m pip install {top}` if it is a package"
    return f"; {sys.executable} has no '{top}': {install}, or let root be the folder that holds it"


def _hint(error: BaseException, ref: ObjectiveRef) -> str:
    place, function = split_target(ref.target)
    if isinstance(error, ImportError) and "attempted relative import" in str(error) and place.endswith(".py"):
        file = Path(ref.root, place)
        above = [folder for folder in file.parents if folder == Path(ref.root) or Path(ref.root) in folder.parents]
        names = (*file.relative_to(above[-1]).parts[:-1], file.stem) if above else (file.stem,)
        if len(names) > 1 and all(name.isidentifier() for name in names):
            return f"; a file that imports relatively is a module of a package: objective: {'.'.join(names)}:{function}"
        return "; a file that imports relatively is a module of a package: let root be the folder above the package"
    return missing_package(error)


def import_module(name: str, root: str) -> ModuleType:
    """Import the module that `find_module` finds, with its packages from the same folder.

    Raises:
        ObjectiveError: There is no such module, or its package has the name of another that is in use.
    """
    found = find_module(name, root)
    search_in(root)
    if found.folder is None:
        return importlib.import_module(name)
    top = name.partition(".")[0]
    if found.file is not None and found.name == top and found.file.name != "__init__.py":
        return _import_file(top, found.file)
    use_package(top, found.folder)
    return importlib.import_module(name)


def search_in(folder: str) -> None:
    """Put a folder on sys.path, after Python's own modules and before all else.

    So a `queue.py` in it does no harm, and a `utils.py` in it is found rather than one that is installed.
    """
    library = [entry for entry in sys.path if entry in (_LIBRARY, os.path.join(_LIBRARY, "lib-dynload"))]
    others = [entry for entry in sys.path if entry not in (*library, folder)]
    sys.path[:] = [*library, folder, *others]


def use_package(name: str, folder: str) -> None:
    """Make `import name` mean the package in `folder`, here and in processes that multiprocessing spawns.

    Plain imports would take another package of that name that stands earlier on sys.path, or one with an
    `__init__.py` rather than one without. A user's package `objectives` also finds the modules of hpo's own that it
    has not itself.

    Raises:
        ObjectiveError: A package of that name is in use, and is none of an objective.
    """
    spec = PathFinder.find_spec(name, [folder])
    if spec is None or spec.submodule_search_locations is None:
        raise ObjectiveError(f"there is no package '{name}' in {folder}")
    places = list(spec.submodule_search_locations)
    if name == BUILT_IN and folder != PACKAGE_FOLDER:
        places.append(os.path.join(PACKAGE_FOLDER, BUILT_IN))
        merge_subpackages(name)
    present = sys.modules.get(name)
    if present is not None and list(getattr(present, "__path__", ())) == places:
        return
    if name in sys.stdlib_module_names or (present is not None and name not in (BUILT_IN, *_chosen)):
        raise ObjectiveError(
            f"the package '{name}' in {folder} has the name of a module that Python or hpo uses; rename the folder"
        )
    for loaded in [loaded for loaded in sys.modules if loaded == name or loaded.startswith(f"{name}.")]:
        del sys.modules[loaded]
    module = importlib.util.module_from_spec(spec)
    module.__path__ = places
    sys.modules[name] = module
    try:
        if spec.loader is not None:
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    _chosen[name] = folder
    os.environ[_PACKAGES] = json.dumps(_chosen)


def _import_file(name: str, file: Path) -> ModuleType:
    """Import a file under its own name, so that what it defines can be pickled."""
    present = sys.modules.get(name)
    if present is not None and Path(getattr(present, "__file__", None) or "").absolute() == file:
        return present
    if present is not None or name in sys.stdlib_module_names:
        name = f"hpo_objective_{name}"  # others mean another module by the name
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
