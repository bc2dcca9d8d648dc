"""Errors of writing, told apart: one trial's own, or the storage's and the disk's."""

from __future__ import annotations

import errno
from pathlib import Path

from optuna.exceptions import StorageInternalError

from hpo.errors import StorageError

_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS})


# Of a step that PostgreSQL and MySQL keep: 32 bits. SQLite and the journal keep any.
LARGEST_KEPT_STEP = 2**31 - 1


def is_step_beyond_storage(error: Exception, step: int) -> bool:
    """Return True if a storage did not take the value of a step because the step is too large for its column."""
    return step > LARGEST_KEPT_STEP and isinstance(error, StorageInternalError) and _is_refused_value(error)


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
        return _is_refused_value(error)
    if isinstance(error, OSError):
        if error.errno in _DISK or not isinstance(error.filename, str | Path):
            return False
        return Path(error.filename).is_relative_to(directory)
    return True


def _is_refused_value(error: StorageInternalError) -> bool:
    from sqlalchemy.exc import DataError

    return isinstance(error.__cause__, DataError)
