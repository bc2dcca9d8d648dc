"""Files of a new study: written all or none, and over nothing that is there."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from hpo.errors import ScaffoldError
from hpo.machine.access import reason
from hpo.machine.files import write_atomically
from hpo.text import listing


def write_new(files: Mapping[Path, str | bytes], force: bool = False) -> None:
    """Write files, and the folders that they need.

    Args:
        files: contents by path.
        force: replace what is there.

    Raises:
        ScaffoldError: some are there already, or cannot be written.
    """
    refuse_existing([path for path in files if not force or path.is_dir()])
    try:
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, content)
    except OSError as error:
        raise ScaffoldError(f"{error.filename or path} cannot be written: {reason(error)}") from error


def refuse_existing(paths: Sequence[Path]) -> None:
    """Raise an error if one of the files is there."""
    there = [path for path in paths if os.path.lexists(path)]
    if there:
        are = "is there already" if len(there) == 1 else "are there already"
        raise ScaffoldError(
            f"{listing(there)} {are}, and nothing is overwritten: --force replaces what is there, another name (-o "
            "FILE for a script's study) writes beside it"
        )
