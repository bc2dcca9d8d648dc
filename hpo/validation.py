"""Sentences for what pydantic refuses: the key, the value given, what was expected, and the nearest spelling."""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeGuard, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from hpo.errors import KeyPath
from hpo.text import listing, nearest, quote

# What was expected, by the type of pydantic's error; `{}` are values of its context.
_EXPECTED = {
    "string_type": "text",
    "string_too_short": "text that is not empty",
    "string_too_long": "text of at most {max_length} characters",
    "int_type": "an integer",
    "int_parsing": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "list_type": "a list",
    "tuple_type": "a list",
    "too_short": "at least one entry",
    "too_long": "at most {max_length} entries",
    "path_type": "a path",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
}
_OUT_OF_RANGE = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")
_TYPES: dict[Any, str] = {
    str: "text",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    Path: "a path",
    list: "a list",
    tuple: "a list",
    dict: "a mapping",
    Mapping: "a mapping",
}


def problems_in(error: ValidationError, model: type[BaseModel]) -> list[tuple[KeyPath, str]]:
    """Return a (path, sentence) pair for each mistake that pydantic found.

    What a field expects is its `description`, if it has one. The sentence of a ValueError that a validator raised is
    taken as it is. Unknown keys are said to be keys of the model's `title`, else of the path to them.

    Args:
        error: raised by `model.model_validate(data)`.
        model: the model at the root of the data, in which fields and their descriptions are looked up.

    Returns:
        The pairs in the order of the data. A path holds the keys of the data down to the value, without pydantic's own
        additions for unions and the keys of mappings. A path whose value holds another mistake is left out.
    """
    found: dict[tuple[KeyPath, bool], _Sentence] = {}
    for each in error.errors(include_url=False):
        path, owner, field = _follow(model, each["loc"])
        of_key = each["loc"][-1:] == ("[key]",)
        sentence = _explain(path, owner, None if of_key else field, each)
        if (path, of_key) in found:  # each branch of a union expects something else of one and the same value
            found[path, of_key].expected += sentence.expected
        else:
            found[path, of_key] = sentence
    above = {path[:depth] for path, _ in found for depth in range(len(path))}
    return [(path, sentence.text(of_key)) for (path, of_key), sentence in found.items() if path not in above]


@dataclass
class _Sentence:
    """A sentence about one value: its beginning, the choices of what was expected, and the nearest spelling."""

    beginning: str
    expected: list[str] = field(default_factory=list)
    hint: str = ""

    def text(self, of_key: bool) -> str:
        end = "; expected " + " or ".join(dict.fromkeys(self.expected)) if self.expected else ""
        return ("the key " if of_key else "") + self.beginning + end + (f".{self.hint}" if self.hint else "")


def _follow(model: type[BaseModel], location: KeyPath) -> tuple[KeyPath, type[BaseModel] | None, FieldInfo | None]:
    """Return the path of keys at pydantic's `location`, the model that owns the last key, and its field."""
    path: list[Any] = []
    kind: Any = model
    owner: type[BaseModel] | None = None
    field: FieldInfo | None = None
    for part in location:
        branches = _branches(kind)
        if part == "[key]":
            continue
        if len(branches) > 1:  # then the location names the branch
            kind = next((one for one in branches if str(part).startswith(_branch_name(one))), Any)
            continue
        kind = branches[0]
        path.append(part)
        if _is_model(kind):
            owner = kind
            field = next((info for name, info in kind.model_fields.items() if part in (name, info.alias)), None)
            kind = Any if field is None else field.annotation
        else:
            arguments = [one for one in get_args(kind) if one is not ...]
            kind = arguments[-1] if arguments else Any
            owner = field = None
    return tuple(path), owner, field


def _branches(kind: Any) -> list[Any]:
    """Return the types of a union but None, or the type itself."""
    if get_origin(kind) is Annotated:
        return _branches(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        return [branch for one in get_args(kind) if one is not type(None) for branch in _branches(one)]
    return [kind]


def _branch_name(kind: Any) -> str:
    """Return how pydantic begins the name of a branch of a union."""
    name = str(getattr(get_origin(kind) or kind, "__name__", kind))
    return name if _is_model(kind) else name.lower()


def _is_model(kind: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _explain(path: KeyPath, owner: type[BaseModel] | None, field: FieldInfo | None, error: Any) -> _Sentence:
    kind, context, given = error["type"], error.get("ctx", {}), quote(error["input"])
    if kind in ("value_error", "assertion_error"):
        return _Sentence(str(context["error"]))
    if kind == "missing":
        return _Sentence("is missing", [_wanted(field)])
    if kind in ("extra_forbidden", "invalid_key") and owner is not None:
        known = [info.alias or name for name, info in owner.model_fields.items()]
        keys = ".".join(str(key) for key in path[:-1] if isinstance(key, str))
        name = owner.model_config.get("title") or keys or "this mapping"
        return _Sentence(f"is not a key of {name}", [listing(known, 20) or "none at all"], nearest(path[-1], known))
    if kind == "literal_error":
        options = re.findall(r"'([^']*)'", context["expected"]) or [context["expected"]]
        return _Sentence(f"{given} is not right", [" or ".join(options)], nearest(error["input"], options))
    if field is not None and field.description:
        return _Sentence(f"{given} is not right", [field.description])
    known_words = _EXPECTED.get(kind)
    words = error["msg"].removeprefix("Input should be ") if known_words is None else known_words.format_map(context)
    return _Sentence(f"{given} is {'out of range' if kind in _OUT_OF_RANGE else 'not right'}", [words])


def _wanted(field: FieldInfo | None) -> str:
    """Return what a field expects, in words."""
    if field is None:
        return "a value"
    if field.description:
        return field.description
    return " or ".join(dict.fromkeys(_type_words(one) for one in _branches(field.annotation)))


def _type_words(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(map(str, get_args(kind)))
    if _is_model(kind):
        return "a mapping"
    return _TYPES.get(get_origin(kind) or kind, "a value")
