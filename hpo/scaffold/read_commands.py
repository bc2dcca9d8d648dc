"""Settings of a script whose command line Click, Typer, Fire, tyro or LightningCLI makes of a function or a class."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from hpo.scaffold.draft import MISSING, VALUE, Setting
from hpo.scaffold.python_source import Script, assignments, call_name, keyword
from hpo.scaffold.read_argparse import CommandLine, choices_of, chosen_command

_KINDS = {
    **dict.fromkeys(("int", "INT", "IntRange"), "int"),
    **dict.fromkeys(("float", "FLOAT", "FloatRange"), "float"),
    **dict.fromkeys(("bool", "BOOL"), "bool"),
    **dict.fromkeys(("str", "STRING", "Path", "PATH", "File", "UUID", "DateTime"), "text"),
}
# What click strips of a function's name.
_ENDINGS = ("_command", "_cmd", "_group", "_grp")
_Function = ast.FunctionDef | ast.AsyncFunctionDef


class _Argument(NamedTuple):
    """Argument of a function, or field of a dataclass."""

    name: str
    annotation: ast.expr | None
    default: ast.expr | None


def read_commands(script: Script, modules: Sequence[Script] = ()) -> CommandLine:
    """Return the settings of what Click, Typer, Fire, tyro or LightningCLI runs; without any, there are none.

    Of several commands it is that of the one called train, else of the first. What the last three are given may stand
    in a module of the script.
    """
    functions = _functions(script)
    found = (line for read in (_click, _typer) if (line := read(script, functions)) is not None)
    given = (line for read in (_fire, _tyro, _lightning) if (line := read(script, [script, *modules])) is not None)
    return next(itertools.chain(found, given), CommandLine())


def _functions(script: Script) -> dict[str, _Function]:
    return {node.name: node for node in ast.walk(script.tree) if isinstance(node, _Function)}


# --- Click


def _click(script: Script, functions: dict[str, _Function]) -> CommandLine | None:
    commands = {}
    for function in functions.values():
        calls = [one for one in function.decorator_list if isinstance(one, ast.Call) and _is_click(script, one)]
        if calls:
            commands[function] = calls
    if not commands:
        return None
    groups = {name for name, function in functions.items() if _decorator(function, "group") is not None}
    named = {
        function: _command_name(script, function, call, strip=True)
        for function in commands
        if (call := _decorator(function, "command")) is not None and call_name(call).rpartition(".")[0] in groups
    }
    return _of_command(
        named, list(commands), lambda function, found: _click_settings(script, commands[function], found)
    )


def _is_click(script: Script, call: ast.Call) -> bool:
    module, _, name = script.full_name(call).rpartition(".")
    return module.endswith("click") and name in ("option", "argument")


def _click_settings(script: Script, calls: Sequence[ast.Call], found: CommandLine) -> None:
    for call in calls:
        words = [word for argument in call.args if isinstance(word := script.literal(argument), str)]
        if not words or len(words) < len(call.args):
            found.skipped.append(f"line {call.lineno}: an option with a name that is no literal")
            continue
        flags = [word for word in words if word.startswith("-")]
        shown = next((flag for flag in flags if flag.startswith("--")), (flags or words)[0])
        name = next((word for word in words if not word.startswith("-")), shown.partition("/")[0].lstrip("-"))
        if any(script.literal(keyword(call, key)) is True for key in ("multiple", "count", "prompt", "hidden")):
            found.skipped.append(f"{shown} takes several values, or acts in its own way; it is left to the script")
            continue
        if script.literal(keyword(call, "nargs")) not in (MISSING, 1):
            found.skipped.append(f"{shown} takes several values; it is left to the script")
            continue
        written = keyword(call, "default")
        value = _default(script, written)
        required = script.literal(keyword(call, "required"))
        required = required is True or (not flags and required is MISSING and written is None)
        kind = keyword(call, "type")
        flagged = script.literal(keyword(call, "is_flag")) is True
        _add(script, found, name, value, kind, shown if flags else "", required=required, flag=flagged)


# --- Typer, Fire, tyro and LightningCLI


def _typer(script: Script, functions: dict[str, _Function]) -> CommandLine | None:
    modules = script.bound_modules
    if not any(name.partition(".")[0] == "typer" for name in modules.values()):
        return None
    apps = {
        name
        for name, value, _ in assignments(script.tree.body)
        if isinstance(value, ast.Call) and script.full_name(value) == "typer.Typer"
    }
    named = {
        function: _command_name(script, function, call)
        for function in functions.values()
        if (call := _decorator(function, "command")) is not None and call_name(call).rpartition(".")[0] in apps
    }
    callback = any(_decorator(function, "callback") is not None for function in functions.values())
    run = [functions[name] for name in _given_to(script, "typer.run") if name in functions]
    if len(named) == 1 and not callback:  # an app of one command has no subcommands
        run, named = list(named), {}

    def settings(function: _Function, found: CommandLine) -> None:
        _of_signature(script, function, found, dashes=True)

    return _of_command(named, [*named, *run], settings)


def _fire(script: Script, files: Sequence[Script]) -> CommandLine | None:
    for name in _given_to(script, "fire.Fire"):
        for file in files:
            if (function := _functions(file).get(name)) is not None:
                found = CommandLine()
                _of_signature(file, function, found, dashes=False)
                return found
    return None


def _tyro(script: Script, files: Sequence[Script]) -> CommandLine | None:
    for name in _given_to(script, "tyro.cli"):
        found = CommandLine()
        for file in files:
            functions = _functions(file)
            classes = {node.name: node for node in ast.walk(file.tree) if isinstance(node, ast.ClassDef)}
            if name in functions or name in classes:
                entries = _arguments(functions[name]) if name in functions else _fields(classes[name])
                _of_tyro(file, classes, entries, "", found)
                break
        return found
    return None


def _lightning(script: Script, files: Sequence[Script]) -> CommandLine | None:
    for node in ast.walk(script.tree):
        if not isinstance(node, ast.Call) or not script.full_name(node).endswith(".LightningCLI"):
            continue
        given = node.args[0] if node.args else keyword(node, "model_class")
        name = "" if given is None else script.full_name(given).rpartition(".")[2]
        subcommand = () if script.literal(keyword(node, "run")) is False else ("fit",)
        # It writes its configuration into that folder, and ends where there is one.
        found = CommandLine(before=(*subcommand, "--trainer.default_root_dir={directory}", "--seed_everything={seed}"))
        for file in files:
            models = [one for one in ast.walk(file.tree) if isinstance(one, ast.ClassDef) and one.name == name]
            for start in (one for model in models for one in model.body if isinstance(one, ast.FunctionDef)):
                if start.name == "__init__":
                    _of_model(file, start, found)
        return found
    return None


def _of_model(script: Script, start: _Function, found: CommandLine) -> None:
    """Add the arguments that a model starts with: `--model.lr`."""
    for argument, annotation, default in list(_arguments(start))[1:]:
        kind, _ = _annotated(script, annotation)
        value = _default(script, default)
        if _several(kind) or value is None:
            found.skipped.append(f"--model.{argument} is left to the script")
        else:
            _add(script, found, argument, value, kind, f"--model.{argument}", default is None, equals=True)


def _of_tyro(
    script: Script, classes: Mapping[str, ast.ClassDef], entries: Iterable[_Argument], prefix: str, found: CommandLine
) -> None:
    """Add arguments, and the fields of those that are dataclasses of the script: `--optimizer.lr`."""
    for entry in entries:
        kind, _ = _annotated(script, entry.annotation)
        default = entry.default
        if isinstance(default, ast.Call) and call_name(default).rpartition(".")[2] == "field":
            default = keyword(default, "default") or keyword(default, "default_factory")
        dashed = entry.name.replace("_", "-")
        inner = classes.get(kind.id) if isinstance(kind, ast.Name) else None
        if inner is not None and not _members(script, kind):
            others = {name: one for name, one in classes.items() if one is not inner}  # it may hold itself
            _of_tyro(script, others, _fields(inner), f"{prefix}{dashed}.", found)
            continue
        if inner is not None or _several(kind):
            found.skipped.append(f"--{prefix}{dashed} is left to the script")
            continue
        value = _default(script, default)
        truth = _kind_of(script, kind, value) == "bool"
        shown = f"--{prefix}{dashed}/--{prefix}no-{dashed}" if truth else f"--{prefix}{dashed}"
        _add(script, found, f"{prefix}{entry.name}", value, kind, shown, default is None)


def _given_to(script: Script, caller: str) -> Iterator[str]:
    """Yield the names of the functions that a call is given, as their own modules have them."""
    for node in ast.walk(script.tree):
        if isinstance(node, ast.Call) and script.full_name(node) == caller and node.args:
            yield script.full_name(node.args[0]).rpartition(".")[2]


def _arguments(function: _Function) -> Iterator[_Argument]:
    arguments = [*function.args.posonlyargs, *function.args.args]
    defaults = [*[None] * (len(arguments) - len(function.args.defaults)), *function.args.defaults]
    pairs = [*zip(arguments, defaults, strict=True)]
    pairs += zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
    for argument, default in pairs:
        yield _Argument(argument.arg, argument.annotation, default)


def _fields(dataclass: ast.ClassDef | None) -> Iterator[_Argument]:
    for statement in dataclass.body if dataclass is not None else ():
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            yield _Argument(statement.target.id, statement.annotation, statement.value)


def _several(kind: ast.expr | None) -> bool:
    return isinstance(kind, ast.Subscript) and call_name(kind.value).rpartition(".")[2].lower() in ("list", "tuple")


def _of_signature(script: Script, function: _Function, found: CommandLine, dashes: bool) -> None:
    """Add the arguments of a function: those that Typer spells with dashes, or those of Fire."""
    for argument, annotation, default in _arguments(function):
        kind, marker = _annotated(script, annotation)
        if isinstance(default, ast.Call) and _marks(script, default):
            marker, default = default, default.args[0] if default.args else keyword(default, "default")
            if script.literal(default) is ...:
                default = None
        elif marker is not None and marker.args and not isinstance(script.literal(marker.args[0]), str):
            default = default or marker.args[0]
        if isinstance(kind, ast.Name | ast.Attribute) and call_name(kind).rpartition(".")[2] == "Context":
            continue
        words = [] if marker is None else [script.literal(one) for one in marker.args]
        given = [word for word in words if isinstance(word, str) and word.startswith("--")]
        usual = f"--{argument.replace('_', '-') if dashes else argument}"
        positional = dashes and (default is None if marker is None else script.full_name(marker).endswith("Argument"))
        shown = "" if positional else next(iter(given), usual)
        if _several(kind):
            found.skipped.append(f"{shown or argument} takes several values; it is left to the script")
            continue
        value = _default(script, default)
        truth = _kind_of(script, kind, value) == "bool"
        if truth and dashes and not given and shown:
            shown = f"{usual}/--no-{usual[2:]}"
        flag = truth and dashes and "/" not in shown
        _add(script, found, argument, value, kind, shown, default is None, flag, marker, equals=not dashes)


def _annotated(script: Script, node: ast.expr | None) -> tuple[ast.expr | None, ast.Call | None]:
    """Return the type that an annotation names, and Typer's option or argument in it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        text, node = node.value, None
        with suppress(SyntaxError, ValueError):
            node = ast.parse(text, mode="eval").body
    if isinstance(node, ast.Subscript) and call_name(node.value).rpartition(".")[2] == "Annotated":
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        marks = [one for one in inner[1:] if isinstance(one, ast.Call) and _marks(script, one)]
        return _plain(inner[0]), next(iter(marks), None)
    return _plain(node), None


def _plain(node: ast.expr | None) -> ast.expr | None:
    """Return a type without its None."""
    if isinstance(node, ast.Subscript) and call_name(node.value).rpartition(".")[2] == "Optional":
        return node.slice
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return node.left if isinstance(node.right, ast.Constant) else node.right
    return node


def _marks(script: Script, call: ast.Call) -> bool:
    return script.full_name(call) in ("typer.Option", "typer.Argument")


# --- both


def _of_command(
    named: dict[_Function, str], functions: list[_Function], settings: Callable[[_Function, CommandLine], None]
) -> CommandLine | None:
    """Return the command line of one of several functions; those in `named` are subcommands."""
    if not functions:
        return None
    found = CommandLine()
    function = functions[0]
    if named:
        chosen = chosen_command(named.values(), found)
        function = next(one for one, name in named.items() if name == chosen)
    settings(function, found)
    return found


def _add(
    script: Script,
    found: CommandLine,
    name: str,
    value: Any,
    kind: ast.expr | None,
    shown: str,
    required: bool = False,
    flag: bool = False,
    bounds: ast.Call | None = None,
    equals: bool = False,
) -> None:
    """Add a setting.

    Args:
        script: the script.
        found: gets it.
        name: the function's name of it.
        value: its default; MISSING: none; None: one that is not known.
        kind: its type.
        shown: its option, as `--lr` or `--amp/--no-amp`; empty: it is positional.
        required: the script does not start without it.
        flag: the option takes no value.
        bounds: the call that has `min` and `max`; None: that of the type.
        equals: the option and its value are one word.
    """
    name, on = name.replace("-", "_").lower(), shown.partition("/")[0]
    what = _kind_of(script, kind, value)
    choices = _choices(script, kind)
    limits = _limits(script, bounds or kind)
    forms: tuple[str, str] | tuple[()] = ()
    arguments = (f"{on}={VALUE}",) if on and equals else (on, VALUE) if on else (VALUE,)
    if "/" in shown:
        forms, arguments, what = (shown.partition("/")[2].strip(), on.strip()), (VALUE,), "bool"
        if not all(form.startswith("--") for form in forms):
            found.skipped.append(f"{shown} is left to the script")
            return
    elif flag:
        if value is True:  # the option changes nothing
            return
        found.settings.append(Setting(name, False, "bool", shown=on, flag=on))
        return
    elif what == "bool":
        forms = ("False", "True")
    if forms and not isinstance(value, bool):
        value, what = MISSING, ""
    if what == "float" and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    found.settings.append(Setting(name, value, what, choices, on or name, arguments, "", required, forms, limits))


def _default(script: Script, written: ast.expr | None) -> Any:
    """Return a default; MISSING if there is none, None for what the script computes, which stays its own."""
    value = script.literal(written)
    return None if written is not None and value is MISSING else value


def _kind_of(script: Script, kind: ast.expr | None, value: Any) -> str:
    if kind is not None and (known := _KINDS.get(call_name(kind).rpartition(".")[2])):
        return known
    if kind is None or _choices(script, kind):
        for of, name in ((bool, "bool"), (int, "int"), (float, "float")):
            if isinstance(value, of):
                return name
    return "text"


def _choices(script: Script, kind: ast.expr | None) -> tuple[Any, ...]:
    """Return the values of a Choice, a Literal, or of an Enum of the script."""
    if isinstance(kind, ast.Call) and call_name(kind).rpartition(".")[2] == "Choice" and kind.args:
        return tuple(str(one) for one in choices_of(script, kind.args[0])) or _members(script, kind.args[0])
    if isinstance(kind, ast.Subscript) and call_name(kind.value).rpartition(".")[2] == "Literal":
        inner = kind.slice.elts if isinstance(kind.slice, ast.Tuple) else [kind.slice]
        return tuple(one for node in inner if isinstance(one := script.literal(node), (str, int, float)))
    return _members(script, kind)


def _members(script: Script, kind: ast.AST | None) -> tuple[Any, ...]:
    if not isinstance(kind, ast.Name):
        return ()
    for node in ast.walk(script.tree):
        if isinstance(node, ast.ClassDef) and node.name == kind.id:
            bases = {call_name(base).rpartition(".")[2] for base in node.bases}
            values = [script.literal(value) for _, value, _ in assignments(node.body)]
            return tuple(values) if bases & {"Enum", "StrEnum"} and all(isinstance(v, str) for v in values) else ()
    return ()


def _limits(script: Script, call: ast.expr | None) -> tuple[float | None, float | None]:
    """Return the least and the largest value that a Range, or an option of Typer, takes."""
    if not isinstance(call, ast.Call):
        return None, None
    ranged = call_name(call).endswith("Range")
    given = {key: script.literal(keyword(call, key)) for key in ("min", "max")}
    given |= {key: script.literal(one) for key, one in zip(("min", "max"), call.args if ranged else (), strict=False)}
    low, high = (one if isinstance(one := given[key], (int, float)) else None for key in ("min", "max"))
    return low, high


def _decorator(function: _Function, method: str) -> ast.Call | ast.expr | None:
    return next((one for one in function.decorator_list if call_name(one).rpartition(".")[2] == method), None)


def _command_name(script: Script, function: _Function, call: ast.expr, strip: bool = False) -> str:
    given = [*call.args[:1], keyword(call, "name")] if isinstance(call, ast.Call) else []
    for node in given:
        if isinstance(name := script.literal(node), str):
            return name
    name = function.name.lower()
    ending = next((one for one in _ENDINGS if strip and name.endswith(one)), "")
    return name.removesuffix(ending).replace("_", "-")
