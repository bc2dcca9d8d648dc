"""The folder into which files are written."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from hpo.errors import TransferError
from hpo.machine.access import reason


@contextlib.contextmanager
def prepared(folder: Path) -> Iterator[None]:
    """Make a folder, and turn an error of what is written there into a sentence.

    Raises:
        TransferError: It cannot be made, or a file in it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        place = error.filename or folder
        raise TransferError(f"{place} cannot be written: {reason(error)}") from error
