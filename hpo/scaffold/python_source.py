"""A Python script as it stands in its file: its tree, its constants, and changes of its text."""

from __future__ import annotations

import ast
import difflib
import io
import json
import operator
import tokenize
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hpo.errors import ScaffoldError
from hpo.machine.access import reason
from hpo.machine.files import read_plain
from hpo.scaffold.draft import MISSING

_MOST_BYTES = 2**22
_OPERATIONS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Pow: operator.pow,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Sub: operator.sub,
    ast.Add: operator.add,
}


@dataclass(frozen=True)
class Change:
    """Text that takes the place of what stands from `start` to `end`, counted in characters of the script."""

    start: int
    end: int
    text: str


class Script:
    """A Python script.

    Attributes:
        path: its file.
        text: its text, with the line ends that it has.
        tree: its syntax tree.
        constants: literals that are assigned once at its top level, by name.
        users: the scripts that import it.
        running: what of it runs: of an imported module not what is for its own use as a program.

    Raises:
        ScaffoldError: it cannot be read, or is not Python.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            raw = read_plain(path, _MOST_BYTES)
        except OSError as error:
            raise ScaffoldError(f"{path} cannot be read: {reason(error)}") from error
        try:
            self.encoding = tokenize.detect_encoding(io.BytesIO(raw).readline)[0]
            self.text = raw.decode(self.encoding)
            # A tree of the text, so that its lines and columns are those of the text.
            self.tree = ast.parse(self.text.replace("\f", " "), str(path))
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
            said = error.msg if isinstance(error, SyntaxError) else str(error)
            raise ScaffoldError(f"{path}{line}: this is not valid Python: {said}") from error
        self.newline = "\r\n" if "\r\n" in self.text else "\n"
        self._lines = _lines(self.text)
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line))
        self.parents = {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}
        self.constants = _constants(self.tree)
        self.users: list[Script] = []
        self.running: Sequence[ast.AST] = [self.tree]

    def nodes(self) -> Iterator[ast.AST]:
        """Yield the nodes of what runs."""
        for one in self.running:
            yield from ast.walk(one)

    def offset(self, line: int, column: int) -> int:
        """Return the place of a node's line (from 1) and column (in bytes of UTF-8), in characters."""
        text = self._lines[line - 1]
        return self._starts[line - 1] + len(text.encode()[:column].decode(errors="ignore"))

    def start(self, node: Any) -> int:
        """Return where a node begins."""
        return self.offset(node.lineno, node.col_offset)

    def end(self, node: Any) -> int:
        """Return where a node ends."""
        return self.offset(node.end_lineno, node.end_col_offset)

    def source(self, node: Any) -> str:
        """Return the text of a node."""
        return self.text[self.start(node) : self.end(node)]

    def line_after(self, node: Any) -> int:
        """Return where the line begins that follows the last line of a node."""
        return self._starts[int(node.end_lineno)]

    def line_start(self, line: int) -> int:
        """Return where a line (from 1) begins."""
        return self._starts[line - 1]

    def indentation(self, node: Any) -> str:
        """Return the white space before a statement that begins its line."""
        line: str = self._lines[node.lineno - 1]
        return line[: len(line) - len(line.lstrip())]

    def above(self, node: ast.AST) -> Iterator[ast.AST]:
        """Yield the nodes that hold a node, from the nearest on."""
        found = self.parents.get(node)
        while found is not None:
            yield found
            found = self.parents.get(found)

    def statement(self, node: ast.AST) -> ast.stmt:
        """Return the statement that a node stands in."""
        return next(one for one in (node, *self.above(node)) if isinstance(one, ast.stmt))

    def literal(self, node: ast.AST | None) -> Any:
        """Return the value of an expression that is a literal, or the name of one; MISSING if it is neither."""
        if node is None:
            return MISSING
        if isinstance(node, ast.Name):
            return self.constants.get(node.id, MISSING)
        return _literal(node)

    def insert_lines(self, at: int, lines: Sequence[str], indentation: str = "") -> Change:
        """Return the change that puts lines in at a place where a line begins."""
        text = "".join(f"{indentation}{line}{self.newline}" if line else self.newline for line in lines)
        if at and not self.text[:at].endswith(("\n", "\r")):  # the last line has no end
            text = self.newline + text
        return Change(at, at, text)

    def import_place(self) -> int:
        """Return where an import can be put in: after the first imports of the script, or before its first code."""
        last: ast.stmt | None = None
        for index, statement in enumerate(self.tree.body):
            docstring = (
                index == 0
                and isinstance(statement, ast.Expr)
                and isinstance(statement.value, ast.Constant)
                and isinstance(statement.value.value, str)
            )
            if not docstring and not isinstance(statement, (ast.Import, ast.ImportFrom)):
                break
            last = statement
        if last is None:
            first = self.tree.body[0] if self.tree.body else None
            return 0 if first is None else self._starts[first_line(first) - 1]
        following = self.tree.body[self.tree.body.index(last) + 1 :]
        if following and following[0].lineno == last.end_lineno:  # after a semicolon
            return self._starts[last.lineno - 1]
        return self.line_after(last)

    def imports_hpo(self) -> bool:
        """Return True if `hpo` is a name of the script already."""
        return "hpo" in self.bound_modules

    def reads_trial(self) -> bool:
        """Return True if it takes values from the trial already."""
        return "current_trial" in self.text

    @cached_property
    def bound_modules(self) -> dict[str, str]:
        """The modules and names that the script imports, by the names that they have in it."""
        found: dict[str, str] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    found[alias.asname or alias.name.partition(".")[0]] = (
                        alias.name if alias.asname else alias.name.partition(".")[0]
                    )
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    found[alias.asname or alias.name] = f"{node.module or ''}.{alias.name}"
        return found

    def full_name(self, node: ast.AST) -> str:
        """Return what a call calls, by its name in its own module: `click.option` for `c.option`."""
        head, dot, rest = call_name(node).partition(".")
        return f"{self.bound_modules.get(head, head)}{dot}{rest}"

    def subclasses(self, is_base: Callable[[ast.expr], bool]) -> set[str]:
        """Return the names of the classes that have such a base."""
        classes = (node for node in self.nodes() if isinstance(node, ast.ClassDef))
        return {one.name for one in classes if any(map(is_base, one.bases))}

    @cached_property
    def called_in_loops(self) -> set[str]:
        """The last names of what is called within loops."""
        loops = (node for node in ast.walk(self.tree) if isinstance(node, (ast.For, ast.While)))
        calls = (one for loop in loops for one in ast.walk(loop) if isinstance(one, ast.Call))
        return {call_name(call).rpartition(".")[2] for call in calls}

    @cached_property
    def stored(self) -> Counter[str]:
        """Number of assignments of each name, anywhere in the script."""
        nodes = (node for node in ast.walk(self.tree) if isinstance(node, ast.Name))
        return Counter(node.id for node in nodes if isinstance(node.ctx, ast.Store))

    def changed(self, changes: Sequence[Change]) -> str:
        """Return the text with changes made; those at one place in their order."""
        parts, position = [], 0
        for change in sorted(changes, key=lambda one: one.start):
            parts += [self.text[position : change.start], change.text]
            position = change.end
        return "".join([*parts, self.text[position:]])

    def diff(self, changed: str, name: str) -> str:
        """Return a unified diff from the text to `changed`, as `patch -p1` and `git apply` take it, under a name."""
        lines = difflib.unified_diff(_lines(self.text), _lines(changed), f"a/{name}", f"b/{name}")
        return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def first_line(statement: ast.stmt) -> int:
    """Return the first line of a statement, with its decorators."""
    decorators = getattr(statement, "decorator_list", [])
    return min([int(statement.lineno), *(int(one.lineno) for one in decorators)])


def call_name(node: ast.AST) -> str:
    """Return the dotted name of what a call calls: `wandb.log`, `self.log`; what is no name in it is left out."""
    parts: list[str] = []
    here = node.func if isinstance(node, ast.Call) else node
    while isinstance(here, ast.Attribute):
        parts.insert(0, here.attr)
        here = here.value
    if isinstance(here, ast.Name):
        parts.insert(0, here.id)
    return ".".join(parts)


def from_trial(place: str, otherwise: str) -> str:
    """Return the expression that reads a value of the trial, and what it is by hand.

    Args:
        place: such as `params.learning_rate`; `directory` is the trial's own folder, in which `otherwise` lies.
        otherwise: the expression of the value by hand.
    """
    if place == "directory":
        return f'f"{{hpo.current_trial().directory}}/" + {otherwise}'
    kind, key = place.split(".", 1)
    return f"hpo.current_trial().{kind}.get({json.dumps(key)}, {otherwise})"


def keyword(call: ast.Call, name: str) -> ast.expr | None:
    """Return the value of a keyword argument, None if it is not given."""
    return next((one.value for one in call.keywords if one.arg == name), None)


def _literal(node: ast.AST) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        pass
    if isinstance(node, ast.BinOp) and isinstance(node.op, tuple(_OPERATIONS)):
        left, right = _literal(node.left), _literal(node.right)
        if _small(left) and _small(right):  # 2**6, 1 / 3, 28 * 28
            try:
                found = _OPERATIONS[type(node.op)](left, right)
            except (ArithmeticError, ValueError):
                return MISSING
            return found if isinstance(found, (int, float)) else MISSING
    return MISSING


def _small(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= 4096


def _constants(tree: ast.Module) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value, _ in assignments(tree.body):
        literal = _literal(value)
        found[name] = MISSING if name in found else literal
    return {name: value for name, value in found.items() if value is not MISSING}


def assignments(body: Sequence[ast.stmt]) -> Iterator[tuple[str, ast.expr, ast.stmt]]:
    """Yield what is assigned to names in a block: the name, the value, and the statement."""
    for statement in body:
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target: ast.expr = statement.targets[0]
            if isinstance(target, ast.Name):
                yield target.id, statement.value, statement
            elif (
                isinstance(target, ast.Tuple)
                and isinstance(statement.value, ast.Tuple)
                and len(target.elts) == len(statement.value.elts)
            ):
                for one, value in zip(target.elts, statement.value.elts, strict=True):
                    if isinstance(one, ast.Name):
                        yield one.id, value, statement
        elif (
            isinstance(statement, ast.AnnAssign)
            and statement.value is not None
            and isinstance(statement.target, ast.Name)
        ):
            yield statement.target.id, statement.value, statement


def _lines(text: str) -> list[str]:
    """Return the lines of a text as Python counts them, with their ends."""
    return list(io.StringIO(text, newline=""))
