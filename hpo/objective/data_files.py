"""Data files that a study names: constants and arguments of a command that are paths, and the files in these folders.

What an objective opens without a name in study.yaml is not known here; its own fingerprints (`data.json`) say more.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hpo.trial import ObjectiveRef

# Limits that keep a start fast. Files beyond the first two are told by their size and time of change alone.
_MOST_HASHED_FILES, _MOST_HASHED_BYTES, _MOST_FILES = 500, 32 * 2**20, 10_000
_MARK = 16  # hexadecimal digits


def named_paths(ref: ObjectiveRef, constants: Mapping[str, Any]) -> dict[str, Path]:
    """Return the files and folders that constants and arguments of the command name, by their keys.

    Args:
        ref: the objective; relative paths count from its root.
        constants: those of study.yaml.

    Returns:
        Absolute paths that exist, such as `{"constants.data.root": Path("/data/slices")}`.
    """
    command = [part if isinstance(part, str) else list(part) for part in ref.command]
    texts = {**dict(_texts("constants", constants)), **dict(_texts("command", command))}
    texts.pop("command.0", None)  # the program
    found = {key: existing(text, ref.root) for key, text in texts.items()}
    return {key: path for key, path in found.items() if path is not None}


def data_files(ref: ObjectiveRef, constants: Mapping[str, Any]) -> dict[str, str]:
    """Return a mark of each data file that a study names, by its key and its path below that.

    The mark is a hash of the content; of files beyond a limit it is their size and time of change.
    """
    found: dict[str, str] = {}
    hashed = bytes_read = 0
    for key, path in named_paths(ref, constants).items():
        for file in _files(path):
            if len(found) >= _MOST_FILES:
                return found
            try:
                state = file.stat()
                small = hashed < _MOST_HASHED_FILES and bytes_read + state.st_size <= _MOST_HASHED_BYTES
                mark = f"{state.st_size} bytes, {state.st_mtime_ns}"
                if small:
                    mark = hashlib.sha256(file.read_bytes()).hexdigest()[:_MARK]
                    hashed, bytes_read = hashed + 1, bytes_read + state.st_size
            except OSError:
                continue
            found[f"{key}: {file.relative_to(path)}" if file != path else f"{key}: {file.name}"] = mark
    return found


def _texts(key: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield key, value
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for name, one in items:
        yield from _texts(f"{key}.{name}", one)


def existing(text: str, root: str) -> Path | None:
    """Return the path that a text names, from `root` if it is relative; None if it hardly is one, or names nothing."""
    if not text or len(text) > 4096 or "\n" in text or "\0" in text or text in (".", "..", "/", "~"):
        return None
    path = Path(root, Path(text).expanduser() if text.startswith("~/") else text)
    try:
        return path if path.is_file() or path.is_dir() else None
    except OSError:
        return None


def _files(path: Path) -> Iterator[Path]:
    """Yield a file, or the plain files below a folder in the order of their names."""
    if not path.is_dir():
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder, name) for name in sorted(names) if Path(folder, name).is_file())
