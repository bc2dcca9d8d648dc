"""Removal of folders: links are unlinked and never followed, and other file systems are never entered."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Content:
    """Content of a folder: numbers of files and of bytes on disk, and the links in it, which lead elsewhere."""

    files: int
    size: int
    links: tuple[Path, ...]


def content_of(folder: Path) -> Content:
    """Return what removing a folder would remove. A link, in place of the folder too, is one of `links`."""
    if folder.is_symlink():
        return Content(0, 0, (folder,))
    files, size, links = 0, 0, []
    for path in _walk(folder):
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            links.append(path)
        elif not stat.S_ISDIR(status.st_mode):
            files += 1
            size += status.st_size
    return Content(files, size, tuple(links))


def mounts_in(folder: Path) -> list[Path]:
    """Return the file systems that are mounted in a folder: their files are no part of it."""
    here = os.path.realpath(folder)
    found = []
    with contextlib.suppress(OSError), open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            place = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), line.split(" ")[4])
            if place == here or place.startswith(f"{here}/"):
                found.append(Path(place))
    return found


def remove(path: Path) -> None:
    """Remove a folder with all that is in it, a file or a link; of a folder that a kill left half removed, the rest.

    Raises:
        OSError: something cannot be removed, or a file system is mounted in the folder.
    """
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    if mounted := mounts_in(path):
        raise OSError(f"{mounted[0]} is mounted there; unmount it first")
    shutil.rmtree(path, onerror=_again)


def _again(function: Callable[[str], Any], path: str, error: Any) -> None:
    """Try once more, with the right to change the folder that holds what could not be removed."""
    if isinstance(error[1], FileNotFoundError):
        return
    if not isinstance(error[1], PermissionError):
        raise error[1]
    for folder in (os.path.dirname(path), path):
        if os.path.isdir(folder) and not os.path.islink(folder):
            os.chmod(folder, stat.S_IRWXU)
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def _walk(folder: Path) -> Iterator[Path]:
    for around, folders, files in os.walk(folder):
        yield from (Path(around, name) for name in (*folders, *files))
