"""Hints about a study file that is valid, but may not say what its author means."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hpo.errors import KeyPath
from hpo.spec.yaml_document import Document
from hpo.text import listing, quote, show

# Any value may stand here. Elsewhere each key has a few, and another one is refused.
_OPEN = ("constants", "search_space")

_NUMBER = r"[-+]?(?:\d+(?:\.\d+)?|(?<!\.)\.\d+)(?:[eE][-+]?\d+)?"
# Text that means a distribution elsewhere: `loguniform(1e-4, 1e-1)`; and in a search space also a range: `1..8`.
_CALL = re.compile(r"(?:\w+\.)*\w*(?:uniform|randint|suggest_\w+)\w*\s*\(.*\)", re.IGNORECASE)
_RANGE = re.compile(
    rf"(?:\w+\.)*(?:\w*normal|range|linspace|logspace|choice|int|float)\s*\(.*\)"
    rf"|[\[(]?\s*{_NUMBER}\s*(?:,|\.\.+|-|~|:|\bto\b)\s*{_NUMBER}\s*[\])]?",
    re.IGNORECASE,
)


def hints(document: Document) -> list[str]:
    """Return a sentence for each value that YAML 1.1 reads otherwise, and each text that looks like a distribution."""
    found = []
    for key in _OPEN:
        data = document.data.get(key)
        found += [_of_distribution(document, path, text) for path, text in _distributions((key,), data)]
        found += [_sentence(document, path, entries) for path, entries in _misread(document, (key,), data)]
    return found


def _distributions(path: KeyPath, data: Any) -> Iterator[tuple[KeyPath, str]]:
    """Yield the places of texts that look like distributions, with the texts."""
    if isinstance(data, Mapping):
        for key, value in data.items():
            yield from _distributions((*path, key), value)
    elif isinstance(data, str):
        text = data.strip()
        if _CALL.fullmatch(text) or (path[0] == "search_space" and _RANGE.fullmatch(text)):
            yield path, data


def _of_distribution(document: Document, path: KeyPath, text: str) -> str:
    """Return that a text is no distribution, and how one is written."""
    numbers = re.findall(_NUMBER, text[text.find("(") + 1 :])
    low, high = numbers[:2] if len(numbers) > 1 else ("1e-4", "1e-1")
    log = ", log: true" if "log" in text.lower() or "e-" in low.lower() else ""
    below = "" if path[0] == "search_space" else " below search_space"
    written = f"{{low: {low}, high: {high}{log}}}{below}"
    return str(
        document.problem(path, f"is the text {quote(text)}, the same in every trial; to search it, write {written}")
    )


def _misread(document: Document, path: KeyPath, data: Any) -> Iterator[tuple[KeyPath, list[tuple[KeyPath, Any]]]]:
    """Yield places, each with the paths and the values that are misread there."""
    if isinstance(data, Mapping):
        if path[0] == "search_space" and path[-1] == "choices":
            yield from _among(document, path, [((*path, key), key) for key in data])
        for key, value in data.items():
            yield from _misread(document, (*path, key), value)
    elif isinstance(data, list):
        yield from _among(document, path, [((*path, index), value) for index, value in enumerate(data)])
        for index, value in enumerate(data):
            if isinstance(value, (Mapping, list)):
                yield from _misread(document, (*path, index), value)
    elif data is not None:
        yield from _among(document, path, [(path, data)])


def _among(
    document: Document, path: KeyPath, entries: Sequence[tuple[KeyPath, Any]]
) -> Iterator[tuple[KeyPath, list[tuple[KeyPath, Any]]]]:
    """Yield the misread ones of some entries. Beside other text (off, weak, strong) they are meant as text."""
    misread = [(at, value) for at, value in entries if _other(document, at) is not None]
    texts = [at for at, value in entries if isinstance(value, str)]
    if misread and all(_other(document, at) is not None for at in texts):
        yield path, misread


def _other(document: Document, path: KeyPath) -> Any:
    place = document.places.get(path)
    return None if place is None else place.yaml_1_1


def _sentence(document: Document, path: KeyPath, entries: Sequence[tuple[KeyPath, Any]]) -> str:
    here = listing(f"the text {quote(value)}" if isinstance(value, str) else show(value) for _, value in entries)
    there = listing(show(_other(document, at)) for at, _ in entries)
    written = f"{here} here, for hpo reads YAML 1.2. YAML 1.1 has {there}"
    return str(document.problem(path, f"is {written}; write {there} if that is meant, or quotes if text is meant"))
