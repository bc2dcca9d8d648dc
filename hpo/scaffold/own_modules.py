"""Modules of its own that a script imports: its command line, its constants and its loop may stand there."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from hpo.errors import ScaffoldError
from hpo.scaffold.python_source import Script

# Of a large project the nearest ones are read.
MOST = 60


def own_modules(script: Script) -> list[Script]:
    """Return the modules of a script's folder that it imports, and those that they import, the nearest first.

    One that cannot be read, or is not Python, is left out: the script may never come to it.
    """
    root = script.path.absolute().parent
    found: dict[Path, Script | None] = {script.path.absolute(): script}
    waiting = [script]
    while waiting:
        user = waiting.pop(0)
        for path in _imported(user, root):
            if path not in found:
                if len(found) > MOST:
                    continue
                found[path] = read = _read(script.path.parent / path.relative_to(root))
                if read is not None:
                    waiting.append(read)
            module = found[path]
            if module is not None and user not in (module, *module.users):
                module.users.append(user)
    modules = [module for module in found.values() if module is not None and module is not script]
    asked = {one: _asked(one) for one in (script, *modules)}
    for module in modules:
        module.running = _running(module, set().union(*(asked[user] for user in module.users)))
    return modules


def _read(path: Path) -> Script | None:
    try:
        return Script(path)
    except ScaffoldError:
        return None


def _imported(script: Script, root: Path) -> Iterator[Path]:
    """Yield the files that a script imports from below a folder: modules, and the packages that hold them."""
    here = script.path.absolute().parent
    for node in ast.walk(script.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _files(root, alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            folder = root
            if node.level:
                folder = [here, *here.parents][min(node.level - 1, len(here.parents))]
                if not folder.is_relative_to(root):
                    continue
            parts = node.module.split(".") if node.module else []
            yield from _files(folder, parts)
            for alias in node.names:
                yield from _files(folder.joinpath(*parts), [alias.name])


def _files(folder: Path, parts: list[str]) -> Iterator[Path]:
    for part in parts:
        folder = folder / part
        for file in (folder / "__init__.py", folder.with_name(f"{part}.py")):
            if file.is_file():
                yield file
                break


def _running(module: Script, asked: set[str]) -> list[ast.AST]:
    """Return what of a module runs when others import it and ask for names: not what it does as a program."""
    body = [one for one in module.tree.body if not (isinstance(one, ast.If) and "__name__" in ast.unparse(one.test))]
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    definitions = {one.name: one for one in body if isinstance(one, kinds)}
    running: list[ast.AST] = [one for one in body if not isinstance(one, kinds)]
    names = asked.union(*map(_named, running))
    while reached := [one for name in names & set(definitions) if (one := definitions.pop(name, None)) is not None]:
        running += reached
        names = set().union(*map(_named, reached))
    return sorted(running, key=module.start)


def _named(node: ast.AST) -> set[str]:
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}


def _asked(user: Script) -> set[str]:
    """Return the names that a script may take from others: by `from`, as attributes, or all that it has."""
    found: set[str] = set()
    for node in ast.walk(user.tree):
        if isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.ImportFrom):
            names = {alias.name for alias in node.names}
            found |= _named(user.tree) if "*" in names else names
    return found
