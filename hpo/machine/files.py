"""Files that others may have replaced, read with care; files written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO

# Above the largest text file that hpo or a logger writes: 10 million rows of a history are less.
MOST_BYTES = 2**30
_MOST_JSON = 2**24  # bytes of a file that is one JSON document
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_NULL = os.stat(os.devnull).st_rdev  # the usual name of an empty file
_REFUSED = {errno.ENXIO: "a socket", errno.ELOOP: "a link"}  # by how they answer to being opened


class NotPlainError(OSError):
    """Something else than a plain file, or one too large to be what is expected; `strerror` says what."""


def open_plain(path: str | os.PathLike[str], most: int | None = None, *, links: bool = True) -> BinaryIO:
    """Open a file for reading that an objective, or another program, may have replaced by anything.

    A named pipe would block its reader for ever, and a device such as /dev/zero would never end.

    Args:
        path: the file.
        most: the most bytes that it may have; None: any number.
        links: follow a symbolic link at the end of the path.

    Raises:
        NotPlainError: it is no plain file, or is larger.
        OSError: it cannot be opened.
    """
    descriptor = _plain_descriptor(path, os.O_RDONLY | (0 if links else os.O_NOFOLLOW), null=True)
    try:
        size = os.fstat(descriptor).st_size
        if most is not None and size > most:
            raise NotPlainError(errno.EFBIG, f"it has {size} bytes, expected at most {most}", str(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def plain_opener(path: str, flags: int) -> int:
    """Opener, for Python's `open`, of a file to be written that another program may have replaced by anything.

    A named pipe would block its writer until somebody reads.

    Raises:
        NotPlainError: it is no plain file.
        OSError: it cannot be opened.
    """
    return _plain_descriptor(path, flags)


def require_plain(path: Path) -> None:
    """Raise NotPlainError if something else than a plain file is at a path.

    It is not opened: SQLite's locks on a file that this process has open would be gone when it is closed.
    """
    with contextlib.suppress(FileNotFoundError):
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise _not_plain(path, _kind(mode))


def read_plain(path: str | os.PathLike[str], most: int = MOST_BYTES, *, links: bool = True) -> bytes:
    """Return the content of a file that something else may have replaced; OSError as of `open_plain`."""
    with open_plain(path, most, links=links) as file:
        return file.read()


def tail_of(path: str | os.PathLike[str], most: int) -> bytes:
    """Return at most the last `most` bytes of a file of any size; OSError as of `open_plain`."""
    with open_plain(path) as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - most))
        return file.read(most)


def read_json(path: str | os.PathLike[str], most: int = _MOST_JSON, *, links: bool = True) -> Any:
    """Return the JSON document that a file holds, which something else may have replaced.

    Raises:
        ValueError: it is no JSON, or nested too deeply.
        OSError: as of `open_plain`.
    """
    return parse_json(read_plain(path, most, links=links))


def parse_json(text: str | bytes) -> Any:
    """Return what JSON holds; ValueError if it is none, or nested too deeply to be read."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _plain_descriptor(path: str | os.PathLike[str], flags: int, null: bool = False) -> int:
    """Open a plain file, or with `null` also /dev/null, without waiting for the other end of a pipe."""
    try:
        descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, 0o666)
    except ValueError as error:  # a NUL in its name
        raise OSError(errno.EINVAL, str(error), path) from None
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        pipe = error.errno == errno.ENXIO and flags & os.O_ACCMODE != os.O_RDONLY
        raise _not_plain(path, "a named pipe or a socket" if pipe else _REFUSED[error.errno]) from None
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) or (null and status.st_rdev == _NULL):
        os.set_blocking(descriptor, True)  # a program that inherits it may mind
        return descriptor
    os.close(descriptor)
    raise _not_plain(path, _kind(status.st_mode))


def _kind(mode: int) -> str:
    return next((name for test, name in _KINDS if test(mode)), "a socket")


def _not_plain(path: str | os.PathLike[str], kind: str) -> NotPlainError:
    return NotPlainError(errno.EINVAL, f"it is {kind}, expected a plain file", str(path))


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file, or replace it as a whole, as `replacement` does.

    Raises:
        OSError: the file cannot be written; what was there is left as it was.
    """
    with replacement(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def replacement(path: Path, mode: int = 0o666) -> Iterator[IO[bytes]]:
    """Yield a file to write, which takes the place of `path` at the end of the block; after an error it is removed.

    A process that is killed meanwhile leaves `<name>.<8 hex digits>.<its number>.partial`.

    Args:
        path: the file to write or to replace.
        mode: permissions of the new file, less those that the umask takes away.
    """
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.{os.getpid()}.partial")
    try:
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise
