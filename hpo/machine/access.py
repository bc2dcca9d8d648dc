"""Rights on files: who may not read or write what, told as a sentence with the owner's name."""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from hpo.errors import AccessDenied

_READ_ONLY = "it is on a file system that is mounted for reading only"


def is_denied(error: BaseException) -> bool:
    """Return True if an error says that this user may not do something with a file, or that nobody may write there."""
    return isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)


def why_denied(path: str | os.PathLike[str]) -> str:
    """Return why a file may not be used: `/runs/toy belongs to root (mode 755), and you are bob`.

    The obstacle named is the file, or the folder above it that may not be entered, or in which it cannot be made.
    """
    place = _obstacle(path)
    try:
        if os.statvfs(place).f_flag & os.ST_RDONLY:
            return f"{place}: {_READ_ONLY}"
        status = place.stat()
    except OSError as error:
        return f"{place}: {error.strerror}"
    mode = f"{stat.S_IMODE(status.st_mode):03o}"
    return f"{place} belongs to {name_of(status.st_uid)} (mode {mode}), and you are {name_of(os.geteuid())}"


def reason(error: OSError) -> str:
    """Return why the system refused something, with the owner's name where this user may not do it."""
    if is_denied(error) and error.filename is not None:
        return why_denied(os.fsdecode(error.filename))
    return error.strerror or str(error)


def denial(error: OSError) -> AccessDenied:
    """Return the error that tells the user of an error of the system for which `is_denied` is true."""
    place = "" if error.filename is None else f"{os.fsdecode(error.filename)} cannot be used: "
    return AccessDenied(f"{place}{reason(error)}")


@contextlib.contextmanager
def told_denials() -> Iterator[None]:
    """Raise AccessDenied, a sentence, where the system denies the use of a file. Other errors pass."""
    try:
        yield
    except OSError as error:
        if not is_denied(error):
            raise
        raise denial(error) from error


def may_write(path: Path) -> bool:
    """Return True if a file can be written, or files be made in a folder, or in the nearest one above that exists."""
    place = _obstacle(path)
    return os.access(place, os.W_OK | (os.X_OK if os.path.isdir(place) else 0))


def require_write(path: Path, what: str) -> None:
    """Raise AccessDenied unless a file can be written, or files be made in a folder.

    Args:
        path: it need not exist yet.
        what: begins the sentence, such as `study 'toy' cannot be paused`.
    """
    if not may_write(path):
        raise AccessDenied(f"{what}: {why_denied(path)}")


def _obstacle(given: str | os.PathLike[str]) -> Path:
    """Return the first folder on the way to a path that may not be entered; else the path, or what exists of it."""
    path = Path(os.path.abspath(given))
    for place in (*reversed(path.parents), path):
        if not os.path.lexists(place):
            return place.parent
        if os.path.isdir(place) and not os.access(place, os.X_OK):
            return place
    return path


def name_of(uid: int) -> str:
    """Return the name of a user, or `user 1234` of one who has none here."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
