"""Families of parameters: files that a `search_space` includes.

Each key keeps its Place, so that a message names the file in which it was given.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hpo.errors import KeyPath, SpecError
from hpo.spec.yaml_document import Document, Place, read_yaml
from hpo.text import nearest, quote

_PACKAGE = Path(__file__).resolve().parents[1]


def packaged(folder: str, name: str) -> list[Path]:
    """Return the paths at which a study or family that comes with hpo may be: beside the package, or in it."""
    return [root / part / name for root in (_PACKAGE.parent, _PACKAGE) for part in ("", folder)]


def built_in_studies() -> dict[str, Path]:
    """Return the studies that come with hpo, by the names under which commands find them."""
    folders = [root / "studies" for root in (_PACKAGE.parent, _PACKAGE)]
    return {f"studies/{file.name}": file for folder in folders for file in sorted(folder.glob("*.yaml"))}


def merge_families(document: Document, source: Path) -> None:
    """Put the families that a study's `search_space` includes into its document; problems go to the document."""
    if isinstance(document.data.get("search_space"), dict):
        root = source.parent / str(document.data.get("root") or "")
        _include(document, ("search_space",), source, root, (source.resolve(),))


def _include(document: Document, at: KeyPath, source: Path, root: Path, stack: tuple[Path, ...]) -> None:
    """Put the parameters of the families that the mapping at `at` includes before its own."""
    space = document.data[at[0]] if at else document.data
    if "include" not in space:
        return
    names = space.pop("include")
    names = [names] if isinstance(names, str) else names
    here = (*at, "include")
    if not isinstance(names, list):
        document.problems.append(document.problem(here, f"{quote(names)} is not a list of files"))
        return
    merged: dict[Any, Any] = {}
    places: dict[KeyPath, Place] = {}
    for index, name in enumerate(names):
        path = (*here, index)
        file = _family(name, source, root) if isinstance(name, str) else None
        if file is None:
            document.problems.append(document.problem(path, _not_found(name, source, root)))
            continue
        if file.resolve() in stack:
            document.problems.append(document.problem(path, f"{file} includes itself"))
            continue
        try:
            family = read_yaml(file)
        except SpecError as error:
            document.problems.extend(error.problems)
            continue
        if not isinstance(family.data, dict):
            family.problems.append(family.problem((), f"{quote(family.data)} is not a family; expected its parameters"))
        else:
            _include(family, (), file, root, (*stack, file.resolve()))
            for key, declared in family.data.items():
                joined = _joined(merged.get(key), declared)
                if joined is None:
                    places = {kept: place for kept, place in places.items() if kept[: len(at) + 1] != (*at, key)}
                merged[key] = declared if joined is None else joined
            places.update({(*at, *keys): place for keys, place in family.places.items() if keys})
        document.problems.extend(family.problems)
    overridden = set(space)
    document.places.update({keys: place for keys, place in places.items() if keys[len(at)] not in overridden})
    own = dict(space)
    space.clear()
    space.update(merged | own)


def _joined(earlier: Any, later: Any) -> dict[Any, Any] | None:
    """Return one parameter that offers the named choices of both families, None if the later one replaces the other.

    A loss is a file, and a study includes those that it wants.
    """
    if not isinstance(earlier, dict) or not isinstance(later, dict):
        return None
    first, second = earlier.get("choices"), later.get("choices")
    if not isinstance(first, dict) or not isinstance(second, dict):
        return None
    return {**earlier, **later, "choices": {**first, **second}}


def _candidates(name: str, source: Path, root: Path) -> list[Path]:
    """Return where a family may be: beside the file that includes it, in the study's root, among hpo's own."""
    return [source.parent / name, root / name, *packaged("search_spaces", name)]


def _family(name: str, source: Path, root: Path) -> Path | None:
    for file in _candidates(name, source, root):
        if os.path.isfile(file):
            return file
    return None


def _not_found(name: Any, source: Path, root: Path) -> str:
    if not isinstance(name, str):
        return f"{quote(name)} is not the name of a file"
    candidates = _candidates(name, source, root)
    folders = {file.parent for file in candidates if os.path.isdir(file.parent)}
    there = sorted({file.name for folder in folders for file in folder.glob("*.yaml")})
    return f"there is no family {quote(name)} beside {source} nor among hpo's own.{nearest(Path(name).name, there)}"
