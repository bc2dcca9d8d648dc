"""Start a module of hpo as a process that the files of a working folder cannot disturb.

`python -m` puts the working folder first on sys.path, so that a user's `hpo.py` or `queue.py` there would be imported
in place of what hpo and its libraries mean. A process of this module begins without that folder and imports hpo from
the place of this file, also where hpo is not installed. So do the processes that multiprocessing spawns from it: they
run this file again, as `__mp_main__`.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import subprocess

_PACKAGE = Path(__file__).absolute().parents[1]
# Names and folders of the packages that the parent process chose, as JSON (hpo.objective.load.use_package).
_PACKAGES = "HPO_PACKAGES"


def command(module: str, *arguments: object) -> list[str]:
    """Return the command line that calls `main()` of a module of hpo, with `arguments` in sys.argv."""
    return [sys.executable, "-P", __file__, module, *map(str, arguments)]


def start_helper(module: str, *arguments: object, **options: Any) -> subprocess.Popen[bytes]:
    """Start a process that works beside the driver, with one thread; `options` are those of Popen.

    Ctrl-C is for the driver. A session of its own would be a scheduling group of its own, in which a low priority
    yields to nobody else's trials.
    """
    import subprocess  # not in each worker, which this file starts

    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    # The working folder may be removed meanwhile, in which libraries fail; helpers need none.
    return subprocess.Popen(command(module, *arguments), env=environment, process_group=0, cwd=os.sep, **options)


def folder_to_add() -> str:
    """Return the folder that PYTHONPATH needs for `python -P -m hpo` to find this hpo; empty where it is installed."""
    found = PathFinder.find_spec("hpo", [entry for entry in sys.path if entry])
    installed = found is not None and found.origin == str(_PACKAGE / "__init__.py")
    return "" if installed else str(_PACKAGE.parent)


def _import_hpo() -> None:
    """Import the hpo that this file belongs to, whatever sys.path holds."""
    spec = spec_from_file_location("hpo", _PACKAGE / "__init__.py", submodule_search_locations=[str(_PACKAGE)])
    if spec is None or spec.loader is None:
        raise ImportError(f"{_PACKAGE} is not a Python package")
    sys.modules["hpo"] = package = module_from_spec(spec)
    spec.loader.exec_module(package)
    # Last, for programs that import it by themselves.
    if (folder := str(_PACKAGE.parent)) not in sys.path:
        sys.path.append(folder)


if __name__ == "__main__":
    os.environ.pop(_PACKAGES, None)
    _import_hpo()
    del sys.argv[0]
    importlib.import_module(sys.argv[0]).main()
elif __name__ == "__mp_main__":
    _import_hpo()
    # A process that the objective has started is not the one that runs the trial.
    importlib.import_module("hpo.worker.current_trial").set_none()
    for name, folder in json.loads(os.environ.get(_PACKAGES, "{}")).items():
        importlib.import_module("hpo.objective.load").use_package(name, folder)
