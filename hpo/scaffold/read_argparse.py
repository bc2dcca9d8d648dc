"""Settings of a script that reads its command line with argparse."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from hpo.scaffold.draft import MISSING, VALUE, Setting
from hpo.scaffold.python_source import Script, assignments, call_name, keyword

_KINDS = {"int": "int", "float": "float", "str": "text", "Path": "text", "pathlib.Path": "text"}
_NO_VALUE = ("help", "version", "count", "append", "append_const", "store_const", "extend")


@dataclass
class CommandLine:
    """Command line of a script.

    Attributes:
        settings: what can be set, in the script's order.
        before: words that stand before all arguments: a subcommand, or what each trial sets.
        skipped: sentences on arguments that are left to the script.
    """

    settings: list[Setting] = field(default_factory=list)
    before: tuple[str, ...] = ()
    skipped: list[str] = field(default_factory=list)


def read_argparse(script: Script) -> CommandLine:
    """Return the settings of all `add_argument` calls of a script; without any, it has none."""
    found = CommandLine()
    exclusive = set(_assigned_from(script, "add_mutually_exclusive_group"))
    subcommands = _subcommands(script)
    chosen = chosen_command(subcommands.values(), found)
    defaults = _set_defaults(script)
    seen: set[str] = set()
    for call in _calls(script):
        holder = call_name(call).rpartition(".")[0]
        if holder in subcommands and subcommands[holder] != chosen:
            continue
        setting = _setting(script, call, defaults, found.skipped)
        if setting is None or setting.name in seen:
            continue
        seen.add(setting.name)
        if holder in exclusive:
            found.skipped.append(
                f"{setting.shown} stands in a group of which one may be given; it is left to the script"
            )
            continue
        found.settings.append(setting)
    return found


def chosen_command(names: Collection[str], found: CommandLine) -> str:
    """Return the subcommand that trains, and note it with those that are left out; empty if there are none."""
    if not names:
        return ""
    chosen = next((name for name in ("train", "fit", "run") if name in names), next(iter(names)))
    found.before = (chosen,)
    if others := [name for name in names if name != chosen]:
        found.skipped.append(f"the subcommand {chosen} is used; arguments of {', '.join(others)} are left out")
    return chosen


def _calls(script: Script) -> list[ast.Call]:
    calls = [
        node
        for node in script.nodes()
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add_argument"
    ]
    return sorted(calls, key=script.start)


def _assigned_from(script: Script, method: str) -> Iterator[str]:
    for node in script.nodes():
        for name, value, _ in assignments([node]) if isinstance(node, ast.stmt) else ():
            if isinstance(value, ast.Call) and call_name(value).rpartition(".")[2] == method:
                yield name


def _subcommands(script: Script) -> dict[str, str]:
    """Return the names of subcommands by the variables that hold their parsers."""
    found = {}
    for node in script.nodes():
        for name, value, _ in assignments([node]) if isinstance(node, ast.stmt) else ():
            if isinstance(value, ast.Call) and call_name(value).endswith(".add_parser") and value.args:
                literal = script.literal(value.args[0])
                if isinstance(literal, str):
                    found[name] = literal
    return found


def _set_defaults(script: Script) -> dict[str, Any]:
    return {
        one.arg: script.literal(one.value)
        for node in script.nodes()
        if isinstance(node, ast.Call) and call_name(node).endswith(".set_defaults")
        for one in node.keywords
        if one.arg is not None
    }


def _setting(script: Script, call: ast.Call, defaults: dict[str, Any], skipped: list[str]) -> Setting | None:
    names = [script.literal(argument) for argument in call.args]
    flags = [name for name in names if isinstance(name, str) and name]
    if not flags or len(flags) < len(names):
        skipped.append(f"line {call.lineno}: add_argument with a name that is no literal")
        return None
    positional = not flags[0].startswith("-")
    # The first long option names the value, as argparse does it.
    shown = next((flag for flag in flags if flag.startswith("--")), flags[0])
    dest = script.literal(keyword(call, "dest"))
    name = dest if isinstance(dest, str) and dest else shown.lstrip("-").replace("-", "_")
    if not name:
        return None
    action = keyword(call, "action")
    acts = script.literal(action) if action is not None else "store"
    optional_boolean = action is not None and call_name(action).endswith("BooleanOptionalAction")
    if acts in _NO_VALUE:
        if acts not in ("help", "version"):
            skipped.append(f"{shown} (action {acts}) is left to the script")
        return None
    written = keyword(call, "default")
    value = defaults.get(name, script.literal(written))
    if acts in ("store_true", "store_false"):
        value = acts == "store_false" if value is MISSING or not isinstance(value, bool) else value
        usual = value is (acts == "store_false")
        if not usual:  # the flag changes nothing
            return None
        return Setting(name, value, "bool", shown=shown, flag=shown)
    if optional_boolean:
        if not shown.startswith("--"):
            return None
        value = value if isinstance(value, bool) else MISSING
        words = (f"--no-{shown[2:]}", shown)
        return Setting(name, value, "bool" if value is not MISSING else "", (), shown, (VALUE,), forms=words)
    if acts != "store" or (keyword(call, "nargs") not in (None,) and not _one_value(script, keyword(call, "nargs"))):
        skipped.append(f"{shown} takes several values, or acts in its own way; it is left to the script")
        return None
    if written is None and value is MISSING and not positional:
        value = MISSING
    elif value is MISSING and written is not None:
        value = None  # what the script computes stays its own
    required = (positional and keyword(call, "nargs") is None) or script.literal(keyword(call, "required")) is True
    kind, forms = _kind(call, value, skipped, shown)
    if kind is None:
        return None
    value = _converted(value, kind, forms)
    taken = {"int": (int,), "float": (int, float)}.get(kind, (str,))  # others never equal what the type makes
    named = choices_of(script, keyword(call, "choices"))
    choices = tuple(one for one in named if isinstance(one, taken) and not isinstance(one, bool))
    if named and not choices:
        skipped.append(f"{shown} has choices that a value of the command line never equals; it is left to the script")
        return None
    arguments = (VALUE,) if positional else (shown, VALUE)
    return Setting(name, value, kind, choices, shown, arguments, required=required, forms=forms)


def _one_value(script: Script, nargs: ast.expr | None) -> bool:
    return bool(script.literal(nargs) == "?")


def _kind(call: ast.Call, value: Any, skipped: list[str], shown: str) -> tuple[str | None, tuple[str, str] | tuple[()]]:
    """Return the kind of an argument's value, and how true and false are written."""
    kind = keyword(call, "type")
    if kind is None:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            skipped.append(
                f"{shown} has a number as its default and no type, so that a value of the command line would be text; "
                f"with type={type(value).__name__} it could be searched"
            )
            return None, ()
        return "text", ()
    name = call_name(kind) if isinstance(kind, (ast.Name, ast.Attribute)) else ""
    if name == "bool":
        skipped.append(f"{shown} has type=bool, which takes every text for true, also False; it is left to the script")
        return None, ()
    if name in _KINDS:
        return _KINDS[name], ()
    if isinstance(value, bool):  # str2bool, or a lambda that compares with "True"
        return "bool", ("False", "True")
    if isinstance(value, (int, float)):
        return ("float" if isinstance(value, float) else "int"), ()
    return "text", ()


def _converted(value: Any, kind: str, forms: tuple[str, str] | tuple[()]) -> Any:
    """Return a default as the script's `type` makes it: argparse converts texts."""
    if isinstance(value, str) and kind in ("int", "float"):
        try:
            return int(value) if kind == "int" else float(value)
        except ValueError:
            return None
    if kind == "float" and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**50:
        return float(value)
    if kind == "text" and value is not MISSING and not isinstance(value, str) and value is not None:
        return value if isinstance(value, (bool, int, float)) else None
    return value


def choices_of(script: Script, node: ast.expr | None) -> tuple[Any, ...]:
    """Return the values that an expression lists: a list, the keys of a table, a range."""
    if node is None:
        return ()
    literal = script.literal(node)
    if isinstance(literal, (list, tuple)):
        return tuple(one for one in literal if isinstance(one, (str, int, float)))
    if isinstance(literal, dict):
        return tuple(key for key in literal if isinstance(key, (str, int, float)))
    if isinstance(literal, (set, frozenset)):
        return tuple(sorted(literal, key=str))
    if isinstance(node, ast.Call) and call_name(node) == "range":
        bounds = [script.literal(argument) for argument in node.args]
        if bounds and all(isinstance(bound, int) for bound in bounds) and len(bounds) < 4:
            try:
                return tuple(range(*bounds))[:51]
            except ValueError:
                return ()
    # The keys of a table: MODELS.keys(), list(MODELS), sorted(MODELS).
    if isinstance(node, ast.Call):
        inner = node.func.value if isinstance(node.func, ast.Attribute) and node.func.attr == "keys" else None
        inner = inner or (node.args[0] if call_name(node) in ("list", "sorted", "tuple") and node.args else None)
        if isinstance(inner, ast.Name):
            return _keys_of(script, inner.id)
        return choices_of(script, inner) if inner is not None else ()
    return _keys_of(script, node.id) if isinstance(node, ast.Name) else ()


def _keys_of(script: Script, name: str) -> tuple[Any, ...]:
    """Return the literal keys of a table at the top level, whatever its values are."""
    for known, value, _ in assignments(script.tree.body):
        if known == name and isinstance(value, ast.Dict):
            keys = [script.literal(key) for key in value.keys]
            return tuple(key for key in keys if isinstance(key, (str, int, float)))
    literal = script.constants.get(name)
    return tuple(literal) if isinstance(literal, (list, tuple)) else ()
