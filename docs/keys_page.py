"""Write docs/reference/keys.md: every key of study.yaml, from the JSON Schema that is made of the models.

python docs/keys_page.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from hpo.space.other_tools import inline
from hpo.spec.yaml_document import dump

PAGE = Path(__file__).parent / "reference" / "keys.md"
Schema = dict[str, Any]

TOP = """# Keys of study.yaml

Every key with its values, what stands for it if it is left out, and an example. This page is made by
`docs/keys_page.py` from the JSON Schema that `hpo schema` prints; [study.yaml](../study-yaml.md) explains what the keys
do together. A key may be left out unless it is *required*.
"""
# An example of each form of a parameter, in the schema's order.
FORMS = (
    "width: 64",
    "learning_rate: {low: 1.0e-4, high: 1.0e-1, log: true}",
    "optimizer: {choices: {adam: {}, sgd: {momentum: {low: 0.0, high: 0.99}}}}",
    "weights: {simplex: [bce, dice, l1]}",
)
OWN = {
    "A condition of your own": "{name: nothing_found, when: train_recall == 0, from_epoch: 4}",
    "A class of your own": "{name: package.module:Class, option: 1}",
}
# Options that a rule or a pruner cannot be without.
NEEDED = {"seconds": 600, "gib": 24, "wrapped_pruner": "median", "patience": 3, "percentile": 25.0, "lower": 0.1}
# Kinds of values in words, by the schema's type.
_WORDS = {
    "string": "text",
    "number": "a number",
    "integer": "an integer",
    "boolean": "`true` or `false`",
    "object": "a mapping",
    "array": "a list",
}
_BOUNDS = (
    ("minimum", "from {}"),
    ("exclusiveMinimum", "above {}"),
    ("maximum", "to {}"),
    ("exclusiveMaximum", "below {}"),
)


def page(schema: Schema) -> str:
    """Return the page's text."""
    properties = {key: value for key, value in schema["properties"].items() if not value.get("deprecated")}
    top = {"properties": properties, "required": schema["required"]}
    parts = [TOP, "## The study", _table(top, schema, "")]
    for key, value in properties.items():
        for path, mapping in _mappings(key, value, schema):
            title = f"## {path}" if path == key else f"### {path}"
            said = mapping.get("description", "") if path == key else ""
            parts += [title, *([said] if said else []), _table(mapping, schema, path)]
    parts += ["## Parameters of search_space", *_forms(schema["$defs"]["parameter"], schema)]
    parts += ["## Red flags", *_named(schema["$defs"]["red_flag"], schema, "A condition of your own")]
    for role in ("sampler", "pruner"):
        parts += [f"## Options of a {role}", *_named(schema["$defs"][role], schema, "A class of your own")]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _branches(schema: Schema, root: Schema) -> Iterator[Schema]:
    """Yield the schemas that a value may meet, but null, references followed."""
    if "$ref" in schema:
        yield from _branches(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    elif "anyOf" in schema and "properties" not in schema:
        for one in schema["anyOf"]:
            yield from _branches(one, root)
    elif schema.get("type") != "null":
        yield schema


def _mappings(path: str, schema: Schema, root: Schema) -> Iterator[tuple[str, Schema]]:
    """Yield the mappings with keys of their own below a key, by their paths; those with many forms are told apart."""
    if path in ("search_space", "red_flags", "sampler", "pruner"):
        return
    inner = [*_branches(schema, root), *(one for each in _items(schema, root) for one in _branches(each, root))]
    for one in inner:
        if one.get("type") == "object" and "properties" in one:
            yield path, one
            for key, value in one["properties"].items():
                yield from _mappings(f"{path}.{key}", value, root)


def _items(schema: Schema, root: Schema) -> list[Schema]:
    return [one["items"] for one in _branches(schema, root) if isinstance(one.get("items"), dict)]


def _table(mapping: Schema, root: Schema, path: str, *, examples: bool = True) -> str:
    columns = ["key", "value", "default", "meaning", *(["example"] if examples else [])]
    rows = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for key, value in mapping["properties"].items():
        if value.get("type") == "null":  # a key of another form, said to be absent here
            continue
        default = "*required*" if key in mapping.get("required", ()) else _shown(value.get("default")) or "none"
        if not path and key in ("objective", "command"):
            default = "*one of the two*"
        shown = " or ".join(_shown(one) for one in value.get("examples", ())[:2])
        cells = [f"`{key}`", _kind(value, root), default, value.get("description", ""), *([shown] if examples else [])]
        rows.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    return "\n".join(rows)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _shown(value: Any) -> str:
    """Return a value as YAML in code marks; nothing for an empty default."""
    if value in ({}, [], None) and not isinstance(value, bool):
        return ""
    text = inline(value) if isinstance(value, dict) and len(value) != 1 else dump(value).strip()
    text = inline({"x": value}).removeprefix("x: ") if "\n" in text or isinstance(value, (dict, list)) else text
    return f"`{text.removesuffix('...').strip()}`"


def _kind(schema: Schema, root: Schema) -> str:
    """Return the kinds of values of a key in words: `an integer from 1`, `local, ray or inline`."""
    said: list[str] = []
    for one in _branches(schema, root):
        if "const" in one:
            said.append(_shown(one["const"]))
        elif "enum" in one:
            said += [_shown(value) for value in one["enum"]]
        else:
            types = one.get("type", [])
            for each in [types] if isinstance(types, str) else types:
                if each in _WORDS:
                    bounds = [
                        words.format(f"{one[name]}") for name, words in _BOUNDS if name in one and each != "string"
                    ]
                    said.append(" ".join([_WORDS[each], *bounds]))
    unique = list(dict.fromkeys(said))
    if len(unique) > 8:  # names of samplers and the like stand in a section of their own
        unique = ["a name", *(one for one in unique if not one.startswith("`"))]
    return ", ".join(unique[:-1]) + " or " * (len(unique) > 1) + unique[-1] if unique else "anything"


def _forms(schema: Schema, root: Schema) -> list[str]:
    """Return what is said of each form of a parameter, with an example and its keys."""
    found = []
    for one, example in zip(schema["anyOf"], FORMS, strict=True):
        found.append(f"{one['description'].removesuffix('.')}: `{example}`")
        if "properties" in one:
            found.append(_table(one, root, "parameter", examples=False))
    return found


def _named(schema: Schema, root: Schema, own: str) -> list[str]:
    """Return a section for each of several mappings that have a name: rules, samplers, pruners; `own` is the other."""
    found = []
    for one in _branches(schema, root):
        if "properties" not in one:
            continue
        rules = [each["properties"]["rule"].get("const") for each in one.get("anyOf", ())]
        name = one["properties"]["name"].get("const") or next(filter(None, rules), "")
        options = {key: value for key, value in one["properties"].items() if key not in ("name", "rule", "when")}
        found.append(f"### {name or own}")
        found += [one["description"]] if "description" in one else []
        if not name:
            found.append(f"`{OWN[own]}`")
        elif options:
            given = {key: value["default"] for key, value in options.items() if value.get("default") is not None}
            given.pop("action", None)
            needed = {key: NEEDED[key] for key in options if key in NEEDED} or dict([*given.items()][-2:])
            found.append(f"Such as {_shown({'name': name, **needed})}.")
        found.append(_table({**one, "properties": options}, root, "options", examples=False) if options else "")
    return [part for part in found if part]


def schema() -> Schema:
    """Return the JSON Schema that comes with hpo."""
    read: Schema = json.loads(files("hpo.spec").joinpath("study.schema.json").read_text(encoding="utf-8"))
    return read


if __name__ == "__main__":
    PAGE.write_text(page(schema()))
