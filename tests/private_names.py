"""What hpo uses of other libraries that they keep private, found by reading its source."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

LIBRARIES = ("optuna", "optuna_dashboard", "ray", "mlflow", "plotly", "click", "pydantic", "rich", "torch", "yaml")
_PRIVATE = re.compile(r"_[a-zA-Z]\w*\Z")
# These are private in looks alone: named tuples' methods, and Python's `os._exit`.
_PUBLIC = frozenset({"_asdict", "_exit", "_fields", "_make", "_replace"})


def private_uses(package: Path) -> dict[str, set[str]]:
    """Return the private modules, names and attributes of other libraries that each file uses.

    hpo's own are those that it defines: of `self` in any file, of other objects in the file that uses them.
    """
    files = {path: list(ast.walk(ast.parse(path.read_text()))) for path in sorted(package.rglob("*.py"))}
    defined = {path: _defined(nodes) for path, nodes in files.items()}
    anywhere = set().union(*defined.values())
    found: dict[str, set[str]] = defaultdict(set)
    for path, nodes in files.items():
        for node in nodes:
            for name in _used(node, defined[path], anywhere):
                found[str(path.relative_to(package.parent))].add(name)
    return dict(found)


def _is_private(name: str) -> bool:
    return bool(_PRIVATE.match(name)) and name not in _PUBLIC


def _used(node: ast.AST, here: set[str], anywhere: set[str]) -> list[str]:
    if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] in LIBRARIES:
        places = [f"{node.module}.{alias.name}" for alias in node.names]
    elif isinstance(node, ast.Import):
        places = [alias.name for alias in node.names if alias.name.partition(".")[0] in LIBRARIES]
    elif isinstance(node, ast.Attribute):
        of_self = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
        return [node.attr] if _is_private(node.attr) and node.attr not in (anywhere if of_self else here) else []
    elif isinstance(node, ast.keyword) and node.arg:
        return [node.arg] if _is_private(node.arg) else []
    else:
        return []
    return [place for place in places if any(_is_private(part) for part in place.split("."))]


def _defined(nodes: list[ast.AST]) -> set[str]:
    """Return the names that a file defines: functions, classes, variables, attributes that are set, fields, slots."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"):
                found.add(node.attr)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.alias):
            found.add(node.asname or node.name)
    return {name for name in found if _is_private(name)}
