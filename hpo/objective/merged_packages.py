"""Subpackages of a package that lies in two folders: of `objectives.losses` the user's modules, and then hpo's own."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType


def merge_subpackages(package: str) -> None:
    """Let each folder of a package add to its subpackages, where Python takes them from the first folder alone."""
    if not any(isinstance(finder, _Merged) and finder.package == package for finder in sys.meta_path):
        sys.meta_path.insert(0, _Merged(package))


class _Merged(MetaPathFinder):
    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return the spec of a subpackage with the folders of all; None: let Python find it."""
        if not name.startswith(f"{self.package}.") or path is None or len(list(path)) < 2:
            return None
        specs = [spec for entry in path if (spec := PathFinder.find_spec(name, [entry])) is not None]
        if len(specs) < 2 or specs[0].submodule_search_locations is None:
            return None
        # One with an `__init__.py` is run, whichever folder it is in.
        chosen = next((spec for spec in specs if spec.loader is not None and spec.has_location), specs[0])
        folders = [folder for spec in specs for folder in spec.submodule_search_locations or ()]
        chosen.submodule_search_locations = folders
        return chosen
