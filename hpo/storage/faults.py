"""Errors of writing, told apart: one trial's own, or the storage's and the disk's."""

from __future__ import annotations

import errno
from pathlib import Path

from optuna.exceptions import StorageInternalError

from hpo.errors import StorageError

_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS})


def concerns_trial_alone(error: Exception, directory: Path) -> bool:
    """Return True if an error of writing what a trial said concerns that trial alone.

    So it is with values that a storage does not take, and with files of the trial's own folder. An error of the disk,
    or of the storage itself, would come again with the next trial.

    Args:
        error: what was raised.
        directory: the trial's folder.
    """
    if isinstance(error, StorageError):
        return False
    if isinstance(error, StorageInternalError):
        from sqlalchemy.exc import DataError

        return isinstance(error.__cause__, DataError)
    if isinstance(error, OSError):
        if error.errno in _DISK or not isinstance(error.filename, str | Path):
            return False
        return Path(error.filename).is_relative_to(directory)
    return True
