"""What is merged into study.yaml before it is read: families of parameters (`include`) and the
shell's `--set key=value`. Both keep the Place of each key, so a message names where it was said."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hpo.errors import KeyPath, Problem, SpecError, dotted
from hpo.spec.yaml_document import Document, Place, load_text, read_yaml
from hpo.text import label, listing, nearest, quote

SPACE: KeyPath = ("search_space",)
INCLUDE: KeyPath = ("search_space", "include")
_NAMED = ("sampler", "pruner", "engine")
_PACKAGE = Path(__file__).resolve().parents[1]


def packaged(folder: str, name: str) -> list[Path]:
    """Where a study or a family that comes with hpo may be: beside the package, or in it."""
    return [root / part / name for root in (_PACKAGE.parent, _PACKAGE) for part in ("", folder)]


def merge(document: Document, source: Path, overrides: Sequence[str]) -> None:
    """Applies families and overrides to a study's document, in place; problems go to the document."""
    parsed = [item for text in overrides if (item := _parse(text, document)) is not None]
    for keys, value in parsed:
        if keys[:2] == INCLUDE:
            _set(document, keys, value)
    space = document.data.get("search_space")
    if isinstance(space, dict):
        _include(document, SPACE, source, (source.resolve(),))
    for keys, value in parsed:
        if keys[:2] != INCLUDE:
            _set(document, keys, value)


def _include(document: Document, at: KeyPath, source: Path, stack: tuple[Path, ...]) -> None:
    """Puts the parameters of the families that the mapping at `at` includes before its own."""
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
        file = _family(name, source) if isinstance(name, str) else None
        if file is None:
            document.problems.append(document.problem(path, _not_found(name, source)))
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
            _include(family, (), file, (*stack, file.resolve()))
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
    """Two families that each offer choices, by name, of one parameter offer them all: a loss is a file, and a study
    takes those it wants. None where the later one replaces the earlier one."""
    if not isinstance(earlier, dict) or not isinstance(later, dict):
        return None
    first, second = earlier.get("choices"), later.get("choices")
    if not isinstance(first, dict) or not isinstance(second, dict):
        return None
    return {**earlier, **later, "choices": {**first, **second}}


def _family(name: str, source: Path) -> Path | None:
    for file in (source.parent / name, *packaged("search_spaces", name)):
        if os.path.isfile(file):
            return file
    return None


def _not_found(name: Any, source: Path) -> str:
    if not isinstance(name, str):
        return f"{quote(name)} is not the name of a file"
    candidates = (source.parent / name, *packaged("search_spaces", name))
    folders = {file.parent for file in candidates if os.path.isdir(file.parent)}
    there = sorted({file.name for folder in folders for file in folder.glob("*.yaml")})
    return f"there is no family {quote(name)} beside {source} nor among hpo's own.{nearest(Path(name).name, there)}"


def _parse(text: str, document: Document) -> tuple[KeyPath, Any] | None:
    key, equals, written = text.partition("=")
    key = key.strip()
    if not equals or not key or not all(key.split(".")):
        message = f"'{text}' is not an override; expected KEY=VALUE, such as --set constants.epochs=2"
        document.problems.append(Problem("--set", None, "", message))
        return None
    try:
        value = load_text(written, f"--set {key}")
    except SpecError as error:
        value = Document(None, problems=list(error.problems))
    if value.problems:
        document.problems.extend(Problem(p.file, None, "", f"{p.message}, in '{text}'") for p in value.problems)
        return None
    return tuple(key.split(".")), value.data


def _set(document: Document, keys: KeyPath, value: Any) -> None:
    """Sets the value at `keys`, making the mappings on the way that the schema may have."""
    target: Any = document.data
    path: KeyPath = ()
    for depth, key in enumerate(keys):
        last = depth == len(keys) - 1
        if isinstance(target, dict):
            here: Any = next((known for known in target if label(known) == key), key)
            if here not in target and (message := _refused(target, path, key, last)):
                _say(document, keys, message)
                return
            if not last and target.get(here) is None:
                target[here] = {}
            if not last and (*path, here) in [(name,) for name in _NAMED] and isinstance(target[here], str):
                target[here] = {"name": target[here]}
        elif isinstance(target, list) and key.isdecimal() and int(key) < len(target):
            here = int(key)
        else:
            entries = f"has {len(target)} entries, counted from 0" if isinstance(target, list) else ""
            what = entries or f"is {quote(target)}, without keys"
            _say(document, keys, f"'{dotted(path)}' {what}; '{key}' cannot be set in it")
            return
        path = (*path, here)
        if last:
            target[here] = value
        else:
            target = target[here]
    document.places = {kept: place for kept, place in document.places.items() if kept[: len(path)] != path}
    document.places[path] = Place(f"--set {dotted(keys)}")


def _refused(target: Mapping[Any, Any], path: KeyPath, key: str, last: bool) -> str:
    """Why a key that is not there yet may not be made; empty if it may."""
    names = [label(name) for name in target]
    if path == SPACE or (path[:1] == SPACE and not last):
        return f"'{dotted(path)}' has no '{key}'; expected one of {listing(names)}.{nearest(key, names)}"
    # A new constant may well be meant, one spelled almost like another is not.
    if path[:1] == ("constants",) and nearest(key, names):
        return f"'{dotted(path)}' has no '{key}'.{nearest(key, names)}"
    return ""


def _say(document: Document, keys: KeyPath, message: str) -> None:
    document.problems.append(Problem(f"--set {dotted(keys)}", None, "", message))
