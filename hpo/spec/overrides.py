"""Overrides of the shell, `--set key=value`, put into a study's document before it is checked.

Each key keeps its Place, so that a message names the option with which it was given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hpo import layout
from hpo.errors import KeyPath, Problem, SpecError, dotted
from hpo.spec.yaml_document import Document, Place, load_text
from hpo.text import label, listing, nearest, nearest_name, quote

SPACE: KeyPath = ("search_space",)
_NAMED = ("sampler", "pruner", "engine")
_MISSPELT = 0.8  # likeness from which on a name is taken for another one
_PATHS = ("root", "path", "folder", "dir", "directory")  # constants that are paths, also without a slash

Override = tuple[KeyPath, Document]


def parse_overrides(texts: Sequence[str], document: Document, root: Path) -> list[Override]:
    """Return the overrides that `key.of.study=value` texts say; problems go to the document.

    Args:
        texts: As given.
        document: The study.
        root: The folder from which relative paths in the study count; those in an override count from the shell's.
    """
    return [override for text in texts if (override := _parse(text, document, root)) is not None]


def _parse(text: str, document: Document, root: Path) -> Override | None:
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
    keys = tuple(key.split("."))
    if keys[0] == "constants" and isinstance(value.data, str):
        value.data = _from_here(keys[-1], value.data, root)
    return keys, value


def _from_here(key: str, text: str, root: Path) -> str:
    """Return the path that a constant's text is in the shell, absolute; any other text as it is."""
    if text.startswith("~/"):
        return str(Path(text).expanduser())
    looks_like_path = key in _PATHS or "/" in text
    try:
        here = looks_like_path and Path(text).exists()
        there = (root / text).exists()
    except (OSError, ValueError):  # too long, or with a NUL: no path
        return text
    # A folder that is nowhere is looked for where it was typed, so that the message names that place.
    return str(layout.absolute(text)) if here or (key in _PATHS and not there) else text


def apply(document: Document, override: Override) -> None:
    """Set the value of an override; missing mappings on the way are made where the schema may have them."""
    keys, value = override
    target: Any = document.data
    path: KeyPath = ()
    for depth, key in enumerate(keys):
        last = depth == len(keys) - 1
        if isinstance(target, dict):
            here: Any = next((known for known in target if label(known) == key), key)
            if here not in target:
                if message := _refused(document.data, target, path, key, last):
                    _say(document, keys, message)
                    return
                if last and path[:1] == ("constants",):
                    document.notes.append(f"--set {dotted(keys)}: there was no constant '{key}', this is a new one")
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
            target[here] = value.data
        else:
            target = target[here]
    document.places = {kept: place for kept, place in document.places.items() if kept[: len(path)] != path}
    option = f"--set {dotted(keys)}"
    document.places |= {(*path, *below): Place(option, None, place.yaml_1_1) for below, place in value.places.items()}


def _refused(data: Mapping[Any, Any], target: Mapping[Any, Any], path: KeyPath, key: str, last: bool) -> str:
    """Return why a key that is not there yet may not be made; empty if it may."""
    names = [label(name) for name in target]
    if path == SPACE or (path[:1] == SPACE and not last):
        return f"'{dotted(path)}' has no '{key}'; expected one of {listing(names)}.{nearest(key, names)}"
    # A new constant may well be meant, one spelled almost like another is not; test_fraction is no val_fraction.
    if path[:1] == ("constants",) and (meant := nearest(key, names, _MISSPELT)):
        return f"'{dotted(path)}' has no '{key}'.{meant}"
    space = data.get(SPACE[0])
    searched = list(space) if isinstance(space, Mapping) else []
    if path == ("constants",) and key not in searched and (name := nearest_name(key, searched, _MISSPELT)):
        return f"'constants' has no '{key}', search_space has '{name}'. Did you mean --set {SPACE[0]}.{name}=...?"
    return ""


def _say(document: Document, keys: KeyPath, message: str) -> None:
    document.problems.append(Problem(f"--set {dotted(keys)}", None, "", message))
