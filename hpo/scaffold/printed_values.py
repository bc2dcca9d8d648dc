"""Values that a call prints or logs, by the names that it gives them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence

from hpo.scaffold.draft import MISSING
from hpo.scaffold.python_source import Script, assignments, call_name, keyword

# What holds values by names.
_HOLDERS = ("dict", "SimpleNamespace", "types.SimpleNamespace", "argparse.Namespace", "Namespace")
_STEP_KEYS = ("epoch", "step", "global_step", "iteration", "trainer/global_step")
_LOGGING = {"info", "debug", "warning", "critical", "error", "log"}
_METHODS = {"log_metrics", "log_dict", "log_metric", "add_scalar", "add_scalars", "track", "scalar", "write"}
_NAME = re.compile(r"[A-Za-z][\w@./ -]*$")
_PERCENT = re.compile(r"%\(?\w*\)?[-+ #0]*\d*(?:\.\d+)?[diouxXeEfFgGcrs]")
_BRACES = re.compile(r"\{[^{}]*\}")
# What is called for a value that is known.
_CHEAP = {
    *("item", "mean", "sum", "float", "int", "round", "len", "sqrt", "exp", "log", "cpu", "detach", "compute", "max"),
    *("min", "numpy", "avg", "abs", "std", "var"),
}


def told_by(call: ast.Call, script: Script) -> tuple[dict[str, ast.expr], str]:
    """Return the metrics that a call prints or logs, and its step."""
    called = call_name(call)
    method = called.rpartition(".")[2]
    if called == "print":
        return _printed(call.args, script), ""
    step = next((ast.unparse(value) for name in ("step", "global_step") if (value := keyword(call, name))), "")
    if method in ("log", "log_metrics", "log_dict") and call.args and (entries := dict_entries(call.args[0], script)):
        step = step or next((ast.unparse(entries[key]) for key in _STEP_KEYS if key in entries), "")
        step = step or (ast.unparse(call.args[1]) if len(call.args) > 1 else "")
        return {key: value for key, value in entries.items() if key not in _STEP_KEYS}, step
    first = script.literal(call.args[0]) if call.args else MISSING
    if method in _METHODS and isinstance(first, str) and len(call.args) > 1:
        step = step or (ast.unparse(call.args[2]) if len(call.args) > 2 else "")
        return {first: call.args[1]}, step
    if method in _LOGGING and "." in called and call.args:
        arguments = call.args[1:] if method == "log" else call.args
        return _printed(arguments, script), ""
    if called in ("tqdm.write", "click.echo"):
        return _printed(call.args, script), ""
    return {}, ""


def dict_entries(node: ast.expr, script: Script) -> dict[str, ast.expr]:
    """Return the entries of a dict by literal keys: of a display, of dict(...), or of the variable that holds one."""
    if isinstance(node, ast.Dict):
        return {
            key.value: value
            for key, value in zip(node.keys, node.values, strict=True)
            if isinstance(key, ast.Constant) and isinstance(key.value, str)
        }
    if isinstance(node, ast.Call) and call_name(node) in _HOLDERS:
        return {one.arg: one.value for one in node.keywords if one.arg}
    if isinstance(node, ast.Name):
        scope = next((one for one in script.above(node) if isinstance(one, ast.FunctionDef)), script.tree)
        for inner in ast.walk(scope):
            for name, value, _ in assignments([inner]) if isinstance(inner, ast.stmt) else ():
                if name == node.id and isinstance(value, (ast.Dict, ast.Call)):
                    held = dict_entries(value, script)
                    return {key: ast.parse(f"{name}[{key!r}]", mode="eval").body for key in held}
    return {}


def _printed(arguments: Sequence[ast.expr], script: Script) -> dict[str, ast.expr]:
    """Return the values that are printed, by the words before them, else by their own names."""
    pieces: list[str | ast.expr] = []
    if not arguments:
        return {}
    first = arguments[0]
    text = first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""
    if isinstance(first, ast.BinOp) and isinstance(first.op, ast.Mod) and isinstance(first.left, ast.Constant):
        values = list(first.right.elts) if isinstance(first.right, ast.Tuple) else [first.right]
        pieces += _interleaved(str(first.left.value), _PERCENT, values)
        arguments = arguments[1:]
    elif text and len(arguments) > 1 and _PERCENT.search(text):  # logging's own way
        pieces += _interleaved(text, _PERCENT, list(arguments[1:]))
        arguments = ()
    for argument in arguments:
        if isinstance(argument, ast.JoinedStr):
            for part in argument.values:
                if isinstance(part, ast.FormattedValue):
                    pieces.append(part.value)
                elif isinstance(part, ast.Constant):
                    pieces.append(str(part.value))
        elif (
            isinstance(argument, ast.Call)
            and isinstance(argument.func, ast.Attribute)
            and argument.func.attr == "format"
            and isinstance(literal := script.literal(argument.func.value), str)
        ):
            named = {one.arg: one.value for one in argument.keywords if one.arg}
            values = [*argument.args, *named.values()]
            pieces += _interleaved(literal, _BRACES, values)
        elif isinstance(argument, ast.Constant):
            pieces.append(f"{argument.value!s} ")
        else:
            pieces += [argument, " "]
    return dict(_labelled(pieces))


def _interleaved(text: str, pattern: re.Pattern[str], values: Sequence[ast.expr]) -> list[str | ast.expr]:
    texts = pattern.split(text)
    found: list[str | ast.expr] = []
    for index, part in enumerate(texts):
        found.append(part)
        if index < len(values) and index < len(texts) - 1:
            found.append(values[index])
    return found


def _labelled(pieces: Sequence[str | ast.expr]) -> Iterator[tuple[str, ast.expr]]:
    before = label = ""
    for piece in pieces:
        if isinstance(piece, str):
            before += piece
            continue
        fraction = before.rstrip().endswith("/")  # of `12/60000` the second is a total
        if not fraction:
            # Of `Accuracy: 12/20 (60%)` the share in brackets has the name, too.
            label = _label(before) or (label if before.strip() == "(" else "")
            if name := label or _own_name(piece):
                yield name, piece
        before = ""


def _label(before: str) -> str:
    """Return the name that a text gives to the value behind it: `| Val Acc: ` is `val_acc`."""
    parts = [part.strip() for part in re.split(r"[|,;()\[\]\n\t:=>]|\s-+\s", before) if part.strip()]
    if not parts:
        return ""
    words = re.sub(r"^[^A-Za-z]+|[^A-Za-z0-9@]+$", "", parts[-1])
    if not _NAME.match(words) or len(words.split()) > 4:
        return ""
    return re.sub(r"[^A-Za-z0-9@]+", "_", words).strip("_").lower()


def _own_name(node: ast.expr) -> str:
    """Return the name of a value that is a variable: `val_loss`, `self.val_loss`, `metrics["val_loss"]`."""
    here = node
    while isinstance(here, ast.Call):
        if isinstance(here.func, ast.Attribute) and is_cheap(here):
            here = here.func.value
        else:
            return call_name(here).rpartition(".")[2]
    if isinstance(here, ast.Subscript) and isinstance(here.slice, ast.Constant) and isinstance(here.slice.value, str):
        return here.slice.value
    return call_name(here).rpartition(".")[2] if isinstance(here, (ast.Name, ast.Attribute)) else ""


def is_cheap(call: ast.Call) -> bool:
    """Return True if a call gives what is known already, such as `loss.item()`."""
    name = call_name(call).rpartition(".")[2]
    return name in _CHEAP
