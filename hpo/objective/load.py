"""The objective as a function: its module is imported, from the file that `locate` names."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from hpo.errors import ObjectiveError
from hpo.objective.locate import _python_file, split_target
from hpo.text import nearest
from hpo.trial import ObjectiveRef


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
