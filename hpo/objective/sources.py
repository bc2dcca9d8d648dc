"""Source files of an objective, found without importing them, and their hashes.

They are the objective's module or program and the modules of the same project that it imports, also inside functions.
Installed packages, data and modules whose names are made at run time do not count. An objective that comes with hpo
consists of modules of `objectives`.
"""

from __future__ import annotations

import ast
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from hpo.errors import ObjectiveError
from hpo.objective.command_line import placeholders
from hpo.objective.locate import BUILT_IN, PACKAGE_FOLDER, PYTHON, find_file, find_module, split_target
from hpo.trial import ObjectiveRef

# Limits that keep a start fast: a project has fewer files, and a larger file is data.
MOST_FILES = 300
_MOST_BYTES = 2**20
_MARK = 12  # hexadecimal digits
# Words of a program that may get parameters otherwise than as arguments, or pass them on to another program.
_ELSEWHERE = re.compile(rb"hpo|HPO|environ|getenv|subprocess|os\.system|spawn|exec")


@dataclass(frozen=True)
class Sources:
    """Source files of an objective.

    Attributes:
        place: its resolved file. Of an installed package, whose folder changes with each version, the file's path in
            it; empty if it has no file.
        files: hashes of the files, by their paths in the project.
        may_read: a program may get parameters otherwise than from its command line, such as from $HPO_PARAMS.
    """

    place: str
    files: Mapping[str, str]
    may_read: bool = True

    @property
    def mark(self) -> str:
        """A short text that is the same for the same content, wherever the project lies; empty without a file."""
        if not self.files:
            return ""
        return hashlib.sha256(repr(sorted(self.files.items())).encode()).hexdigest()[:_MARK]

    def data(self) -> dict[str, Any]:
        """Return plain data."""
        return {"place": self.place, "files": dict(self.files)}


def digest_of(content: bytes) -> str:
    """Return the hash of a file's content, as `Sources.files` has it."""
    return hashlib.sha256(content).hexdigest()[:_MARK]


def sources_of(ref: ObjectiveRef) -> Sources:
    """Return the source files of an objective as they are now; none of one that cannot be found."""
    try:
        return _of_command(ref) if ref.command else _of_function(ref)
    except (ObjectiveError, OSError):
        return Sources("", {})


def _of_function(ref: ObjectiveRef) -> Sources:
    module, _ = split_target(ref.target)
    if module.endswith(".py"):
        file = find_file(module, ref.root)
        return _closure([file], [str(file.parent), ref.root], ref.root)
    found = find_module(module, ref.root)
    if found.file is None or found.file.suffix != ".py":
        return Sources("", {})
    outermost = str(found.file.parents[module.count(".") + (found.file.name == "__init__.py")])
    first = list(_modules(module, [outermost]))
    if found.folder in (None, PACKAGE_FOLDER):  # installed, or one of hpo's own
        place = found.file.relative_to(outermost).as_posix()
        return replace(_closure(first, [outermost], outermost, module.partition(".")[0]), place=place)
    return replace(_closure(first, [outermost, ref.root], ref.root), place=os.path.realpath(found.file))


def _of_command(ref: ObjectiveRef) -> Sources:
    programs = list(_programs(ref))
    if not programs:
        return Sources("", {})
    return _closure(programs, [*(str(one.parent) for one in programs), ref.root], ref.root)


def _programs(ref: ObjectiveRef) -> Iterator[Path]:
    """Yield the text files that a command names: scripts, and what else is read by them."""
    arguments = [part for part in ref.command if isinstance(part, str) and not placeholders(part)]
    for index, argument in enumerate(arguments):
        if argument == "-m" and arguments[0] in PYTHON and index + 1 < len(arguments):
            found = find_module(arguments[index + 1], ref.root)
            if found.folder is not None and found.file is not None:
                yield from (found.file, *_modules(found.name, [found.folder]))
        elif (index or os.sep in argument) and _is_text(path := Path(ref.root, argument)):
            yield path


def _is_text(path: Path) -> bool:
    try:
        if not path.is_file() or path.stat().st_size > _MOST_BYTES:
            return False
        with open(path, "rb") as file:
            return b"\0" not in file.read(1024)
    except (OSError, ValueError):
        return False


def _closure(files: list[Path], folders: list[str], root: str, package: str = "") -> Sources:
    """Return files, of which the first is the place, and all that they import from some folders.

    Args:
        files: the first ones.
        folders: where modules of the project are looked for.
        root: the project, from which the paths count.
        package: only modules of this package count; empty: all but hpo's.
    """
    hashes: dict[str, str] = {}
    may_read = False
    waiting = list(dict.fromkeys(files))
    seen = {os.path.realpath(file) for file in files}
    while waiting and len(hashes) < MOST_FILES:
        file = waiting.pop(0)
        try:
            digest, imports, speaks = _read(str(file), *_state(file))
        except OSError:
            continue
        hashes[_name(file, root)] = digest
        may_read |= speaks
        for level, name in imports:
            top = name.partition(".")[0]
            if level:
                among = [str(file.parents[level - 1])] if level <= len(file.parents) else []
            elif package in ("", top) and top != "hpo":
                among = [*folders, *([PACKAGE_FOLDER] if top == BUILT_IN else [])]
            else:
                among = []
            for found in _modules(name, among):
                if (real := os.path.realpath(found)) not in seen:
                    seen.add(real)
                    waiting.append(found)
    return Sources(os.path.realpath(files[0]), hashes, may_read or bool(waiting))


def _state(file: Path) -> tuple[int, int, int]:
    state = os.stat(file)
    return state.st_mtime_ns, state.st_size, state.st_ino


@lru_cache(maxsize=4 * MOST_FILES)
def _read(file: str, changed: int, size: int, inode: int) -> tuple[str, tuple[tuple[int, str], ...], bool]:
    """Return the hash of a file, what it imports, and whether it may get parameters from elsewhere than its arguments.

    The file is read once, until it changes.
    """
    content = Path(file).read_bytes()
    digest = digest_of(content)
    if not file.endswith(".py") or size > _MOST_BYTES:
        return digest, (), True
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return digest, (), True
    return digest, tuple(dict.fromkeys(_imports(tree))), _ELSEWHERE.search(content) is not None


def _imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the level (0: absolute) and the dotted name of each import. `from a import b` may mean a module `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            yield from (
                (node.level, f"{module}.{alias.name}".strip(".") if alias.name != "*" else module)
                for alias in node.names
            )


def _modules(name: str, folders: list[str]) -> list[Path]:
    """Return the files of a module and of its packages, from the first of the folders that has any."""
    for folder in folders:
        base, found = Path(folder), []
        for part in name.split("."):
            base = base / part
            found += [base / "__init__.py", *([base.with_name(f"{part}.py")] if part else [])]
        if there := [file for file in found if file.is_file()]:
            return there
    return []


def _name(file: Path, root: str) -> str:
    """Return the path of a file in its project; of one elsewhere its name."""
    for one, folder in ((file, root), (os.path.realpath(file), os.path.realpath(root))):
        if Path(one).is_relative_to(folder):
            return Path(one).relative_to(folder).as_posix()
    return file.name
