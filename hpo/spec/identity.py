"""Identity of a study: what may not change once it has trials. Its form in a storage, and the difference of two.

Storages keep JSON, in which every key is text: `choices: {true: {}}` would come back as `'true'`. So a mapping is
written as its pairs if JSON would change one of its keys, or if one of them is text that such a change could have made.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from hpo.errors import KeyPath
from hpo.text import label, listing, quote, show

_PAIRS = "hpo:pairs"
# Texts that JSON makes of keys that are none.
_CHANGED = re.compile(r"true|false|null|NaN|-?Infinity|-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


def to_json(data: Any) -> Any:
    """Return plain data as JSON can hold them without a loss; tuples become lists."""
    if isinstance(data, Mapping):
        if all(isinstance(key, str) and key != _PAIRS and not _CHANGED.fullmatch(key) for key in data):
            return {key: to_json(value) for key, value in data.items()}
        return {_PAIRS: [[key, to_json(value)] for key, value in data.items()]}
    return [to_json(entry) for entry in data] if isinstance(data, (list, tuple)) else data


def from_json(data: Any) -> Any:
    """Return the data that `to_json` was given. What it did not write is returned as it is."""
    if isinstance(data, Mapping):
        pairs = data.get(_PAIRS)
        if len(data) == 1 and isinstance(pairs, list) and all(map(_is_pair, pairs)):
            return {key: from_json(value) for key, value in pairs}
        return {key: from_json(value) for key, value in data.items()}
    return [from_json(entry) for entry in data] if isinstance(data, list) else data


def changes(recorded: Any, identity: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each difference between an identity in a storage and a study's own.

    Args:
        recorded: the value in the storage.
        identity: of `StudySpec.identity()`.
    """
    # Earlier versions of hpo let JSON make every key text. Their studies go on.
    as_text = differences(recorded, json.loads(json.dumps(identity)))
    exact = differences(from_json(recorded), from_json(json.loads(json.dumps(to_json(identity)))))
    return min(exact, as_text, key=len)


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each difference of two identities: `search_space.lr.high was 0.1, is 0.5`.

    The order of choices counts, for Optuna stores a choice by its index. Two NaN are equal; 1, 1.0 and true are not.
    """
    return _differences((), old, new)


def _differences(path: KeyPath, old: Any, new: Any) -> list[str]:
    name = ".".join(map(label, path))
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        of_choices = path[:1] == ("search_space",) and path[-1] == "choices"
        if of_choices and list(map(repr, old)) != list(map(repr, new)):
            return [_of_keys(name, old, new)]
        # By their texts, for 1, 1.0 and true are one key to a dict.
        before, after = ({repr(key): (key, value) for key, value in side.items()} for side in (old, new))
        if before.keys() != after.keys() and set(map(show, old)) == set(map(show, new)):
            return [_of_keys(f"the list of keys of {name}", old, new)]
        found = []
        for text in [*before, *(text for text in after if text not in before)]:
            key = (before.get(text) or after[text])[0]
            here = ".".join(map(label, (*path, key)))
            if text not in after:
                found.append(f"{here} was {show(before[text][1])}, is gone")
            elif text not in before:
                found.append(f"{here} was not there, is {show(after[text][1])}")
            else:
                found += _differences((*path, key), before[text][1], after[text][1])
        return found
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        found = [line for i, (a, b) in enumerate(zip(old, new, strict=True)) for line in _differences((*path, i), a, b)]
        return found if path == ("metrics",) or not found else [f"{name} was {show(old)}, is {show(new)}"]
    # repr tells 1 from 1.0 and from True, and calls two NaN the same.
    return [] if repr(old) == repr(new) else [f"{name} was {show(old)}, is {show(new)}"]


def _of_keys(name: str, old: Mapping[Any, Any], new: Mapping[Any, Any]) -> str:
    """Return the sentence about keys; text is quoted where nothing else tells them apart."""
    shown = show if list(map(show, old)) != list(map(show, new)) else quote
    return f"{name} was [{listing(map(shown, old))}], is [{listing(map(shown, new))}]"


def _is_pair(entry: Any) -> bool:
    return isinstance(entry, list) and len(entry) == 2 and not isinstance(entry[0], (list, dict))
