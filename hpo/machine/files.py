"""Atomic writing: nobody ever sees a part of a file, not even after a power cut."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO


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
