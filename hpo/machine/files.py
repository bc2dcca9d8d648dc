"""Atomic writing: nobody ever sees a part of a file, not even after a power cut."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file, or replace it as a whole.

    A process that is killed meanwhile leaves `<name>.<8 hex digits>.<its number>.partial`.

    Raises:
        OSError: the file cannot be written; what was there is left as it was.
    """
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise
