"""YAML that is read safely, with the file and line of every key kept.

Scalars are those of YAML 1.2: `1e-4` is a float; `on`, `yes` and `2020-01-01` are text. Merge keys (`<<: *base`), which
YAML 1.2 has no longer, are read as YAML 1.1 does. Duplicate keys, unknown tags, self-references and keys that are lists
or mappings are refused. Nothing but SpecError is raised, whatever the text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from hpo.errors import KeyPath, Problem, SpecError, dotted
from hpo.machine.access import reason
from hpo.machine.files import read_plain

# Aliases let a few lines stand for billions of values; no study.yaml comes near this many.
MAX_VALUES = 100_000
MAX_BYTES = 2**24
# Lists and mappings in each other. libyaml puts a document together by recursion, which overflows the stack; what
# comes after it (pydantic, the writing of study.yaml) recurses too.
MAX_DEPTH = 100

_TAG = "tag:yaml.org,2002:"
_RESOLVERS: tuple[tuple[str, re.Pattern[str], str], ...] = (
    ("null", re.compile(r"^(?:~|null|Null|NULL|)$"), "~nN"),
    ("bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), "tTfF"),
    ("int", re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$"), "-+0123456789"),
    (
        "float",
        re.compile(
            r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
        ),
        "-+.0123456789",
    ),
)

# Numbers with underscores, with a 0 for octal or 0b for binary, and in base 60.
_NUMBER_OF_1_1 = re.compile(r"[-+]?(?:0[0-7]+|0b[01_]+|[0-9][0-9_:.]*[_:][0-9_:.]*)")
_LONGEST_NUMBER = 40
_BOOLS_OF_1_1 = {
    form: meaning
    for words, meaning in ((("y", "yes", "on"), True), (("n", "no", "off"), False))
    for word in words
    for form in (word, word.capitalize(), word.upper())
}

_Loader: Any = type("_Loader", (getattr(yaml, "CSafeLoader", yaml.SafeLoader),), {"yaml_implicit_resolvers": {}})


class _Dumper(yaml.SafeDumper):
    """Quotes text that either YAML 1.1 (PyYAML's own resolvers) or `_RESOLVERS` would take for something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    # PyYAML writes these line breaks as they are in single quotes, where they read back as spaces.
    style = '"' if any(broken in text for broken in "\x85\u2028\u2029") else None
    return dumper.represent_scalar(_TAG + "str", text, style)


class _InlineDumper(_Dumper):
    """Writes line ends as escapes."""


def _represent_text_inline(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = '"' if any(broken in text for broken in "\n\r\x85\u2028\u2029") else None
    return dumper.represent_scalar(_TAG + "str", text, style)


_Dumper.add_representer(str, _represent_text)
_InlineDumper.add_representer(str, _represent_text_inline)
for _name, _pattern, _first in _RESOLVERS:
    for _class in (_Loader, _Dumper, _InlineDumper):
        _class.add_implicit_resolver(_TAG + _name, _pattern, [*_first, *([""] if _name == "null" else [])])


_Entry = tuple[yaml.Node, yaml.Node]  # a key and its value


@dataclass(frozen=True)
class Place:
    """Place of a key.

    Attributes:
        file: the file, or the command line option.
        line: counted from 1.
        yaml_1_1: what YAML 1.1 reads for the value, or for a key before a list or mapping; None if it reads the same.
    """

    file: str
    line: int | None = None
    yaml_1_1: Any = None


@dataclass
class Document:
    """Plain data with the places of its keys.

    Attributes:
        data: the data.
        places: the Place of every key and list entry, by its path from the root.
        problems: mistakes found so far.
        notes: sentences about what is valid, but may not be meant.
    """

    data: Any
    places: dict[KeyPath, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def place(self, path: KeyPath) -> Place:
        """Return the place of `path`; of a path that is not there, the place of its nearest parent."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places[path]

    def problem(self, path: KeyPath, message: str) -> Problem:
        """Return a Problem at the place of `path`."""
        place = self.place(path)
        return Problem(place.file, place.line, dotted(path), message)


def read_yaml(path: Path) -> Document:
    """Return the document of a file.

    Raises:
        SpecError: it cannot be read or is not YAML.
    """
    try:
        text = read_plain(path, MAX_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        byte = f"0x{error.object[error.start]:02x}"
        raise _error(str(path), line, f"byte {byte} is not UTF-8 text; save it as UTF-8") from error
    except OSError as error:
        raise _error(str(path), None, f"cannot be read: {reason(error)}") from error
    return load_text(text, str(path))


def load_text(text: str, file: str) -> Document:
    """Return the document of a text.

    Duplicate keys and values that are not understood are collected in `Document.problems`.

    Args:
        text: the YAML.
        file: its name in messages.

    Raises:
        SpecError: the text is not YAML.
    """
    try:
        _refuse_large(text, file)
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        if error.context and re.search("flow|quoted", error.context):
            mark = error.context_mark or mark  # where the bracket or quote opens, not where its end was missed
        said = ", ".join(part for part in (error.context, error.problem) if part)
        raise _error(file, mark.line + 1 if mark else None, f"this is not valid YAML: {said}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1 if isinstance(error.position, int) else None
        raise _error(file, line, f"this is not valid YAML: {error.reason}") from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise _error(file, None, f"this is not valid YAML: {error}") from error
    document = Document(None, {(): Place(file, 1, _in_yaml_1_1(node))})
    if node is not None:
        document.data = _Builder(document, file).build(node, (), ())
    return document


def dump(data: Any) -> str:
    """`data` as YAML text that `load_text` reads back to equal data, keys in their order."""
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)
    return text


def dump_inline(data: Any) -> str:
    """Return `data` as YAML text of one line that `load_text` reads back to equal data: `{low: 0.1, high: 1.0}`."""
    text: str = yaml.dump(
        data, Dumper=_InlineDumper, sort_keys=False, allow_unicode=True, width=math.inf, default_flow_style=True
    )
    return text.removesuffix("...\n").removesuffix("\n")


def _refuse_large(text: str, file: str) -> None:
    """Refuse what is nested too deeply or has too many parts, as told by events: they need no recursion."""
    depth = parts = 0
    event: Any
    for event in yaml.parse(text, Loader=_Loader):
        parts += isinstance(event, yaml.NodeEvent)
        if parts > 2 * MAX_VALUES:  # keys and values
            raise _error(file, _line(event), f"more than {MAX_VALUES} values; expected fewer")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise _too_deep(file, _line(event))
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _too_deep(file: str, line: int) -> SpecError:
    return _error(file, line, f"more than {MAX_DEPTH} lists and mappings stand in each other here; expected fewer")


def _error(file: str, line: int | None, message: str) -> SpecError:
    return SpecError([Problem(file, line, "", message)])


class _Builder:
    """Turns yaml nodes to plain data, noting where each key stands."""

    def __init__(self, document: Document, file: str) -> None:
        self.document = document
        self.file = file
        self.values = 0

    def build(self, node: yaml.Node, path: KeyPath, parents: tuple[int, ...]) -> Any:
        if self.contains_itself(node, path, parents):
            return None
        parents = (*parents, id(node))
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path, parents)
        if isinstance(node, yaml.SequenceNode):
            if node.tag != _TAG + "seq":
                self.say(path, _line(node), f"the tag {_shown(node.tag)} is not understood; leave it out")
            result = []
            for index, child in enumerate(node.value):
                self.document.places[(*path, index)] = Place(self.file, _line(child), _in_yaml_1_1(child))
                result.append(self.build(child, (*path, index), parents))
            return result
        return self.scalar(node, path, _line(node))

    def contains_itself(self, node: yaml.Node, path: KeyPath, parents: tuple[int, ...]) -> bool:
        """Count a node, and return True if it is one of its own parents."""
        self.values += 1
        if self.values > MAX_VALUES:
            raise _error(self.file, _line(node), f"more than {MAX_VALUES} values; aliases (&, *) multiply them")
        if len(parents) > MAX_DEPTH:  # by aliases
            raise _too_deep(self.file, _line(node))
        if id(node) in parents:
            self.say(path, _line(node), "this alias (*) stands for a value that contains it")
        return id(node) in parents

    def mapping(self, node: yaml.MappingNode, path: KeyPath, parents: tuple[int, ...]) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        for key, (key_node, child) in self.entries(node, path, parents).items():
            other = _in_yaml_1_1(child if isinstance(child, yaml.ScalarNode) and child.value else key_node)
            self.document.places[(*path, key)] = Place(self.file, _line(key_node), other)
            result[key] = self.build(child, (*path, key), parents)
        return result

    def entries(self, node: yaml.MappingNode, path: KeyPath, parents: tuple[int, ...]) -> dict[Any, _Entry]:
        """Return the entries of a mapping by key: first those that `<<` merges, then its own, which win."""
        if node.tag != _TAG + "map":
            self.say(path, _line(node), f"the tag {_shown(node.tag)} is not understood; leave it out")
        merged: dict[Any, _Entry] = {}
        own: dict[Any, _Entry] = {}
        merge_line = 0
        for key_node, child in node.value:
            line = _line(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                self.say(path, line, "a key is a list or a mapping; expected text (quote it if it holds braces)")
            elif _is_merge(key_node):
                if merge_line:
                    said = f"<< is given twice, first on line {merge_line}; write one, with a list: <<: [*one, *other]"
                    self.say(path, line, said)
                merge_line = merge_line or line
                merged = self.merged(child, path, parents)
            else:
                self.own(key_node, child, path, own)
        return {key: entry for key, entry in merged.items() if key not in own} | own

    def own(self, key_node: yaml.ScalarNode, child: yaml.Node, path: KeyPath, own: dict[Any, _Entry]) -> None:
        """Add one key of a mapping to those before it."""
        line = _line(key_node)
        key = self.scalar(key_node, path, line)
        if isinstance(key, float) and math.isnan(key):
            self.say(path, line, "a key is .nan; expected text")
        elif key in own:
            first = _line(own[key][0])
            self.say((*path, key), line, f"this key is given twice, first on line {first}; keep one of them")
        else:
            own[key] = (key_node, child)

    def merged(self, node: yaml.Node, path: KeyPath, parents: tuple[int, ...]) -> dict[Any, _Entry]:
        """Return the entries that `<<: *base` or `<<: [*first, *second]` merges; those of an earlier one win."""
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        found: dict[Any, _Entry] = {}
        for source in sources:
            if not isinstance(source, yaml.MappingNode):
                said = "<< does not stand before a mapping; expected <<: *name, or <<: [*one, *other]"
                self.say(path, _line(node), f"{said} (quote it, '<<', if it is a key)")
            elif not self.contains_itself(source, path, parents):
                below = self.entries(source, path, (*parents, id(source)))
                found |= {key: entry for key, entry in below.items() if key not in found}
        return found

    def scalar(self, node: yaml.Node, path: KeyPath, line: int) -> Any:
        text = str(node.value)
        kind = node.tag.removeprefix(_TAG)
        try:
            if kind in _CONVERT:
                text.encode("utf-8")
                return _CONVERT[kind](text)
        except (ValueError, OverflowError):
            self.say(path, line, f"{text[:40]!r} cannot be read as {kind}")
            return None
        self.say(path, line, f"the tag {_shown(node.tag)} is not understood; leave it out")
        return None

    def say(self, path: KeyPath, line: int, message: str) -> None:
        self.document.problems.append(Problem(self.file, line, dotted(path), message))


def _line(node: Any) -> int:
    """Return the line, counted from 1, on which a node or an event begins."""
    return int(node.start_mark.line) + 1


def _is_merge(key: yaml.ScalarNode) -> bool:
    return key.tag == _TAG + "merge" or (key.value == "<<" and key.tag == _TAG + "str" and not key.style)


def _shown(tag: str) -> str:
    return f"!!{tag.removeprefix(_TAG)}" if tag.startswith(_TAG) else tag


def _in_yaml_1_1(node: yaml.Node | None) -> Any:
    """Return the bool or the number that YAML 1.1 reads where YAML 1.2 reads something else; otherwise None."""
    if not isinstance(node, yaml.ScalarNode) or node.style or len(node.value) > _LONGEST_NUMBER:
        return None
    if node.value in _BOOLS_OF_1_1:
        return _BOOLS_OF_1_1[node.value]
    if not _NUMBER_OF_1_1.fullmatch(node.value):
        return None
    try:
        number = yaml.safe_load(node.value)
    except (yaml.YAMLError, ValueError, OverflowError):
        return None
    return number if isinstance(number, (int, float)) else None


def _integer(text: str) -> int:
    value = int(text[2:], 8 if text[1] == "o" else 16) if text.startswith(("0o", "0x")) else int(text)
    int.__repr__(value)  # refused as too long here, not where it is first written down
    return value


def _float(text: str) -> float:
    lower = text.lower()
    return float(lower.replace(".inf", "inf").replace(".nan", "nan"))


def _bool(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


_CONVERT: Mapping[str, Callable[[str], Any]] = {
    "str": str,
    "null": lambda text: None,
    "bool": _bool,
    "int": _integer,
    "float": _float,
}
