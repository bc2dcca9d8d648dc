"""Writing a file so that nobody ever sees a part of it, not even after a power cut."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replaces or makes the file. Raises OSError, and then leaves what was there. A process that is killed meanwhile
    leaves `<name>.<8 hex digits>.<its number>.partial`."""
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
